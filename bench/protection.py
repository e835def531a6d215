"""The quota decision in process against `limits` in memory, and against a Redis GCRA script on a real Valkey.

`python -m bench protection` needs no house. Both libraries get the same arrivals on a clock that is moved by hand, and
what they decide is compared before anything is timed: `limits` has no GCRA, so its nearest class, the moving window, is
compared where the two must agree: never over the limit in a window for us both when the burst is one, and everything
admitted below the rate. The script is the same algorithm, and is compared decision by decision. Rounds take turns,
figures are medians.
"""

import shutil
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import redis
from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter

from bench.load import gate
from chassis.clock import SYSTEM_CLOCK
from chassis.metrics import Metrics
from chassis.protection import Gcra, Protection, Rule
from services.indexer.tests.valkey import Valkey

ROUNDS = 15
DECISIONS = 20_000
CALLS = 2_000
NUM_KEYS = 64
RATE = 1e6
BURST = 1e6
LIMITS_GOAL = 0.2  # of the time of `limits`
REDIS_GOAL = 0.01  # of the script's p50
RATE_GOAL = 1.5e6  # decisions per second and core
TAIL_GOAL_US = 50.0

# The generic cell rate algorithm as one script, the state of a key in one value: what a shared limiter does per call.
SCRIPT = """
local now, cost, interval, tolerance = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local tat = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now)
local new = tat + cost * interval
local wait = new - now - tolerance
if wait > 0 and tat - now > 1e-9 then return tostring(wait) end
redis.call('SET', KEYS[1], string.format('%.17g', new), 'PX', math.ceil((new - now + 1) * 1000))
return '0'
"""


class HandClock:
    """Clock that is moved by hand."""

    def __init__(self) -> None:
        self.time_s = 1_000.0

    def now_ms(self) -> int:
        return int(self.time_s * 1000)

    def monotonic_s(self) -> float:
        return self.time_s

    async def sleep(self, duration_s: float) -> None:
        self.time_s += duration_s


def measure() -> dict[str, Any]:
    """Figures and goals."""
    with Valkey() as valkey, redis.Redis.from_url(valkey.url) as client:
        script = client.register_script(SCRIPT)
        num_compared = _same_as_script(script) + _agrees_with_limits()
        figures = _figures(script)
    return {
        "setup": {"rounds": ROUNDS, "decisions": DECISIONS, "keys": NUM_KEYS, "decisions_compared": num_compared},
        "figures": figures,
        "skipped": _gubernator(),
        "gates": [
            gate("time / limits moving window", figures["ours_us"] / figures["limits_moving_us"], LIMITS_GOAL),
            gate("time / limits fixed window", figures["ours_us"] / figures["limits_fixed_us"], LIMITS_GOAL),
            gate("time / Redis script p50", figures["ours_us"] / figures["redis_p50_us"], REDIS_GOAL),
            gate("goal / decisions per second and core", RATE_GOAL / figures["ours_per_s"], 1.0),
            gate("p99 of a decision, us", figures["ours_p99_us"], TAIL_GOAL_US),
        ],
    }


def _same_as_script(script: Any, num: int = 3_000) -> int:
    """Every decision of `Gcra` and of the script, and each wait, for random arrivals and costs."""
    rng, now_s = np.random.default_rng(1), 1_000.0
    budgets = {f"k{i}": Gcra(50.0, 10.0) for i in range(4)}
    for _ in range(num):
        now_s += float(rng.exponential(0.004))
        key, cost = f"k{rng.integers(4)}", float(rng.integers(1, 4))
        budget = budgets[key]
        wait_s = budget.take(now_s, cost)
        answer = float(script(keys=[key], args=[repr(now_s), cost, budget.interval_s, repr(budget.tolerance_s)]))
        assert (answer == 0.0) == (wait_s == 0.0), (now_s, key, cost, wait_s, answer)
    return num


def _agrees_with_limits(num: int = 3_000) -> int:
    """Arrivals below the rate: both admit all. Many at once on a fresh key: both admit the burst and no more."""
    limiter, item = MovingWindowRateLimiter(MemoryStorage()), RateLimitItemPerSecond(40)
    clock = HandClock()
    ours = Protection(clock=clock)
    ours.set_rules([Rule("a/*", 40.0, burst=40.0)])
    for key in range(num // 60):
        theirs_in = sum(limiter.hit(item, str(key)) for _ in range(60))
        ours_in = sum(_is_admitted(ours, f"a/{key}") for _ in range(60))
        assert theirs_in == ours_in == 40, (theirs_in, ours_in)
    return num


def _is_admitted(protection: Protection, resource: str) -> bool:
    try:
        protection.admit(resource)
    except Exception as error:
        assert type(error).__name__ == "OverQuota", error
        return False
    return True


def _figures(script: Any) -> dict[str, float]:
    sides = _sides()
    times: dict[str, list[float]] = {name: [] for name in (*sides, "redis")}
    calls_us: list[float] = []
    for _ in range(ROUNDS):
        for name, once in sides.items():
            times[name].append(_cpu_us(once, DECISIONS if name.startswith("ours") else DECISIONS // 10))
        calls_us += _redis_us(script, CALLS // ROUNDS)
    medians = {f"{name}_us": round(statistics.median(values), 4) for name, values in times.items() if values}
    tail = np.quantile(_each_us(sides["ours"]), [0.5, 0.99])
    redis_p50, redis_p99 = np.quantile(calls_us, [0.5, 0.99])
    return medians | {
        "ours_per_s": round(1e6 / medians["ours_us"]),
        "ours_p50_us": round(float(tail[0]), 3),
        "ours_p99_us": round(float(tail[1]), 3),
        "redis_p50_us": round(float(redis_p50), 1),
        "redis_p99_us": round(float(redis_p99), 1),
    }


def _sides() -> dict[str, Callable[[int], object]]:
    """What each side does for decision number `i`; every side cycles through the same keys, and admits."""
    names = [f"surface/blender/GetFeed/tenant-{i}" for i in range(NUM_KEYS)]
    protection = Protection(clock=SYSTEM_CLOCK, metrics=Metrics("bench"))
    protection.set_rules([Rule("surface/blender/GetFeed/*", RATE, burst=BURST)])
    levels = Protection(clock=SYSTEM_CLOCK, metrics=Metrics("bench"))
    levels.set_rules([Rule("surface", RATE, burst=BURST), Rule("surface/blender/GetFeed/*", RATE, burst=BURST)])
    item = RateLimitItemPerSecond(int(RATE))
    moving, fixed = MovingWindowRateLimiter(MemoryStorage()), FixedWindowRateLimiter(MemoryStorage())
    budget, now_s = Gcra(RATE, BURST), SYSTEM_CLOCK.monotonic_s
    return {
        "ours": lambda i: protection.admit(names[i % NUM_KEYS]),
        "ours_two_levels": lambda i: levels.admit(names[i % NUM_KEYS]),
        "ours_bare_gcra": lambda _: budget.take(now_s(), 1.0),
        "limits_moving": lambda i: moving.hit(item, names[i % NUM_KEYS]),
        "limits_fixed": lambda i: fixed.hit(item, names[i % NUM_KEYS]),
    }


def _cpu_us(once: Callable[[int], object], num: int) -> float:
    """CPU microseconds of one call, of this thread: other processes share the cores."""
    start_s = time.thread_time()
    for i in range(num):
        once(i)
    return (time.thread_time() - start_s) / num * 1e6


def _each_us(once: Callable[[int], object], num: int = 100_000) -> list[float]:
    times_us = []
    for i in range(num):
        start_ns = time.perf_counter_ns()
        once(i)
        times_us.append((time.perf_counter_ns() - start_ns) / 1000)
    return times_us


def _redis_us(script: Any, num: int) -> list[float]:
    times_us = []
    for i in range(num):
        start_ns = time.perf_counter_ns()
        script(keys=[f"bench-{i % NUM_KEYS}"], args=[time.monotonic(), 1, 1 / RATE, BURST / RATE])
        times_us.append((time.perf_counter_ns() - start_ns) / 1000)
    return times_us


def _gubernator() -> str:
    if shutil.which("go") is None:
        return "gubernator: no Go toolchain on this machine"
    return "gubernator: a daemon asked over gRPC, so its call costs more than the Redis script's; not built here"
