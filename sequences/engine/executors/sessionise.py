"""Executor: events of one user in one stretch of time share a session id."""

import pyarrow as pa

from sequences.definitions.enrichment import Enrichment
from sequences.engine.executor import ExecutorResult, Lookups, Step
from sequences.engine.signature import check_parameters, check_reads, check_writes
from sequences.engine.stable_hash import hash_texts, mix

MS_PER_S = 1000
MAX_SESSION_S = 30 * 86_400
WRITABLE = {"session_id": "int64", "session_start_ms": "int64"}


class Sessionise:
    """A session is a stretch of `session_s` seconds of one user; `session_start_ms` is its first millisecond.

    Where stretches begin is shifted by a hash of the user id, so that no moment ends everybody's session. By the
    event's own user and time only, never by the gap to the event before: which event that is depends on what has come
    so far, and a late one would change the sessions of rows that are written (docs/adr/0010). Readers of a whole
    sequence have every gap, and cut by it where they need to.
    """

    name = "sessionise"
    lookup_column = ""

    def check(self, enrichment: Enrichment) -> list[str]:
        problems = check_parameters(enrichment, {"session_s": int}, required=("session_s",))
        session_s = enrichment.parameters.get("session_s")
        if isinstance(session_s, int) and not 1 <= session_s <= MAX_SESSION_S:
            problems.append(f"session_s must be in 1..{MAX_SESSION_S}")
        problems += check_reads(enrichment, ("user_id", "event_time_ms"))
        return problems + check_writes(enrichment, WRITABLE)

    def run(self, batch: pa.RecordBatch, step: Step, lookups: Lookups) -> ExecutorResult:  # noqa: ARG002
        session_ms = int(step.parameters["session_s"]) * MS_PER_S
        users = hash_texts(batch.column("user_id")).to_numpy(zero_copy_only=False)
        shifts_ms = users % session_ms
        numbers = (batch.column("event_time_ms").to_numpy(zero_copy_only=False) - shifts_ms) // session_ms
        columns = {
            "session_id": pa.array(mix(users, numbers)),
            "session_start_ms": pa.array(numbers * session_ms + shifts_ms),
        }
        return ExecutorResult({field.name: columns[field.name] for field in step.writes})
