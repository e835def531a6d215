"""Reliability as a picture: what was said against what happened, before and after calibration."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

FILE_NAME = "reliability.png"
NUM_COLUMNS = 3
PANEL_INCHES = 2.6
DPI = 110


def reliability_picture(measured: Mapping[str, Mapping[str, Any]]) -> bytes:
    """A PNG with one panel per head and per surface and head; both axes are logarithmic, as clicks are rare."""
    names = list(measured)
    num_rows = max(1, -(-len(names) // NUM_COLUMNS))
    figure = Figure(figsize=(PANEL_INCHES * NUM_COLUMNS, PANEL_INCHES * num_rows), layout="constrained")
    axes = figure.subplots(num_rows, NUM_COLUMNS, squeeze=False).ravel()
    for axis, name in zip(axes, names, strict=False):
        _panel(axis, name, measured[name])
    for axis in axes[len(names) :]:
        axis.set_axis_off()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()


def _panel(axis: Any, name: str, found: Mapping[str, Any]) -> None:
    lowest = 1.0
    for key, label, colour in (("reliability_before", "before", "0.65"), ("reliability", "after", "C0")):
        said, happened = _points(found[key])
        axis.plot(said, happened, "o-", color=colour, label=label, markersize=3)
        lowest = min([lowest, *said, *happened])
    axis.plot([lowest, 1.0], [lowest, 1.0], color="0.8", linewidth=1, zorder=0)
    axis.set(xscale="log", yscale="log", xlabel="said", ylabel="observed")
    axis.set_title(f"{name}: {found['error_before']:.4f} → {found['error_after']:.4f}", fontsize=8)
    axis.legend(fontsize=6)


def _points(table: Sequence[Mapping[str, float]]) -> tuple[list[float], list[float]]:
    """Bins in which something happened: a logarithmic axis has no zero."""
    shown = [row for row in table if row["observed"] > 0 and row["probability"] > 0]
    return [row["probability"] for row in shown], [row["observed"] for row in shown]
