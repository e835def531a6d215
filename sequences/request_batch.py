"""Requests with their candidates, request features once: what readers hand on and writers take."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


@dataclass(frozen=True)
class RequestBatch:
    """R requests with their B candidates; `row_to_request[b]` is the request of candidate b, int64 [B]."""

    request_features: pa.Table
    candidate_features: pa.Table
    row_to_request: NDArray[np.int64]

    @property
    def num_requests(self) -> int:
        """R."""
        return int(self.request_features.num_rows)

    def take(self, requests_K: NDArray[np.int64]) -> "RequestBatch":
        """These requests, in this order, with their candidates; candidates of a request must be neighbours."""
        starts_R1 = np.searchsorted(self.row_to_request, np.arange(self.num_requests + 1))
        lengths_K = starts_R1[requests_K + 1] - starts_R1[requests_K]
        row_to_request = np.repeat(np.arange(len(requests_K), dtype=np.int64), lengths_K)
        firsts_K = np.cumsum(lengths_K) - lengths_K
        rows = np.arange(lengths_K.sum()) + (starts_R1[requests_K] - firsts_K)[row_to_request]
        return RequestBatch(
            self.request_features.take(pa.array(requests_K)),
            self.candidate_features.take(pa.array(rows)),
            row_to_request,
        )


def joined(batches: Sequence[RequestBatch]) -> RequestBatch:
    """One batch of all requests, in order. At least one batch."""
    firsts = np.cumsum([0, *(each.num_requests for each in batches)])
    return RequestBatch(
        pa.concat_tables([each.request_features for each in batches]),
        pa.concat_tables([each.candidate_features for each in batches]),
        np.concatenate([each.row_to_request + first for each, first in zip(batches, firsts, strict=False)]),
    )
