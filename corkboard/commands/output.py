"""How commands speak: tables and progress for people, one JSON document for machines, never both on one stream."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]


class Output:
    """Results go to stdout; progress and remarks to stderr, so that pipes stay clean."""

    def __init__(self, is_json: bool = False) -> None:
        self.is_json = is_json
        self.console = Console()
        self.remarks = Console(stderr=True, highlight=False)

    def result(self, data: Any, render: Callable[[], RenderableType]) -> None:
        """Print `data` as JSON, or what `render` draws from it."""
        if self.is_json:
            sys.stdout.write(json.dumps(data, indent=2, default=str) + "\n")
        else:
            self.console.print(render())

    def line(self, data: Any, text: str) -> None:
        """One line of a result that has no end."""
        if self.is_json:
            sys.stdout.write(json.dumps(data, default=str) + "\n")
            sys.stdout.flush()
        else:
            self.console.print(escape(text), highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """A remark on how it goes."""
        self.remarks.print(f"[dim]·[/dim] {escape(text)}")

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """A bar for people on a terminal, two plain lines otherwise; yields `advance(count)`."""
        if not self.remarks.is_terminal or self.is_json:
            self.say(f"{what}: {total:,}")
            yield lambda _: None
            return
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self.remarks) as bars:
            bar = bars.add_task(what, total=total)
            yield lambda count: bars.advance(bar, count)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], right: Sequence[str] = ()) -> Table:
    """A plain table; columns named in `right` are right-aligned. Brackets in cells are shown, not read as markup."""
    drawn = Table(title=escape(title), title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        drawn.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(cell if isinstance(cell, Text) else escape(str(cell)) for cell in row))
    return drawn


def pairs(title: str, values: Mapping[str, Any]) -> Table:
    """A two-column table of names and values."""
    return table(title, ("", ""), list(values.items()))
