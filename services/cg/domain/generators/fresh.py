"""The newest pins in the user's topics, and a share of slots for pins that few people were shown.

Shapes: N rows of the snapshot, K answered rows, C newest rows, L history events, T topics of a pin.
"""

from itertools import islice

import numpy as np

from modeling.arrays import Bools, Ints
from services.cg.domain.impressions import Impressions
from services.cg.domain.pin_snapshot import PinSnapshot
from services.cg.domain.retrieval import Generated, RetrievalQuery
from services.cg.domain.search import best_rows

NAME = "fresh"
HALF_LIFE_S = 3 * 86_400.0  # a pin of three days scores half of one published now
TOPIC_DECAY = 0.95  # weight of a topic per step back in the history
MAX_USER_TOPICS = 8  # the interests of most people; more would be nearly every topic
POOL_PER_SLOT = 20  # so many of the newest pins compete for one slot
BLOCK_ROWS = 1_024  # whose topics are looked at together
RESERVE = 1.5  # times as many rows are kept in order as are asked for: some are not allowed


class FreshPins:
    """Newest first; pins without a creation time are never fresh.

    Of `k` slots `explore_share` are explored: spread evenly, drawn by the query's seed from the newest pins that were
    delivered fewer than `few_impressions` times, whatever their topic; without such pins the slots go to the newest.
    """

    name = NAME
    version = ""

    def __init__(
        self, impressions: Impressions | None = None, *, explore_share: float = 0.0, few_impressions: int = 10
    ) -> None:
        self._impressions = impressions or Impressions()
        self._explore_share, self._few_impressions = explore_share, few_impressions
        self._newest = _NewestRows()

    def generate(self, query: RetrievalQuery, k: int) -> Generated:
        """The newest allowed pins, those of the user's topics before others; the score falls from 1 with age."""
        created_ms_N = query.snapshot.columns.created_ms_N
        pool_C = self._newest.rows(query.snapshot, query.is_allowed_N, k * POOL_PER_SLOT)
        rows = _interleave(_theirs_first(query, pool_C, k), self._explored(query, pool_C, k), k)
        age_s_K = np.maximum(query.now_ms - created_ms_N[rows], 0) / 1_000.0
        return Generated(rows, (0.5 ** (age_s_K / HALF_LIFE_S)).astype(np.float32))

    def _explored(self, query: RetrievalQuery, pool_C: Ints, k: int) -> Ints:
        num_explored = int(k * self._explore_share)
        if not num_explored:
            return pool_C[:0]
        pool_C = np.random.default_rng(query.seed).permutation(pool_C[: num_explored * POOL_PER_SLOT])
        pin_ids, few = query.snapshot.pin_ids, self._few_impressions
        seldom_shown = (row for row in pool_C.tolist() if self._impressions.of(pin_ids[row]) < few)
        return np.fromiter(islice(seldom_shown, num_explored), dtype=np.int64)


class _NewestRows:
    """Rows by time of creation; requests between two new pins share the order."""

    def __init__(self) -> None:
        self._known: tuple[tuple[int, int], int, Ints] | None = None  # of which snapshot, at most how many, the rows

    def rows(self, snapshot: PinSnapshot, is_allowed_N: Bools, num: int) -> Ints:
        """At most `num` allowed ones, newest first."""
        key, known = (snapshot.generation, snapshot.num_rows), self._known
        if known is None or known[0] != key or known[1] < num:
            num_known = int(num * RESERVE)
            known = self._known = (key, num_known, _newest(snapshot, snapshot.columns.is_live_N, num_known))
        _, num_known, order = known
        rows: Ints = order[is_allowed_N[order]][:num]
        if len(rows) < num and len(order) == num_known:
            return _newest(snapshot, is_allowed_N, num)
        return rows


def _newest(snapshot: PinSnapshot, is_allowed_N: Bools, num: int) -> Ints:
    created_ms_N = snapshot.columns.created_ms_N
    return best_rows(created_ms_N.astype(np.float64), is_allowed_N & (created_ms_N > 0), num)


def _theirs_first(query: RetrievalQuery, pool_C: Ints, k: int) -> Ints:
    """The first `k` of the pool with the pins of the user's topics before the others, each part newest first."""
    topics = _user_topics(query)
    theirs, others, num_theirs = [], [], 0
    for start in range(0, len(pool_C), BLOCK_ROWS):
        block_C = pool_C[start : start + BLOCK_ROWS]
        is_theirs_C = np.isin(query.snapshot.columns.topic_hash_NT[block_C], topics).any(axis=1)
        theirs.append(block_C[is_theirs_C])
        others.append(block_C[~is_theirs_C])
        num_theirs += len(theirs[-1])
        if num_theirs >= k:  # most people find theirs among the newest tenth
            break
    return np.concatenate([*theirs, *others, pool_C[:0]])[:k]


def _user_topics(query: RetrievalQuery) -> Ints:
    """Hashes of the topics that the history, and the subject pin, are most about."""
    pin_ids = [event.pin_id for event in query.history] + ([query.subject_pin_id] if query.subject_pin_id else [])
    rows_L = query.snapshot.rows_of(pin_ids)
    weight_L = TOPIC_DECAY ** np.arange(len(rows_L) - 1, -1, -1)
    is_known_L = rows_L >= 0
    topic_LT = query.snapshot.columns.topic_hash_NT[rows_L[is_known_L]]
    weight_LT = np.broadcast_to(weight_L[is_known_L, None], topic_LT.shape)
    topics, place = np.unique(topic_LT, return_inverse=True)
    weights = np.bincount(place.ravel(), weights=weight_LT.ravel(), minlength=len(topics))
    best_first = topics[np.argsort(-weights, kind="stable")]
    return best_first[best_first >= 0][:MAX_USER_TOPICS]


def _interleave(newest_K: Ints, explored: Ints, k: int) -> Ints:
    """Every so many slots an explored row, each row once, at most `k`; when one list ends the other fills its slots."""
    is_explored = np.isin(newest_K, explored)
    plain, rows = newest_K[~is_explored].tolist(), []
    waiting, num_slots = explored.tolist(), min(k, int((~is_explored).sum()) + len(explored))
    share = len(waiting) / max(1, num_slots)
    taken = 0
    for slot in range(num_slots):
        is_due = int((slot + 1) * share + 1e-9) > taken
        if (is_due and waiting) or not plain:
            rows.append(waiting.pop(0))
            taken += 1
        else:
            rows.append(plain.pop(0))
    return np.asarray(rows, dtype=np.int64)
