"""A table of models as one SVG: a dot per model and figure, and a line from the low to the high end of its interval."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

ROW, TOP, LABEL, PANEL, GAP = 22, 44, 170, 250, 30
PLAIN, LINE, TEXT = "#4a7fb5", "#8a8f98", "#22262c"


def chart(title: str, models: Mapping[str, Mapping[str, Any]], figures: Sequence[str]) -> str:
    """`models` is name -> figure -> {mean, low, high}; one panel per figure, each from 0 to 1."""
    height = TOP + ROW * len(models) + 12
    width = LABEL + len(figures) * (PANEL + GAP)
    parts = [_text(8, 18, title, "start", 14)]
    parts += [_text(LABEL - 10, _y(place) + 4, name, "end") for place, name in enumerate(models)]
    for column, figure in enumerate(figures):
        x = LABEL + column * (PANEL + GAP)
        parts.append(_text(x, 36, figure, "start"))
        parts += [_grid(x, height, share) for share in (0.0, 0.5, 1.0)]
        parts += [_mark(x, _y(place), row[figure]) for place, row in enumerate(models.values()) if figure in row]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="sans-serif" role="img" aria-label="{escape(title)}">'
        f'<rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n'
    )


def _y(place: int) -> int:
    return TOP + ROW * place + ROW // 2


def _grid(x: int, height: int, share: float) -> str:
    at = x + share * PANEL
    return f'<line x1="{at}" x2="{at}" y1="{TOP}" y2="{height - 10}" stroke="{LINE}" stroke-dasharray="2 4"/>'


def _mark(x: int, y: int, found: Mapping[str, float]) -> str:
    low, mean, high = (x + PANEL * min(1.0, max(0.0, found[name])) for name in ("low", "mean", "high"))
    text = f"{found['mean']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"
    return (
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}" stroke="{PLAIN}" stroke-width="2"/>'
        f'<circle cx="{mean:.1f}" cy="{y}" r="4" fill="{PLAIN}"><title>{text}</title></circle>'
        + _text(
            high + 8 if high < x + PANEL - 40 else low - 8,
            y + 4,
            text[:5],
            "start" if high < x + PANEL - 40 else "end",
            10,
        )
    )


def _text(x: float, y: float, text: str, anchor: str, size: int = 12) -> str:
    fill = f'text-anchor="{anchor}" font-size="{size}" fill="{TEXT}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {fill}>{escape(text)}</text>'
