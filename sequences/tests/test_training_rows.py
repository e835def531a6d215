"""Training rows come back as they were written, each sequence stored once, from wherever a reader stopped."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.errors import Corrupt, Invalid
from sequences import training_rows
from sequences.labels import LABELS
from sequences.request_batch import RequestBatch, joined
from sequences.sequence_value import from_value, to_values, unpacked
from sequences.training_blocks import Sampling, nothing, read_block
from sequences.training_reader import ReadOptions, TrainingReader
from sequences.training_rows import CANDIDATE_FIELDS, REQUEST_FIELDS, SEQUENCE, TrainingRowsWriter

NUM_USERS, REQUESTS_PER_USER = 12, 3


def events(length: int, seed: int) -> pa.RecordBatch:
    dice = np.random.default_rng(seed)
    return pa.RecordBatch.from_pydict(
        {
            "pin_id": [f"pin-{each}" for each in dice.integers(0, 10**9, length)],
            "event_time_ms": dice.integers(0, 10**12, length),
            "dwell_s": pa.array([None if each < 0.5 else each for each in dice.random(length)], type=pa.float32()),
        }
    )


def batch_of(user: int, num_requests: int = REQUESTS_PER_USER, length: int = 20) -> RequestBatch:
    """Requests of one user with 1, 2, 3, … candidates."""
    sizes = [1 + (user + number) % 4 for number in range(num_requests)]
    requests = [
        dict.fromkeys(REQUEST_FIELDS.names)
        | {
            "user_id": f"user-{user:03d}",
            "request_id": f"r-{user:03d}-{number:03d}",
            "served_time_ms": 1000 * user + number,
            "query": None if number else "",
            "num_events": length + number,
            SEQUENCE: to_values([events(length + number, user)])[0].as_py(),
        }
        for number in range(num_requests)
    ]
    candidates = [
        dict.fromkeys(CANDIDATE_FIELDS.names, None)
        | {"pin_id": f"pin-{user}-{number}-{place}", "position": place, "score": 0.5, LABELS[0]: place == 0}
        for number, size in enumerate(sizes)
        for place in range(size)
    ]
    return RequestBatch(
        pa.Table.from_pylist(requests, schema=REQUEST_FIELDS),
        pa.Table.from_pylist(candidates, schema=CANDIDATE_FIELDS),
        np.repeat(np.arange(num_requests, dtype=np.int64), sizes),
    )


def write(path: Path, users: range = range(NUM_USERS)) -> RequestBatch:
    """Returns what was written."""
    batches = [batch_of(user) for user in users]
    with TrainingRowsWriter(path) as writer:
        for batch in batches:
            writer.write(batch)
    return joined(batches)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two users a block."""
    monkeypatch.setattr(training_rows, "ROW_GROUP_ROWS", 2 * 3 * 3)


@pytest.fixture
def files(tmp_path: Path, small_blocks: None) -> list[Path]:
    write(tmp_path / "a.parquet", range(7))
    write(tmp_path / "b.parquet", range(7, NUM_USERS))
    return [tmp_path / "a.parquet", tmp_path / "b.parquet"]


def contents(batch: RequestBatch) -> list[tuple[str, list[str]]]:
    """Request ids with their pins, in order."""
    pins = batch.candidate_features.column("pin_id").to_pylist()
    ids = batch.request_features.column("request_id").to_pylist()
    return [(each, [pins[b] for b in np.flatnonzero(batch.row_to_request == r)]) for r, each in enumerate(ids)]


def same(one: RequestBatch, other: RequestBatch) -> bool:
    return bool(
        one.request_features.equals(other.request_features)
        and one.candidate_features.equals(other.candidate_features)
        and one.row_to_request.tolist() == other.row_to_request.tolist()
    )


def test_what_is_written_is_read(tmp_path: Path, small_blocks: None) -> None:
    written = write(tmp_path / "rows.parquet")
    read = joined(list(TrainingReader([tmp_path / "rows.parquet"], ReadOptions(4))))
    assert same(read, written)
    found, offsets = unpacked(read.request_features.column(SEQUENCE))
    assert offsets[-1] == found.num_rows == sum(read.request_features.column("num_events").to_pylist())
    assert found.slice(offsets[4], offsets[5] - offsets[4]).combine_chunks().to_batches()[0].equals(events(21, 1))


def test_any_parquet_reader_sees_one_row_per_candidate_with_the_whole_sequence(tmp_path: Path) -> None:
    written = write(tmp_path / "rows.parquet")
    plain = pq.read_table(tmp_path / "rows.parquet")
    assert plain.schema.field(SEQUENCE).type == pa.binary()
    expected = written.request_features.column(SEQUENCE).take(pa.array(written.row_to_request))
    assert plain.column(SEQUENCE).to_pylist() == expected.to_pylist()


def test_each_sequence_is_stored_once_whatever_the_number_of_candidates(tmp_path: Path) -> None:
    sizes = {}
    for num_candidates in (1, 50):
        one = batch_of(0, num_requests=1, length=5_000)
        rows = pa.array(np.zeros(num_candidates, np.int64))
        many = RequestBatch(one.request_features, one.candidate_features.take(rows), np.zeros(num_candidates, np.int64))
        path = tmp_path / f"{num_candidates}.parquet"
        with TrainingRowsWriter(path) as writer:
            writer.write(many)
        sizes[num_candidates] = path.stat().st_size
    assert sizes[50] < 1.02 * sizes[1]


def test_no_row_group_has_more_distinct_bytes_than_its_dictionary_may_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_rows, "ROW_GROUP_UNIQUE_BYTES", 20_000)
    with TrainingRowsWriter(tmp_path / "rows.parquet") as writer:
        writer.write(joined([batch_of(user, length=100) for user in range(NUM_USERS)]))
    with pq.ParquetFile(tmp_path / "rows.parquet", read_dictionary=[SEQUENCE]) as file:
        assert file.num_row_groups > 3
        for group in range(file.num_row_groups):
            [chunk] = file.read_row_group(group, columns=[SEQUENCE]).column(SEQUENCE).chunks
            assert chunk.dictionary.nbytes <= 20_000
            place = training_rows.TRAINING_ROWS.names.index(SEQUENCE)
            assert "PLAIN" not in str(file.metadata.row_group(group).column(place).encodings[1:])


def test_rows_that_are_not_sorted_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="user-001"), TrainingRowsWriter(tmp_path / "rows.parquet") as writer:
        writer.write(batch_of(2))
        writer.write(batch_of(1))


@pytest.mark.parametrize("seed", [None, 7])
def test_a_reader_stopped_anywhere_goes_on_with_the_same_batches(files: list[Path], seed: int | None) -> None:
    options = ReadOptions(4, seed=seed, blocks_at_once=2)
    whole = TrainingReader(files, options)
    batches, states = [], [json.dumps(whole.state_dict())]
    for batch in whole:
        batches.append(batch)
        states.append(json.dumps(whole.state_dict()))
    assert len(batches) > 5
    for at, state in enumerate(states):
        resumed = TrainingReader(files, options)
        resumed.load_state_dict(json.loads(state))
        rest = list(resumed)
        assert len(rest) == len(batches) - at
        assert all(same(one, other) for one, other in zip(rest, batches[at:], strict=True))


def test_a_reader_stopped_in_a_later_epoch_goes_on_there(files: list[Path]) -> None:
    options = ReadOptions(4, seed=7)
    reader = TrainingReader(files, options)
    list(reader)
    epoch = iter(reader)
    next(epoch)
    resumed = TrainingReader(files, options)
    resumed.load_state_dict(reader.state_dict())
    assert [contents(each) for each in resumed] == [contents(each) for each in epoch]


def test_a_position_of_other_data_or_options_is_refused(files: list[Path]) -> None:
    state = TrainingReader(files, ReadOptions(4)).state_dict()
    for other in (TrainingReader(files[:1], ReadOptions(4)), TrainingReader(files, ReadOptions(4, seed=1))):
        with pytest.raises(Invalid, match="other files or options"):
            other.load_state_dict(state)


def test_shuffling_is_seeded_differs_by_epoch_and_loses_no_request(files: list[Path]) -> None:
    def epochs(seed: int | None) -> Iterator[list[Any]]:
        reader = TrainingReader(files, ReadOptions(5, seed=seed, blocks_at_once=2))
        for _ in range(2):
            yield [each for batch in reader for each in contents(batch)]

    first, second = epochs(3)
    plain, _ = epochs(None)
    assert [first, second] == list(epochs(3))
    assert first != second and first != plain
    assert sorted(first) == sorted(second) == plain
    assert next(epochs(4)) != first


def test_sampling_takes_all_requests_of_a_user_or_none_and_shards_share_everybody(files: list[Path]) -> None:
    def users(sampling: Sampling) -> list[str]:
        read = joined([nothing(), *TrainingReader(files, ReadOptions(3, sampling=sampling))])
        return [str(each) for each in read.request_features.column("user_id").to_pylist()]

    half, everybody = users(Sampling(user_share=0.5)), users(Sampling())
    assert half == [each for each in everybody if each in set(half)]
    assert 0 < len(half) < len(everybody)
    shards = [users(Sampling(shard=shard, num_shards=3)) for shard in range(3)]
    assert sorted(each for shard in shards for each in shard) == everybody
    assert users(Sampling(user_share=0.0)) == []


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, REQUESTS_PER_USER * 4 - 1), max_size=20))
def test_take_keeps_each_request_with_its_candidates(places: list[int]) -> None:
    batch = joined([batch_of(user) for user in range(4)])
    expected = contents(batch)
    assert contents(batch.take(np.array(places, dtype=np.int64))) == [expected[place] for place in places]


def test_candidates_of_one_request_with_different_sequences_are_corrupt(tmp_path: Path) -> None:
    write(tmp_path / "rows.parquet")
    rows = pq.read_table(tmp_path / "rows.parquet")
    values = rows.column(SEQUENCE).to_pylist()
    place = next(b for b in range(1, len(values)) if values[b] == values[b - 1])
    values[place] = to_values([events(3, 99)])[0].as_py()
    torn = rows.set_column(rows.schema.get_field_index(SEQUENCE), SEQUENCE, pa.array(values))
    pq.write_table(torn, tmp_path / "torn.parquet")
    with pytest.raises(Corrupt, match="different sequences"):
        read_block(tmp_path / "torn.parquet", 0, Sampling())


@pytest.mark.parametrize("damage", [lambda content: content[:-20], lambda content: b"no parquet"[: len(content)]])
def test_a_damaged_file_is_named(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    write(tmp_path / "rows.parquet")
    (tmp_path / "rows.parquet").write_bytes(damage((tmp_path / "rows.parquet").read_bytes()))
    with pytest.raises(Corrupt, match=r"rows\.parquet"):
        list(TrainingReader([tmp_path / "rows.parquet"], ReadOptions(4)))


def test_a_damaged_sequence_is_named() -> None:
    with pytest.raises(Corrupt, match="3 bytes"):
        from_value(b"abc")
