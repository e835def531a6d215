"""Spans and links in SQLite: written by the receiver, read by `corkboard trace` and by tests."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MAX_SPANS = 400_000  # about 200 MB; the oldest go first
SCHEMA = """
create table if not exists spans (
  trace_id text not null, span_id text not null, parent_id text not null, name text not null, kind text not null,
  service text not null, instance text not null, zone text not null, start_ns integer not null,
  end_ns integer not null, status text not null, attributes text not null, primary key (trace_id, span_id)
) without rowid;
create index if not exists spans_by_start on spans (start_ns);
create index if not exists spans_by_name on spans (name, start_ns);
create table if not exists links (
  trace_id text not null, span_id text not null, to_trace_id text not null, to_span_id text not null,
  primary key (trace_id, span_id, to_trace_id, to_span_id)
) without rowid;
create index if not exists links_by_target on links (to_trace_id);
"""


@dataclass(frozen=True)
class SpanRow:
    """One finished span. Times are epoch nanoseconds, ids are lower-case hex."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: str
    service: str
    instance: str
    zone: str
    start_ns: int
    end_ns: int
    status: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    links: tuple[tuple[str, str], ...] = ()

    @property
    def duration_ms(self) -> float:
        return (self.end_ns - self.start_ns) / 1e6


class TraceStore:
    """One SQLite file in WAL mode: one writer, any number of readers."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        with closing(self._connect()) as connection:
            connection.execute("pragma journal_mode = wal")
            connection.executescript(SCHEMA)

    def add(self, spans: Iterable[SpanRow]) -> None:
        """Store spans; the same span again replaces itself."""
        rows = list(spans)
        with closing(self._connect()) as connection, connection:
            connection.executemany("insert or replace into spans values (?,?,?,?,?,?,?,?,?,?,?,?)", map(_values, rows))
            connection.executemany("insert or replace into links values (?,?,?,?)", _links(rows))

    def trim(self, max_spans: int = MAX_SPANS) -> int:
        """Remove the oldest spans beyond `max_spans`; returns how many went."""
        with closing(self._connect()) as connection, connection:
            row = connection.execute("select start_ns from spans order by start_ns desc limit 1 offset ?", [max_spans])
            oldest_kept = row.fetchone()
            if oldest_kept is None:
                return 0
            removed = connection.execute("delete from spans where start_ns <= ?", oldest_kept).rowcount
            connection.execute(
                "delete from links where not exists (select 1 from spans s where s.trace_id = links.trace_id"
                " and s.span_id = links.span_id)"
            )
            return removed

    def trace(self, trace_id: str) -> list[SpanRow]:
        """All spans of one trace, by start."""
        return self._select("where trace_id = ? order by start_ns", [trace_id])

    def named(self, name: str, limit: int = 1) -> list[SpanRow]:
        """The newest spans of that name."""
        return self._select("where name = ? order by start_ns desc limit ?", [name, limit])

    def since(self, start_ns: int) -> list[SpanRow]:
        """All spans that began at or after `start_ns`."""
        return self._select("where start_ns >= ? order by start_ns", [start_ns])

    def links_from(self, trace_id: str) -> list[str]:
        """Other traces that spans of this one link to, the newest first."""
        query = (
            "select l.to_trace_id from links l left join spans s on s.trace_id = l.to_trace_id and"
            " s.span_id = l.to_span_id where l.trace_id = ? group by l.to_trace_id order by max(s.start_ns) desc"
        )
        return self._trace_ids(query, [trace_id], trace_id)

    def links_to(self, trace_id: str, span_names: Sequence[str] = ("%",)) -> list[str]:
        """Other traces with spans of such names (SQL patterns) that link to this one, the newest first."""
        names = " or ".join("s.name like ?" for _ in span_names)
        query = (
            "select l.trace_id from links l join spans s on s.trace_id = l.trace_id and s.span_id = l.span_id"  # noqa: S608 - only the number of patterns varies
            f" where l.to_trace_id = ? and ({names}) group by l.trace_id order by max(s.start_ns) desc"
        )
        return self._trace_ids(query, [trace_id, *span_names], trace_id)

    def _trace_ids(self, query: str, arguments: list[Any], without: str) -> list[str]:
        with closing(self._connect()) as connection:
            rows = connection.execute(query, arguments).fetchall()
        return [row[0] for row in rows if row[0] != without]

    def _select(self, where: str, arguments: list[Any]) -> list[SpanRow]:
        with closing(self._connect()) as connection:
            rows = connection.execute(f"select * from spans {where}", arguments).fetchall()  # noqa: S608  # fixed text
            return [self._row(connection, row) for row in rows]

    def _row(self, connection: sqlite3.Connection, row: tuple[Any, ...]) -> SpanRow:
        links = connection.execute(
            "select to_trace_id, to_span_id from links where trace_id = ? and span_id = ?", row[:2]
        ).fetchall()
        spans = (*row[:11], json.loads(row[11]), tuple((a, b) for a, b in links))
        return SpanRow(*spans)

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=10.0)


def _values(span: SpanRow) -> tuple[Any, ...]:
    return (
        span.trace_id,
        span.span_id,
        span.parent_id,
        span.name,
        span.kind,
        span.service,
        span.instance,
        span.zone,
        span.start_ns,
        span.end_ns,
        span.status,
        json.dumps(dict(span.attributes)),
    )


def _links(spans: Iterable[SpanRow]) -> Iterator[tuple[str, str, str, str]]:
    for span in spans:
        for to_trace_id, to_span_id in span.links:
            yield span.trace_id, span.span_id, to_trace_id, to_span_id
