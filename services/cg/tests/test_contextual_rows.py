"""Training rows through the deduplicated reader: histories once per request, positives as they were acted upon."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from chassis.errors import Invalid
from modeling.checkpoint import Checkpoint
from modeling.training import TrainingPlan
from sequences.request_batch import RequestBatch
from sequences.sequence_value import to_values
from sequences.training_reader import ReadOptions, TrainingReader
from sequences.training_rows import CANDIDATE_FIELDS, REQUEST_FIELDS, TrainingRowsWriter
from services.cg.domain.two_tower_contextual import ContextualSettings, ContextualTwoTower
from services.cg.offline.contextual_fitting import Extras, fit_contextual_on_rows
from services.cg.offline.contextual_rows import RowsToTowerBatch
from services.cg.offline.contextual_training import ContextualTrainer
from services.cg.offline.pin_inputs import pin_features
from services.cg.tests.contextual_world import SETTINGS, pins

NUM_REQUESTS, CANDIDATES, LENGTH = 48, 5, 6
PLAN = TrainingPlan(3, 8, learning_rate=5e-3, seed=2)


def _sequence(pin_ids: list[str], event_types: list[str]) -> pa.RecordBatch:
    times = pa.array([1_000 * step for step in range(len(pin_ids))], pa.int64())
    columns = [pa.array(pin_ids, pa.string()), pa.array(event_types, pa.string()), times]
    return pa.RecordBatch.from_arrays(columns, names=["pin_id", "event_type", "event_time_ms"])


def _requests() -> RequestBatch:
    """Two requests per user; every third request comes before anything was done, some events are not engagements."""
    random, ids = np.random.default_rng(0), pins().pin_ids
    sequences, rows = [], []
    for request in range(NUM_REQUESTS):
        length = 0 if request % 3 == 0 else int(random.integers(1, 12))
        events = [str(random.choice(ids)) if random.random() < 0.9 else "pin-gone" for _ in range(length)]
        types = [str(random.choice(["save", "click", "impression"])) for _ in range(length)]
        sequences.append(_sequence(events, types))
        rows += [(ids[int(random.integers(len(ids)))], bool(random.random() < 0.5)) for _ in range(CANDIDATES)]
    requests: dict[str, list[Any] | pa.Array] = {name: [None] * NUM_REQUESTS for name in REQUEST_FIELDS.names}
    requests |= {
        "user_id": [f"user-{request // 2:03d}" for request in range(NUM_REQUESTS)],
        "request_id": [f"request-{request:03d}" for request in range(NUM_REQUESTS)],
        "num_events": [len(each) for each in sequences],
        "sequence": to_values(sequences),
    }
    candidates: dict[str, list[Any]] = {name: [None] * len(rows) for name in CANDIDATE_FIELDS.names}
    candidates |= {name: [False] * len(rows) for name in ("clicked", "saved", "hidden", "long_viewed", "shared")}
    candidates |= {"pin_id": [pin for pin, _ in rows], "saved": [saved for _, saved in rows]}
    candidates["converted"] = [False] * len(rows)
    return RequestBatch(
        pa.table(requests, schema=REQUEST_FIELDS),
        pa.table(candidates, schema=CANDIDATE_FIELDS),
        np.repeat(np.arange(NUM_REQUESTS), CANDIDATES),
    )


def _reader(folder: Path) -> TrainingReader:
    file = folder / "training_rows.parquet"
    if not file.exists():
        with TrainingRowsWriter(str(file)) as writer:
            writer.write(_requests())
    return TrainingReader([file], ReadOptions(PLAN.batch_size, seed=4))


def _to_batch() -> RowsToTowerBatch:
    return RowsToTowerBatch({name: row for row, name in enumerate(pins().pin_ids)}, LENGTH)


def test_positives_and_histories_equal_a_loop_over_requests() -> None:
    rows, batch, ids = _requests(), _to_batch()(_requests()), pins().pin_ids
    expected, at = [], rows.candidate_features.to_pylist()
    for place, candidate in enumerate(at):
        if candidate["saved"]:
            expected.append((place // CANDIDATES, ids.index(candidate["pin_id"])))
    assert list(zip(batch.row_to_request_B.tolist(), batch.target_B.tolist(), strict=True)) == expected
    for request, value in enumerate(rows.request_features.column("sequence")):
        with pa.ipc.open_stream(value.as_buffer()) as stream:
            events = stream.read_next_batch().to_pylist()
        kept = [ids.index(e["pin_id"]) for e in events if e["event_type"] != "impression" and e["pin_id"] in ids]
        found = [pin for pin in batch.pin_RL[request].tolist() if pin >= 0]
        assert found == kept[-LENGTH:]
        own = batch.position_B[batch.row_to_request_B == request].tolist()
        assert set(own) <= ({LENGTH - 1} if kept else {-1})


def test_two_requests_of_one_user_mask_each_other() -> None:
    batch = _to_batch()(_requests())
    trainer = _trainer_of(batch_seed=0)
    trainer.model.train()
    trainer.loss(batch)
    assert trainer.shares.before > 1.5 * (CANDIDATES / 2 - 1) / len(batch.target_B), "more than its own request's"
    assert trainer.shares.after == 0.0


def _trainer_of(batch_seed: int) -> ContextualTrainer:
    torch.manual_seed(batch_seed)
    features = pin_features(pins(), SETTINGS["topic_buckets"])
    settings = ContextualSettings(len(features.id_row_P), features.content_PC.shape[1], 6, **SETTINGS)
    return ContextualTrainer(ContextualTwoTower(settings), features)


class Killed(Exception):
    """Stands for a process that is gone."""


class KilledAfter(RowsToTowerBatch):
    """Fails at a batch."""

    num_batches = 0
    killed_at = 10

    def __call__(self, rows: RequestBatch) -> object:  # type: ignore[override]
        self.num_batches += 1
        if self.num_batches == self.killed_at:
            raise Killed
        return super().__call__(rows)


def _fit(
    folder: Path, to_batch: RowsToTowerBatch, checkpoint: Checkpoint | None, plan: TrainingPlan = PLAN
) -> list[float]:
    features, extras = pin_features(pins(), SETTINGS["topic_buckets"]), Extras(settings=SETTINGS, checkpoint=checkpoint)
    trainer = fit_contextual_on_rows(_reader(folder), NUM_REQUESTS // PLAN.batch_size, to_batch, features, plan, extras)
    return [float(p.detach().sum()) for p in trainer.model.parameters()]


def test_a_killed_training_on_rows_goes_on_inside_the_epoch_and_ends_bit_equal(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    through = _fit(tmp_path, _to_batch(), None)
    checkpoint = Checkpoint(tmp_path / "rows.pt", every_steps=4)
    dying = KilledAfter({name: row for row, name in enumerate(pins().pin_ids)}, LENGTH)
    with pytest.raises(Killed):
        _fit(tmp_path, dying, checkpoint)
    assert checkpoint.path.exists()
    assert _fit(tmp_path, _to_batch(), checkpoint) == through


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "rows.pt", every_steps=4)
    dying = KilledAfter({name: row for row, name in enumerate(pins().pin_ids)}, LENGTH)
    with pytest.raises(Killed):
        _fit(tmp_path, dying, checkpoint)
    with pytest.raises(Invalid, match="seed"):
        _fit(tmp_path, _to_batch(), checkpoint, TrainingPlan(3, 8, learning_rate=5e-3, seed=9))
