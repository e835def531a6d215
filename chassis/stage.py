"""One stage of a pipeline: what it does, how long it may take, what happens when it fails."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

from chassis.deadline import Deadline

S = TypeVar("S")
StageFunction = Callable[[S], Awaitable[S] | S]


class Stage(Protocol[S]):
    """One step from state to state; a plain function or coroutine function will do as well."""

    name: str

    async def __call__(self, state: S) -> S:
        """The next state; the given one is not changed."""
        ...


@dataclass(frozen=True, slots=True)
class Degraded:
    """A stage did not do its work; `level` names what did it instead."""

    component: str
    reason: str
    level: str


@dataclass(frozen=True, slots=True)
class StageReport:
    """How one stage went; counts are items of the state before and after."""

    name: str
    num_in: int
    num_kept: int
    num_removed: int
    duration_ms: float
    fallback: str = ""  # name of the fallback that answered, "" when the stage itself did
    error: str = ""  # why the stage itself did not


@dataclass(frozen=True, slots=True)
class Fallback(Generic[S]):
    """What runs instead, and the name of the level this is."""

    function: StageFunction[S]
    level: str


@dataclass(frozen=True)
class PipelineStage(Generic[S]):
    """A stage with its place in a pipeline: how long it may take and what happens when it fails.

    Without a fallback it is required: its error ends the pipeline.
    """

    function: StageFunction[S]
    name: str
    component: str
    fallbacks: tuple[Fallback[S], ...] = ()
    timeout_s: float | None = None
    share: float = 1.0
    is_run_late: bool = False

    def or_else(self, fallback: StageFunction[S], *, level: str = "") -> "PipelineStage[S]":
        """When the stage fails or has no time left, `fallback` runs on the same state and the answer is degraded.

        Called again it adds a further fallback. A fallback should need no network: it may run with no time left.
        """
        added = Fallback(fallback, level or _name_of(fallback))
        return replace(self, fallbacks=(*self.fallbacks, added))

    def or_skip(self, *, level: str = "skipped") -> "PipelineStage[S]":
        """When the stage fails, the state goes on as it was."""
        return self.or_else(_unchanged, level=level)

    def within(self, timeout_s: float | None = None, *, share: float = 1.0) -> "PipelineStage[S]":
        """At most `timeout_s`, and at most this share of the time left, so that later stages get theirs."""
        return replace(self, timeout_s=timeout_s, share=share)

    def even_late(self) -> "PipelineStage[S]":
        """Runs after the deadline too: cheap pure work without which there would be no answer at all."""
        return replace(self, is_run_late=True)

    def until(self, deadline: Deadline) -> Deadline:
        """The deadline of this stage within a pipeline's."""
        if self.share < 1.0:
            deadline = deadline.capped(deadline.remaining_s() * self.share)
        return deadline if self.timeout_s is None else deadline.capped(self.timeout_s)


def stage(function: StageFunction[S], *, name: str = "", component: str = "") -> PipelineStage[S]:
    """`function` (or an object with `name` and `__call__`) as a stage of a pipeline.

    `component` is who is named when it degrades; the stage itself by default.
    """
    name = name or _name_of(function)
    return PipelineStage(function, name, component or name)


def _unchanged(state: S) -> S:
    return state


def _name_of(function: object) -> str:
    name = getattr(function, "name", "") or getattr(function, "__name__", "")
    return str(name) or type(function).__name__
