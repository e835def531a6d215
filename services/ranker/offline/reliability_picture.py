"""Reliability as a picture: what was said against what happened, before and after calibration, or live."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

FILE_NAME = "reliability.png"
NUM_COLUMNS = 3
PANEL_INCHES = 2.6
DPI = 110


@dataclass(frozen=True)
class Curve:
    """A table of `reliability`, the calibration error that belongs to it, and how it is drawn."""

    table: str
    error: str
    label: str
    colour: str


CALIBRATED = (
    Curve("reliability_before", "error_before", "before", "0.65"),
    Curve("reliability", "error_after", "after", "C0"),
)
LIVE = (Curve("reliability", "error", "served", "C0"),)


def reliability_picture(measured: Mapping[str, Mapping[str, Any]], curves: Sequence[Curve] = CALIBRATED) -> bytes:
    """A PNG with one panel per head and per surface and head; both axes are logarithmic, as clicks are rare."""
    names = list(measured)
    num_rows = max(1, -(-len(names) // NUM_COLUMNS))
    figure = Figure(figsize=(PANEL_INCHES * NUM_COLUMNS, PANEL_INCHES * num_rows), layout="constrained")
    axes = figure.subplots(num_rows, NUM_COLUMNS, squeeze=False).ravel()
    for axis, name in zip(axes, names, strict=False):
        _panel(axis, name, measured[name], curves)
    for axis in axes[len(names) :]:
        axis.set_axis_off()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()


def _panel(axis: Any, name: str, found: Mapping[str, Any], curves: Sequence[Curve]) -> None:
    lowest = 1.0
    for curve in curves:
        said, happened = _points(found[curve.table])
        axis.plot(said, happened, "o-", color=curve.colour, label=curve.label, markersize=3)
        lowest = min([lowest, *said, *happened])
    axis.plot([lowest, 1.0], [lowest, 1.0], color="0.8", linewidth=1, zorder=0)
    axis.set(xscale="log", yscale="log", xlabel="said", ylabel="observed")
    axis.set_title(f"{name}: {' → '.join(f'{found[curve.error]:.4f}' for curve in curves)}", fontsize=8)
    axis.legend(fontsize=6)


def _points(table: Sequence[Mapping[str, float]]) -> tuple[list[float], list[float]]:
    """Bins in which something happened: a logarithmic axis has no zero."""
    shown = [row for row in table if row["observed"] > 0 and row["probability"] > 0]
    return [row["probability"] for row in shown], [row["observed"] for row in shown]
