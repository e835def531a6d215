"""What watches a training of two phases: who hears of its steps, and where it is kept so that a killed one goes on."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from modeling.checkpoint import Checkpoint
from modeling.training import Surroundings, TrainingPlan

Phase = tuple[TrainingPlan, int]  # and over how many rows


@dataclass(frozen=True)
class Both:
    """The surroundings of each phase, and whether an unfinished training had come to the second."""

    foresight: Surroundings
    ranking: Surroundings
    is_ranking: bool


@dataclass(frozen=True)
class Watch:
    """`stepped` hears of steps done and steps planned of both phases; `kept_at` is the beginning of two file names."""

    stepped: Callable[[int, int], None] | None = None
    kept_at: Path | None = None

    @property
    def is_begun(self) -> bool:
        """Whether there is an unfinished training to go on with."""
        return any(each.path.exists() for each in self._checkpoints)

    def forget(self) -> None:
        """Begin anew."""
        for each in self._checkpoints:
            each.remove()

    def over(self, foresight: Phase, ranking: Phase) -> Both:
        """What stands around each of the two."""
        first = _num_steps(*foresight)
        total = first + _num_steps(*ranking)
        kept = self._checkpoints
        return Both(
            Surroundings(stepped=self._counting(0, total), checkpoint=kept[0] if kept else None),
            Surroundings(stepped=self._counting(first, total), checkpoint=kept[1] if kept else None),
            is_ranking=bool(kept) and kept[1].path.exists(),
        )

    @property
    def _checkpoints(self) -> tuple[Checkpoint, ...]:
        if self.kept_at is None:
            return ()
        return tuple(
            Checkpoint(self.kept_at.with_name(f"{self.kept_at.name}-{phase}.pt")) for phase in ("foresight", "ranking")
        )

    def _counting(self, done_before: int, total: int) -> Callable[[int, int], None] | None:
        stepped = self.stepped
        return (lambda done, _: stepped(done_before + done, total)) if stepped else None


def _num_steps(plan: TrainingPlan, num_rows: int) -> int:
    return plan.num_epochs * -(-num_rows // plan.batch_size)


NOBODY = Watch()
