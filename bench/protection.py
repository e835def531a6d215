"""The quota decision in process against `limits` in memory, a Redis GCRA script on a real Valkey, and gubernator.

`python -m bench protection` needs no house. Both libraries get the same arrivals on a clock that is moved by hand, and
what they decide is compared before anything is timed: `limits` has no GCRA, so its nearest class, the moving window, is
compared where the two must agree: never over the limit in a window for us both when the burst is one, and everything
admitted below the rate. The script is the same algorithm, and is compared decision by decision. Rounds take turns,
figures are medians.

gubernator is a daemon: what is compared is a decision in this process with a call to a local daemon, which shares a
limit between processes at once where ours does so by leases. Its CPU is the client's and the daemon's, per decision,
asked for one by one (without its batching, which adds half a millisecond) and 100 in a call, its best case.
"""

import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
import redis
from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter

from bench import gubernator
from bench.load import gate
from chassis.clock import SYSTEM_CLOCK
from chassis.metrics import Metrics
from chassis.protection import Gcra, Protection, Rule
from services.indexer.tests.valkey import Valkey

ROUNDS = 15
DECISIONS = 20_000
CALLS = 2_000
BATCH = 100
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
    skipped = gubernator.missing()
    with ExitStack() as stack:
        valkey = stack.enter_context(Valkey())
        client = stack.enter_context(redis.Redis.from_url(valkey.url))
        daemon = None if skipped else stack.enter_context(gubernator.running())
        script = client.register_script(SCRIPT)
        num_compared = _same_as_script(script) + _agrees_with_limits() + (_agrees_with_daemon(daemon) if daemon else 0)
        figures = _figures(script, daemon)
    return {
        "setup": {"rounds": ROUNDS, "decisions": DECISIONS, "keys": NUM_KEYS, "decisions_compared": num_compared},
        "figures": figures,
        "skipped": skipped,
        "gates": [
            gate("time / limits moving window", figures["ours_us"] / figures["limits_moving_us"], LIMITS_GOAL),
            gate("time / limits fixed window", figures["ours_us"] / figures["limits_fixed_us"], LIMITS_GOAL),
            gate("time / Redis script p50", figures["ours_us"] / figures["redis_p50_us"], REDIS_GOAL),
            gate("goal / decisions per second and core", RATE_GOAL / figures["ours_per_s"], 1.0),
            gate("p99 of a decision, us", figures["ours_p99_us"], TAIL_GOAL_US),
            *(_gubernator_gates(figures) if daemon else []),
        ],
    }


def _gubernator_gates(figures: dict[str, float]) -> list[dict[str, object]]:
    return [
        gate("p50 / gubernator p50", figures["ours_p50_us"] / figures["gubernator_p50_us"], 1.0),
        gate("CPU / gubernator CPU, one by one", figures["ours_us"] / figures["gubernator_cpu_us"], 1.0),
        gate("CPU / gubernator CPU, 100 in a call", figures["ours_us"] / figures["gubernator_batch_cpu_us"], 1.0),
    ]


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


def _agrees_with_daemon(daemon: gubernator.Gubernator, num: int = 60) -> int:
    """Many at once on a fresh key: it admits the limit and no more, as ours does."""
    assert sum(daemon.decide(["fresh"] * num, 40, duration_ms=60_000)) == 40
    return num


def _figures(script: Any, daemon: gubernator.Gubernator | None) -> dict[str, float]:
    sides = _sides()
    times: dict[str, list[float]] = {name: [] for name in (*sides, "redis")}
    calls_us: list[float] = []
    daemon_calls = DaemonCalls(daemon) if daemon else None
    for _ in range(ROUNDS):
        for name, once in sides.items():
            times[name].append(_cpu_us(once, DECISIONS if name.startswith("ours") else DECISIONS // 10))
        calls_us += _redis_us(script, CALLS // ROUNDS)
        if daemon_calls:
            daemon_calls.one_round(CALLS // ROUNDS)
    medians = {f"{name}_us": round(statistics.median(values), 4) for name, values in times.items() if values}
    tail = np.quantile(_each_us(sides["ours"]), [0.5, 0.99])
    redis_p50, redis_p99 = np.quantile(calls_us, [0.5, 0.99])
    return medians | {
        "ours_per_s": round(1e6 / medians["ours_us"]),
        "ours_p50_us": round(float(tail[0]), 3),
        "ours_p99_us": round(float(tail[1]), 3),
        "redis_p50_us": round(float(redis_p50), 1),
        "redis_p99_us": round(float(redis_p99), 1),
        **(daemon_calls.figures() if daemon_calls else {}),
    }


class DaemonCalls:
    """Calls to gubernator over all rounds: times of single ones, CPU of both ends for single and batched ones."""

    def __init__(self, daemon: gubernator.Gubernator) -> None:
        self._daemon = daemon
        self._singles_us: list[float] = []
        self._cpu_s = {1: 0.0, BATCH: 0.0}
        self._num = {1: 0, BATCH: 0}

    def one_round(self, num_calls: int) -> None:
        """Single calls, then as many decisions in batches."""
        self._timed(1, num_calls)
        self._timed(BATCH, max(1, num_calls // 10))

    def figures(self) -> dict[str, float]:
        """Per decision, microseconds."""
        p50, p99 = np.quantile(self._singles_us, [0.5, 0.99])
        cpu_us = {size: round(self._cpu_s[size] / self._num[size] * 1e6, 2) for size in self._num}
        names = {1: "gubernator_cpu_us", BATCH: "gubernator_batch_cpu_us"}
        latencies = {"gubernator_p50_us": round(float(p50), 1), "gubernator_p99_us": round(float(p99), 1)}
        return latencies | {names[size]: value for size, value in cpu_us.items()}

    def _timed(self, size: int, num_calls: int) -> None:
        keys = [[f"k{(call * size + each) % NUM_KEYS}" for each in range(size)] for call in range(num_calls)]
        before_s = self._daemon.daemon_cpu_s() + time.process_time()
        for batch in keys:
            start_ns = time.perf_counter_ns()
            self._daemon.decide(batch, int(RATE))
            if size == 1:
                self._singles_us.append((time.perf_counter_ns() - start_ns) / 1000)
        self._cpu_s[size] += self._daemon.daemon_cpu_s() + time.process_time() - before_s
        self._num[size] += size * num_calls


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
