"""What the ledger's stores need of a relational database; SQLite and PostgreSQL both fit.

Statements keep to what both understand: `?` for a value, ON CONFLICT with qualified columns, text by its bytes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from chassis.deadline import Deadline

T = TypeVar("T")
LAST = "\U0010ffff"  # after every other character: a range of keys is found by the index, a function of them is not


class SqlCursor(Protocol):
    """The answer to one statement."""

    @property
    def rowcount(self) -> int:
        """Rows that were changed."""
        ...

    def fetchone(self) -> Any:
        """The next row by column name, or None."""
        ...

    def fetchall(self) -> list[Any]:
        """All rows by column name."""
        ...

    def __iter__(self) -> Iterator[Mapping[str, Any]]: ...


class SqlConnection(Protocol):
    """A connection inside a transaction."""

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> SqlCursor:
        """Run one statement."""
        ...


class SqlDatabase(Protocol):
    """Transactions that never see each other half done; also a part of the service."""

    name: str

    async def open(self) -> None:
        """Connect, and create what is missing. Raises: Unavailable."""
        ...

    async def start(self, tasks: Any) -> None:
        """See `open`."""
        ...

    async def stop(self, deadline: Deadline) -> None:
        """Close; calls in progress end first."""
        ...

    async def run(self, work: Callable[[SqlConnection], T]) -> T:
        """`work(connection)` in a thread, in one transaction: committed when it returns, undone when it raises.

        `work` may run more than once when transactions collide, so it must do nothing but talk to the database.
        Raises: Conflict when a uniqueness is broken, Unavailable when the database fails or is closed, what `work`
        raises.
        """
        ...
