"""Pictures of a report as inline SVG: nothing to load, nothing to run."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 640
ROW = 22
LABEL = 190
PLOT = 380
GOOD, BAD, PLAIN, LINE = "#2f8f5b", "#c0392b", "#4a7fb5", "#8a8f98"


@dataclass(frozen=True)
class Bar:
    """`value` in [0, 1] of the axis; `text` stands behind the bar."""

    label: str
    value: float
    text: str
    is_bad: bool = False


def bars(rows: Sequence[Bar], title: str, mark: float | None = None) -> str:
    """Horizontal bars, one per row; `mark` draws a line at a limit."""
    height = ROW * len(rows) + 8
    parts = [_bar(place, row) for place, row in enumerate(rows)]
    if mark is not None:
        at = LABEL + PLOT * _share(mark)
        parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="0" y2="{height}" stroke="{LINE}" stroke-dasharray="3 3"/>')
    return _svg(height, title, parts)


def columns(counts: Sequence[int], low: float, high: float, title: str) -> str:
    """A histogram: one column per bin, with the ends of the axis below."""
    height, top = 150, 120
    step = (LABEL + PLOT) / max(1, len(counts))
    most = max(counts, default=0)
    parts = []
    for place, count in enumerate(counts):
        size = (top - 16) * count / most if most else 0.0
        x = 8 + place * step
        parts.append(
            f'<rect x="{x:.1f}" y="{top - size:.1f}" width="{step - 2:.1f}" height="{size:.1f}" fill="{PLAIN}">'
            f"<title>{count:,}</title></rect>"
        )
        if count:
            parts.append(_text(x + step / 2 - 1, top - size - 3, f"{count:,}", "middle", 10))
    parts.append(f'<line x1="8" x2="{8 + LABEL + PLOT}" y1="{top}" y2="{top}" stroke="{LINE}"/>')
    parts += [_text(8, top + 16, f"{low:g}", "start"), _text(8 + LABEL + PLOT, top + 16, f"{high:g}", "end")]
    return _svg(height, title, parts)


def _bar(place: int, row: Bar) -> str:
    y = 4 + place * ROW
    size = PLOT * _share(row.value)
    color = BAD if row.is_bad else GOOD
    return (
        _text(LABEL - 8, y + 14, row.label, "end")
        + f'<rect x="{LABEL}" y="{y}" width="{PLOT}" height="{ROW - 6}" fill="#00000010"/>'
        + f'<rect x="{LABEL}" y="{y}" width="{size:.1f}" height="{ROW - 6}" fill="{color}"/>'
        + _text(LABEL + PLOT + 6, y + 13, row.text, "start", 11)
    )


def _share(value: float) -> float:
    return min(1.0, max(0.0, value))


def _text(x: float, y: float, text: str, anchor: str, size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'


def _svg(height: int, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )
