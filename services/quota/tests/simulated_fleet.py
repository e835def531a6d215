"""Many enforcers and two lease services in virtual time: the real decision, desk, book and leader, a made-up network.

Each process has a monotonic clock of its own (any offset) and a wall clock up to 60 s off. A tick handles due messages,
then, per enforcer, its requests at their exact times, then its lease calls: after a pause decisions come first, so a
lease that ran out meanwhile must be noticed by the decision itself.
"""

import heapq
import itertools
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from chassis.errors import CorkboardError, NotFound, PermissionDenied, Unavailable
from chassis.protection.lease import Grant, LeasedGcra
from chassis.protection.lease_desk import Ask, LeasedBudget, LeaseDesk
from chassis.protection.rule import Rule
from services.quota.app.leader import Leader
from services.quota.app.leases import LeaseGranting
from services.quota.domain.divider import Claim
from services.quota.domain.leadership import LeaderRow, claimed
from services.quota.domain.lease_book import Lease, LeaseBook
from services.quota.domain.rule_version import RuleState, RuleVersion
from services.quota.tests.simulated_faults import Fault

T = TypeVar("T")
TICK_S = 0.5
LEASE_S = 6.0
LEADER_S = 3.0
CALL_S = 1.0
DELAY_S = (0.0, 0.3)
KEY = "a/b"


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never has to wait."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    raise AssertionError("it waits")


class SkewedClock:
    """Clock: the fleet's time as one process sees it."""

    def __init__(self, random_: random.Random, true_s: Callable[[], float]) -> None:
        self._true_s = true_s
        self.offset_s, self.skew_s = random_.uniform(0, 1e5), random_.uniform(-60, 60)

    def now_ms(self) -> int:
        return int((1e9 + self._true_s() + self.skew_s) * 1000)

    def monotonic_s(self) -> float:
        return self._true_s() + self.offset_s

    async def sleep(self, duration_s: float) -> None:
        raise AssertionError(f"nobody sleeps {duration_s} s here")


@dataclass
class SharedLedger:
    """LeaderLedger and the one published rule, as every lease service sees them."""

    rule: Rule
    row: LeaderRow = field(default_factory=lambda: LeaderRow("", 0, 0, 0))

    async def claim(self, holder: str, dead: LeaderRow | None) -> LeaderRow:
        self.row = claimed(self.row, holder, dead)
        return self.row

    async def resign(self, holder: str) -> None:
        if self.row.holder == holder:
            self.row = LeaderRow("", self.row.epoch, self.row.beat, self.row.longest_lease_ms)

    async def cover_leases(self, epoch: int, duration_ms: int) -> bool:
        if self.row.epoch != epoch:
            return False
        self.row = LeaderRow(self.row.holder, epoch, self.row.beat, max(duration_ms, self.row.longest_lease_ms))
        return True

    async def published(self, key: str) -> RuleVersion | None:
        return RuleVersion(self.rule, RuleState.PUBLISHED, 0, "ann", "", "ann") if key == self.rule.key else None


class Plane:
    """One lease service; killed, it comes back under another name with nothing in memory."""

    def __init__(self, fleet: "Fleet", name: str) -> None:
        self.fleet, self.name = fleet, name
        self.is_up, self.is_paused, self.is_cut_off, self.is_blind = True, False, False, False
        self.start()

    def start(self) -> None:
        fleet = self.fleet
        self.clock = SkewedClock(fleet.random, lambda: fleet.now_s)
        holder = f"{self.name}/{next(fleet.ids)}"
        self.leader = fleet.new_leader(fleet.ledger, holder, self.clock, LEADER_S)
        lease_ms = int(LEASE_S * 1000)
        self.book = fleet.new_book(lease_ms, lambda: str(next(fleet.ids)))
        rules: Any = fleet.ledger
        self.granting = LeaseGranting(rules, fleet.ledger, self.leader, self.book, self.clock, lease_ms)
        self._next_claim_s = 0.0

    def tick(self) -> None:
        is_running = self.is_up and not self.is_paused and not self.is_cut_off and not self.is_blind
        if is_running and self.fleet.now_s >= self._next_claim_s:
            self._next_claim_s = self.fleet.now_s + LEADER_S / 4
            at_once(self.leader.claim())

    def answer(self, client: str, ask: Ask) -> Lease:
        if not self.is_up or self.is_cut_off:
            raise Unavailable("down")
        if ask.lease_id:
            return at_once(self.granting.renew(ask.lease_id, client, ask.demand_per_s, ask.held_per_s))
        return at_once(self.granting.acquire(KEY, client, Claim(ask.demand_per_s), ask.of.budget))


@dataclass
class Enforcer:
    """One process that decides; a new life after each kill."""

    fleet: "Fleet"
    name: str
    demand_per_s: float
    is_up: bool = True
    is_paused: bool = False
    is_cut_off: bool = False
    is_deaf: bool = False  # its calls arrive, no answer does
    plane: int = 0
    life: int = 0
    admitted: list[float] = field(default_factory=list)  # units per tick
    refused: list[float] = field(default_factory=list)

    def start(self) -> None:
        self.life += 1
        self.clock = SkewedClock(self.fleet.random, lambda: self.fleet.now_s)
        self.gcra = self.fleet.new_gcra(self.fleet.ledger.rule, self.clock.monotonic_s())
        budget = LeasedBudget(KEY, KEY, self.gcra)
        self.desk = LeaseDesk(lambda: [budget])
        self.next_request_s = self.fleet.now_s

    def decide(self, until_s: float) -> None:
        admitted = refused = 0.0
        if self.is_up and not self.is_paused and self.demand_per_s > 0:
            gap_s, offset_s, take = 1.0 / self.demand_per_s, self.clock.offset_s, self.gcra.take
            at_s = max(self.next_request_s, self.fleet.now_s)
            while at_s < until_s:
                if take(at_s + offset_s, 1.0) == 0.0:
                    admitted += 1.0
                else:
                    refused += 1.0
                at_s += gap_s
            self.next_request_s = at_s
        self.admitted.append(admitted)
        self.refused.append(refused)

    def call(self) -> None:
        if self.is_up and not self.is_paused:
            for ask in self.desk.due(self.clock.monotonic_s()):
                self.fleet.send(self, ask)


class _Call:
    """One lease call on its way."""

    def __init__(self, fleet: "Fleet", enforcer: Enforcer, ask: Ask) -> None:
        self._fleet, self._enforcer, self._ask = fleet, enforcer, ask
        self._life, self._plane, self._sent_s = enforcer.life, fleet.planes[enforcer.plane], fleet.now_s
        self._answer: Grant | CorkboardError = Unavailable("no answer")

    def arrive(self) -> None:
        fleet, enforcer = self._fleet, self._enforcer
        if enforcer.is_cut_off:
            return
        if self._plane.is_paused:  # it reads what waits in its socket when it goes on
            fleet.at(fleet.now_s + TICK_S, self.arrive)
            return
        try:
            lease = self._plane.answer(enforcer.name, self._ask)
        except CorkboardError as error:
            self._answer = error
            return
        fleet.grants.append((fleet.now_s, lease.epoch, self._sent_s + LEASE_S))
        if not enforcer.is_deaf and fleet.now_s <= self._sent_s + CALL_S:
            self._answer = Grant(lease.lease_id, lease.rate, lease.burst, LEASE_S, lease.epoch)

    def settle(self) -> None:
        fleet, enforcer, answer = self._fleet, self._enforcer, self._answer
        if enforcer.life != self._life or not enforcer.is_up:
            return
        if enforcer.is_paused:
            fleet.at(fleet.now_s + TICK_S, self.settle)
            return
        now_s = enforcer.clock.monotonic_s()
        if isinstance(answer, Grant):
            enforcer.desk.granted(self._ask, answer, now_s)
            return
        is_lost = isinstance(answer, NotFound | PermissionDenied)
        if not is_lost:
            enforcer.plane = 1 - enforcer.plane
        enforcer.desk.failed(self._ask, now_s, is_lost=is_lost)


class Fleet:
    """Everything; `run` returns when the time is over. The `new_*` fields are where a test plants a fault."""

    def __init__(self, seed: int, rule: Rule, demands_per_s: list[float]) -> None:
        self.random = random.Random(seed)  # replayable
        self.now_s = 0.0
        self.ids = itertools.count()
        self.ledger = SharedLedger(rule)
        self.new_gcra: Callable[[Rule, float], LeasedGcra] = LeasedGcra
        self.new_book: Callable[[int, Callable[[], str]], LeaseBook] = LeaseBook
        self.new_leader: Callable[..., Leader] = Leader
        self.restarts: list[float] = []
        self.grants: list[tuple[float, int, float]] = []  # (given at, epoch, over at)
        self._messages: list[tuple[float, int, Callable[[], None]]] = []
        self._demands = demands_per_s

    def run(self, faults: list[Fault], total_s: float) -> None:
        self.planes = [Plane(self, f"plane-{index}") for index in range(2)]
        self.enforcers = [Enforcer(self, f"enforcer-{i}", demand) for i, demand in enumerate(self._demands)]
        for enforcer in self.enforcers:
            enforcer.start()
        for fault in faults:
            self.at(fault.begin_s, partial(self._apply, fault, True))
            self.at(fault.end_s, partial(self._apply, fault, False))
        for _ in range(int(total_s / TICK_S)):
            while self._messages and self._messages[0][0] <= self.now_s:
                heapq.heappop(self._messages)[2]()
            for plane in self.planes:
                plane.tick()
            for enforcer in self.enforcers:
                enforcer.decide(self.now_s + TICK_S)
            for enforcer in self.enforcers:
                enforcer.call()
            self.now_s += TICK_S

    def send(self, enforcer: Enforcer, ask: Ask) -> None:
        """A lease call: out, answered by the lease service it goes to, and back; each way may be lost."""
        call = _Call(self, enforcer, ask)
        there_s = self.random.uniform(*DELAY_S)
        is_lost = enforcer.is_cut_off or enforcer.is_deaf
        self.at(self.now_s + there_s, call.arrive)
        self.at(self.now_s + (CALL_S if is_lost else 2 * there_s + 0.01), call.settle)

    def at(self, time_s: float, do: Callable[[], None]) -> None:
        """Do it in the first tick that begins at or after `time_s`."""
        heapq.heappush(self._messages, (time_s, next(self.ids), do))

    def _apply(self, fault: Fault, begins: bool) -> None:
        target: Any = (self.planes if fault.on_plane else self.enforcers)[fault.index]
        if fault.kind == "demand":
            target.demand_per_s *= fault.factor if begins else 1 / fault.factor
            return
        if fault.kind != "kill":
            setattr(
                target,
                {"pause": "is_paused", "cut": "is_cut_off", "blind": "is_blind", "deaf": "is_deaf"}[fault.kind],
                begins,
            )
            return
        target.is_up = not begins
        if not begins:
            target.start()
            if not fault.on_plane:
                self.restarts.append(self.now_s)
