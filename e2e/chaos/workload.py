"""The load of a run: each call as in `corkboard load`, and every event and feed of it written into the history."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from chassis import tracing
from chassis.errors import CorkboardError, Invalid
from corkboard.load.driver import OK as CODE_OK
from corkboard.load.driver import Answer
from corkboard.load.plan import Call
from corkboard.load.surface import events_of, send_events, send_feed, trace_id
from corkboard.session import Session
from e2e.chaos.history import FAIL, INFO, OK, History, Record
from e2e.chaos.scenario import Scenario
from protos.ingest.v1 import ingest_pb2

SHUFFLED_OVER_MS = 60_000


@dataclass
class Workload:
    """Sends and records; `run` names this run's own users, `now_s` tells its time."""

    session: Session
    scenario: Scenario
    run: str
    history: History
    now_s: Callable[[], float]

    async def send(self, call: Call) -> Answer:
        """One call. Raises: the chassis error of a failed one, after it is recorded."""
        with tracing.span("chaos call", kind="client"):
            return await (self._feed(call) if call.kind == "feed" else self._events(call))

    async def _feed(self, call: Call) -> Answer:
        answer, code = Answer(), CODE_OK
        try:
            answer = await send_feed(self.session, call)
            return answer
        except CorkboardError as error:
            code = error.status
            raise
        finally:
            t = self.now_s()
            value = {"degraded": list(answer.degraded), "items": answer.num_items, "code": code}
            value |= {"finite": answer.is_finite, "versions": dict(answer.versions)}
            value["latency_ms"] = round((t - call.at_s) * 1000, 1)
            outcome = OK if code == CODE_OK else FAIL
            self.history.add(Record(t, "surface", "feed", f"person-{call.user:05d}", value, outcome, answer.trace))

    async def _events(self, call: Call) -> Answer:
        chance = random.Random(f"{self.scenario.name} {call.number}")
        events = events_of(self.run, call)
        if self.scenario.shuffles:
            for event in events:
                event.event_time_ms -= chance.randrange(SHUFFLED_OVER_MS)
            chance.shuffle(events)
        if self.scenario.clock_steps_ms:
            step_ms = chance.choice((0, -self.scenario.clock_steps_ms, self.scenario.clock_steps_ms))
            for event in events:
                event.event_time_ms += step_ms
        answer = await self._publish(events)
        if chance.random() < self.scenario.repeats:
            await self._publish(events)
        return answer

    async def _publish(self, events: list[ingest_pb2.Event]) -> Answer:
        sent_s, trace = self.now_s(), trace_id(tracing.inject_headers())
        code, outcome = CODE_OK, OK
        try:
            return await send_events(self.session, events)
        except Invalid as error:
            code, outcome = error.status, FAIL
            raise
        except CorkboardError as error:  # whether ingest wrote them before it went silent, nobody knows
            code, outcome = error.status, INFO
            raise
        finally:
            for event in events:
                value = {
                    "event_id": event.event_id,
                    "event_time_ms": event.event_time_ms,
                    "sent_s": sent_s,
                    "code": code,
                }
                self.history.add(Record(self.now_s(), "surface", "publish", event.user_id, value, outcome, trace))
