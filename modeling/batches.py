"""Row numbers in a seeded order, a batch at a time, from any place on."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, TypeVar

import numpy as np

from modeling.arrays import Ints

Batch = TypeVar("Batch", covariant=True)


class Batches(Protocol[Batch]):
    """What a training loop reads: iterating gives the rest of the epoch, the next iteration is the next epoch.

    `state_dict` after a batch says where the next one begins; the order depends on nothing but it and the seed.
    """

    def __iter__(self) -> Iterator[Batch]: ...

    def state_dict(self) -> dict[str, Any]:
        """Where the next batch begins."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on there."""
        ...


class RowBatches:
    """Every row once per epoch, in another order in each. The last batch of an epoch may be smaller."""

    def __init__(self, num_rows: int, batch_size: int, seed: int) -> None:
        self._num_rows, self._batch_size, self._seed = num_rows, batch_size, seed
        self._epoch = self._num_done = 0

    @property
    def num_batches(self) -> int:
        """Batches of an epoch."""
        return -(-self._num_rows // self._batch_size)

    def __iter__(self) -> Iterator[Ints]:
        """int64 row numbers [B]."""
        order = np.random.default_rng([self._seed, self._epoch]).permutation(self._num_rows).astype(np.int64)
        while self._num_done < self._num_rows:
            start = self._num_done
            self._num_done = min(start + self._batch_size, self._num_rows)
            yield order[start : self._num_done]
        self._epoch, self._num_done = self._epoch + 1, 0

    def state_dict(self) -> dict[str, int]:
        """Where the next batch begins."""
        return {"epoch": self._epoch, "num_done": self._num_done}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on there."""
        self._epoch, self._num_done = int(state["epoch"]), int(state["num_done"])
