"""One block of training rows, a row group, as requests with their candidates."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from chassis.errors import Corrupt
from sequences.request_batch import RequestBatch
from sequences.training_rows import CANDIDATE_FIELDS, REQUEST_FIELDS, SEQUENCE

HASHES = 1 << 32
AS_DICTIONARIES = ("user_id", "request_id", SEQUENCE)


@dataclass(frozen=True)
class Sampling:
    """Which users: `user_share` of them, of those the ones of this shard. The same users in every run and file."""

    user_share: float = 1.0
    shard: int = 0
    num_shards: int = 1

    @property
    def is_everybody(self) -> bool:
        """Whether nobody is left out."""
        return self.user_share >= 1.0 and self.num_shards == 1

    def chosen(self, user_ids: Sequence[str]) -> NDArray[np.bool_]:
        """Which of these users, bool [U]."""
        digests = b"".join(hashlib.blake2b(each.encode(), digest_size=8).digest() for each in user_ids)
        hashes = np.frombuffer(digests, np.uint32).reshape(-1, 2)
        of_share = hashes[:, 0] < self.user_share * HASHES
        return np.asarray(of_share & (hashes[:, 1] % self.num_shards == self.shard))


EVERYBODY = Sampling()


def read_block(file: Path, row_group: int, sampling: Sampling) -> RequestBatch:
    """The chosen users' requests in the order of the file; sequences are not read when it has none. Raises: Corrupt."""
    try:
        with pq.ParquetFile(file, read_dictionary=list(AS_DICTIONARIES)) as parquet:
            if not sampling.is_everybody:
                users = parquet.read_row_group(row_group, columns=["user_id"]).column("user_id").unique().to_pylist()
                if not sampling.chosen(users).any():
                    return nothing()
            rows = parquet.read_row_group(row_group)
        batch = _deduplicated(rows)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise Corrupt(f"block {row_group} of {file.name} is not readable: {error}", reason="bad_block") from error
    return batch if sampling.is_everybody else _sampled(batch, sampling)


def nothing() -> RequestBatch:
    """No request, in the columns that every batch has."""
    return RequestBatch(REQUEST_FIELDS.empty_table(), CANDIDATE_FIELDS.empty_table(), np.zeros(0, np.int64))


def _deduplicated(rows: pa.Table) -> RequestBatch:
    codes = {name: _codes(rows.column(name)) for name in AS_DICTIONARIES}
    is_first = np.ones(rows.num_rows, np.bool_)
    is_first[1:] = (np.diff(codes["user_id"]) != 0) | (np.diff(codes["request_id"]) != 0)
    firsts_R = np.flatnonzero(is_first)
    row_to_request = np.cumsum(is_first, dtype=np.int64) - 1
    if (codes[SEQUENCE][firsts_R][row_to_request] != codes[SEQUENCE]).any():
        raise Corrupt("candidates of one request have different sequences", reason="bad_block")
    requests = rows.select(REQUEST_FIELDS.names).take(pa.array(firsts_R)).cast(REQUEST_FIELDS)
    return RequestBatch(requests, rows.select(CANDIDATE_FIELDS.names).cast(CANDIDATE_FIELDS), row_to_request)


def _codes(column: pa.ChunkedArray) -> NDArray[np.int32]:
    found = column.unify_dictionaries()
    return np.concatenate([np.zeros(0, np.int32), *(chunk.indices.to_numpy() for chunk in found.chunks)])


def _sampled(batch: RequestBatch, sampling: Sampling) -> RequestBatch:
    users = batch.request_features.column("user_id").combine_chunks().dictionary_encode()
    is_chosen = sampling.chosen(users.dictionary.to_pylist())[users.indices.to_numpy()]
    if is_chosen.all():
        return batch
    return batch.take(np.flatnonzero(is_chosen))
