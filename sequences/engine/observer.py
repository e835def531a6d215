"""Where the engine says what it did, so that a runtime can count it."""

from typing import Protocol

from sequences.engine.result import StepRun


class Observer(Protocol):
    """Called on the event loop; must not raise or block."""

    def on_step(self, run: StepRun) -> None:
        """One step of one batch is done."""
        ...

    def on_lookup(self, outcome: str, num_keys: int, num_fetched: int, duration_s: float) -> None:
        """One look-up for one batch is done; `outcome` is ok, skipped or the error's class."""
        ...


class SilentObserver:
    """Counts nothing."""

    def on_step(self, run: StepRun) -> None:
        pass

    def on_lookup(self, outcome: str, num_keys: int, num_fetched: int, duration_s: float) -> None:
        pass
