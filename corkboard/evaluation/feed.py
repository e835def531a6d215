"""Chronological leave-last-out over the real feed: every user's feed from FeedService, against baselines beside it."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from chassis.errors import DeadlineExceeded, Invalid, Overloaded, Unavailable
from corkboard import feed_client
from corkboard.commands.output import Output
from corkboard.evaluation.baselines import Histories, rank_all
from corkboard.evaluation.measures import difference, interval, per_user
from corkboard.movielens.reader import MovieLens, pin_id, user_id
from corkboard.readable import counted
from corkboard.session import Session
from protos.blender.v1 import blender_pb2

K = 10
IN_FLIGHT = 2
MAX_ATTEMPTS = 5


async def evaluate(session: Session, data: MovieLens, output: Output) -> dict[str, Any]:
    """Report hit rate and NDCG@10 of the feeds and of each baseline.

    Raises: Invalid when the last ratings were not held out at import.
    """
    held_out = {user_id(user): pin_id(rating.item) for user, rating in data.held_out().items()}
    await _check_held_out(session, data, sorted(held_out))
    with output.progress("feeds", len(held_out)) as advance:
        feeds, latencies_ms, degraded = await _feeds(session, sorted(held_out), advance)
    output.say("baselines: popularity, item-kNN, EASE")
    rankings: dict[str, Mapping[str, Sequence[str]]] = {"feed": feeds, **await asyncio.to_thread(_baselines, data)}
    scored = {name: per_user(ranked, held_out, K) for name, ranked in rankings.items()}
    return {
        "users": len(held_out),
        "k": K,
        "degraded_feeds": degraded,
        "latency_ms": {"p50": _quantile(latencies_ms, 0.5), "p99": _quantile(latencies_ms, 0.99)},
        "results": [_row(name, hits, ndcgs, scored["feed"][1]) for name, (hits, ndcgs) in scored.items()],
    }


def _row(name: str, hits: list[float], ndcgs: list[float], feed_ndcgs: list[float]) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name, "hit_rate": asdict(interval(hits)), "ndcg": asdict(interval(ndcgs))}
    return row if name == "feed" else row | {"feed_minus_this": asdict(difference(feed_ndcgs, ndcgs))}


async def _check_held_out(session: Session, data: MovieLens, users: Sequence[str]) -> None:
    expected = {user: -1 for user in users}
    for rating in data.ratings:
        expected[user_id(rating.user)] += 1
    counts = await counted(session, users)
    wrong = [user for user in users if counts[user] != expected[user]]
    if wrong:
        raise Invalid(
            f"{len(wrong)} of {len(users)} users do not hold all but their last rating (first: {wrong[0]} holds "
            f"{counts[wrong[0]]}, not {expected[wrong[0]]}). In a fresh CORKBOARD_HOME run: "
            "corkboard import movielens PATH --hold-out-last"
        )


async def _feeds(session: Session, users: Sequence[str], advance: Any) -> tuple[dict[str, list[str]], list[float], int]:
    feeds: dict[str, list[str]] = {}
    latencies_ms: list[float] = []
    degraded = 0
    gate = asyncio.Semaphore(IN_FLIGHT)

    async def ask(user: str) -> None:
        nonlocal degraded
        async with gate:
            start_s = time.perf_counter()
            feed = await _patiently(session, user)
            latencies_ms.append((time.perf_counter() - start_s) * 1000)
        feeds[user] = feed.pin_ids
        degraded += bool(feed.response.degradations)
        advance(1)

    async with asyncio.TaskGroup() as tasks:
        for user in users:
            tasks.create_task(ask(user))
    return feeds, latencies_ms, degraded


async def _patiently(session: Session, user: str) -> feed_client.Feed:
    request = blender_pb2.GetFeedRequest(user_id=user, surface="home", page_size=K, client="corkboard-evaluate")
    for attempt in range(MAX_ATTEMPTS):
        try:
            return await feed_client.get_feed(session, request, with_titles=False)
        except (Unavailable, Overloaded, DeadlineExceeded) as error:
            if attempt == MAX_ATTEMPTS - 1:
                raise
            await asyncio.sleep(error.retry_after_s or 0.2)
    raise AssertionError("not reached")


def _baselines(data: MovieLens) -> dict[str, dict[str, list[str]]]:
    items = sorted({rating.item for rating in data.ratings})
    index = {item: number for number, item in enumerate(items)}
    histories: dict[str, list[int]] = {}
    for rating in data.ratings:
        histories.setdefault(user_id(rating.user), []).append(index[rating.item])
    ranked = rank_all(Histories({user: list_[:-1] for user, list_ in histories.items()}, len(items)))
    return {
        name: {user: [pin_id(items[item]) for item in order[:K]] for user, order in by_user.items()}
        for name, by_user in ranked.items()
    }


def _quantile(values: Sequence[float], q: float) -> float:
    return round(float(np.quantile(values, q)), 1)
