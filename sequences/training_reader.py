"""Reads training rows as requests with their candidates: each sequence is decoded once, never per candidate.

Shapes: R requests, B candidates. A block is a row group. Row groups come as dictionary arrays, so that the memory is
that of the distinct sequences.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from chassis.errors import Corrupt, Invalid
from sequences.request_batch import RequestBatch, joined
from sequences.training_blocks import EVERYBODY, Sampling, read_block


@dataclass(frozen=True)
class ReadOptions:
    """`seed` shuffles requests within `blocks_at_once` blocks, and blocks, differently in each epoch.

    Without it rows come as they lie. `sampling` chooses users, so all requests of a user are read or none.
    """

    requests_per_batch: int
    seed: int | None = None
    blocks_at_once: int = 4  # up to 16 MB of distinct sequences each
    sampling: Sampling = EVERYBODY


@dataclass(frozen=True)
class _Position:
    epoch: int = 0
    window: int = 0
    num_requests: int = 0


class TrainingReader:
    """Iterating reads the rest of the epoch; then the next iteration is the next epoch.

    `state_dict` after a batch says where the next one begins: whoever loads it into a reader of the same files and
    options gets the same remaining batches.
    """

    def __init__(self, files: Sequence[Path | str], options: ReadOptions) -> None:
        if options.requests_per_batch < 1 or options.blocks_at_once < 1:
            raise Invalid("requests_per_batch and blocks_at_once must be at least 1", field="requests_per_batch")
        self._files = [Path(each) for each in files]
        self._options = options
        self._position = _Position()

    def __iter__(self) -> Iterator[RequestBatch]:
        """Batches of at most `requests_per_batch` whole requests; the last one of a window of blocks may be smaller.

        Raises: Corrupt.
        """
        windows = self._windows(self._position.epoch)
        while self._position.window < len(windows):
            yield from self._window(windows[self._position.window])
            self._position = replace(self._position, window=self._position.window + 1, num_requests=0)
        self._position = _Position(self._position.epoch + 1)

    def state_dict(self) -> dict[str, Any]:
        """Where the next batch begins, as a JSON object."""
        return {**asdict(self._position), "read": self._fingerprint}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on there. Raises: Invalid when it is of other files or options."""
        if state.get("read") != self._fingerprint:
            raise Invalid("this position is of other files or options", field="state", reason="other_data")
        self._position = _Position(int(state["epoch"]), int(state["window"]), int(state["num_requests"]))

    def _window(self, blocks: Sequence[tuple[int, int]]) -> Iterator[RequestBatch]:
        size = self._options.requests_per_batch
        found = [self._block(*block) for block in blocks]
        requests = joined(found)
        order_R = self._order(requests.num_requests, self._position.window)
        for at in range(self._position.num_requests, len(order_R), size):
            chosen = order_R[at : at + size]
            self._position = replace(self._position, num_requests=at + len(chosen))
            yield requests.take(chosen)

    def _block(self, file: int, row_group: int) -> RequestBatch:
        return read_block(self._files[file], row_group, self._options.sampling)

    def _windows(self, epoch: int) -> list[list[tuple[int, int]]]:
        blocks = [(file, group) for file, num_groups in enumerate(self._num_groups) for group in range(num_groups)]
        if self._options.seed is not None:
            places = np.random.default_rng([self._options.seed, epoch]).permutation(len(blocks))
            blocks = [blocks[place] for place in places]
        size = self._options.blocks_at_once if self._options.seed is not None else 1
        return [blocks[at : at + size] for at in range(0, len(blocks), size)]

    def _order(self, num_requests: int, window: int) -> NDArray[np.int64]:
        if self._options.seed is None:
            return np.arange(num_requests)
        seeds = [self._options.seed, self._position.epoch, window + 1]
        return np.random.default_rng(seeds).permutation(num_requests)

    @cached_property
    def _num_groups(self) -> list[int]:
        return [_metadata(file).num_row_groups for file in self._files]

    @cached_property
    def _fingerprint(self) -> str:
        facts = [
            [file.name, _metadata(file).num_rows, groups]
            for file, groups in zip(self._files, self._num_groups, strict=True)
        ]
        return hashlib.sha256(json.dumps([facts, asdict(self._options)]).encode()).hexdigest()[:16]


def _metadata(file: Path) -> pq.FileMetaData:
    try:
        return pq.read_metadata(file)
    except (pa.ArrowException, OSError) as error:
        raise Corrupt(f"training rows {file.name} are not readable: {error}", reason="bad_training_rows") from error
