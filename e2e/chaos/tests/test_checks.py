"""Each check passes a sound history and catches the mutant that was planted for it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from corkboard.local.kafka_server import HEAP
from corkboard.local.valkey_server import MAX_MEMORY
from e2e.chaos.checks import CHECKS
from e2e.chaos.history import FAIL, INFO, OK, History, Record, windows
from e2e.chaos.measures import NEEDED

NUM_SECONDS = 120
Mutate = Callable[[History], None]


def sound() -> History:
    """Two minutes: one event and one feed a second, every fault that a check asks about, and all of it went well."""
    run = History()
    for second in range(NUM_SECONDS):
        user, event = f"user-{second % 4}", f"event-{second:04d}"
        value = {"event_id": event, "event_time_ms": 1_000 + second, "sent_s": float(second), "code": "OK"}
        run.add(Record(float(second), "surface", "publish", user, value))
        degraded = ["ranker"] if 20 <= second <= 30 else []
        feed = {"latency_ms": 100.0, "items": 10, "degraded": degraded, "code": "OK", "finite": True}
        feed["versions"] = {"model:ranker": "v-1"}
        run.add(Record(float(second) + 0.2, "surface", "feed", user, feed))
        run.add(Record(float(second), "surface", "fresh", str(second % 6), 150.0))
        run.add(Record(float(second), "cg", "sample", "server_calls", float(second)))
        run.add(Record(float(second), "kafka-1", "commit", "enrich", {"num_events": 1, "missing": []}))
        for kind, services in NEEDED.items():
            value = {"services": sorted(services), "num_orphans": 0, "degraded": []}
            run.add(Record(float(second), "traces", "trace", kind, value))
        run.add(Record(float(second), "cg", "sample", "resident_mb 77", 600.0 + second % 2))
        run.add(Record(float(second), "valkey", "sample", "resident_mb 79", 30.0 + second))  # fills up, as it may
    run.add(Record(19.0, "ranker", "fault", "pause", "begin", INFO))
    run.add(Record(31.0, "ranker", "fault", "pause", "end", INFO))
    run.add(Record(40.0, "chaos", "sample", "poison", 1))
    run.add(Record(119.0, "chaos", "sample", "parked", 1))
    run.add(Record(40.0, "ranker", "sample", "bad_bundle", "v-2-spoilt"))
    run.add(Record(118.0, "chaos", "rebuild", "local", {}, OK))
    for number in range(4):
        ids = [f"event-{second:04d}" for second in range(number, NUM_SECONDS, 4)]
        run.add(Record(120.0, "surface", "read", f"user-{number}", ids))
    return run


def change(run: History, op: str, place: int, **fields: object) -> None:
    """Replace fields of the `place`th record of `op`."""
    at = [index for index, record in enumerate(run.records) if record.op == op][place]
    run.records[at] = replace(run.records[at], **fields)  # type: ignore[arg-type]


def feed(**fields: object) -> dict[str, object]:
    return {"latency_ms": 100.0, "items": 10, "degraded": [], "code": "OK"} | fields


def lose(run: History) -> None:
    change(run, "read", 1, value=next(r for r in run.of("read") if r.key == "user-1").value[:-1])


def double(run: History) -> None:
    ids = next(r for r in run.of("read") if r.key == "user-0").value
    change(run, "read", 0, value=[*ids, ids[-1]])


def invent(run: History) -> None:
    ids = next(r for r in run.of("read") if r.key == "user-0").value
    change(run, "read", 0, value=[*ids, "event-of-nobody"])


def give_to_another(run: History) -> None:
    ids = next(r for r in run.of("read") if r.key == "user-0").value
    change(run, "read", 0, value=[*ids, "event-0001"])


def apply_refused(run: History) -> None:
    change(run, "publish", 0, outcome=FAIL)


def swap(run: History) -> None:
    ids = list(next(r for r in run.of("read") if r.key == "user-2").value)
    ids[3], ids[4] = ids[4], ids[3]
    change(run, "read", 2, value=ids)


def fail_a_feed(run: History) -> None:
    change(run, "feed", 50, outcome=FAIL, value=feed(code="INTERNAL"))


def delay_feeds(run: History) -> None:
    for place in range(50, 60):
        change(run, "feed", place, value=feed(latency_ms=900.0))


def hide_what_is_missing(run: History) -> None:
    change(run, "feed", 25, value=feed())


def answer_nothing_silently(run: History) -> None:
    change(run, "feed", 60, value=feed(items=0))


def never_rebuild(run: History) -> None:
    change(run, "rebuild", 0, outcome=FAIL)


def retry_without_end(run: History) -> None:
    for index, record in enumerate(run.records):
        if record.key == "server_calls":
            run.records[index] = replace(record, value=record.value * 2.5)


def stall_a_partition(run: History) -> None:
    change(run, "fresh", 45, value=1_400.0)


def drop_the_poison(run: History) -> None:
    run.records = [record for record in run.records if record.key != "parked"]


def fail_in_a_restart(run: History) -> None:
    run.add(Record(60.0, "cg", "fault", "restart", "begin", INFO))
    run.add(Record(64.0, "cg", "fault", "restart", "end", INFO))
    change(run, "feed", 62, outcome=FAIL, value=feed(code="UNAVAILABLE"))


def retry_in_a_burst(run: History) -> None:
    """Ten attempts for each feed during five seconds, and none of it before or after."""
    for index, record in enumerate(run.records):
        if record.key == "server_calls" and record.t >= 60:
            run.records[index] = replace(record, value=record.value + 10 * min(record.t - 60, 5))


def commit_too_early(run: History) -> None:
    change(run, "commit", 30, value={"num_events": 5, "missing": ["event-0030"]})


def tear_traces(run: History) -> None:
    for place in range(100, 110):
        change(run, "trace", place, value={"services": ["blender"], "num_orphans": 0, "degraded": []})


def orphan_spans(run: History) -> None:
    whole = sorted(NEEDED["feed"])
    for place in range(100, 110):
        change(run, "trace", place, value={"services": whole, "num_orphans": 2, "degraded": ["cg"]})


def say_no_number(run: History) -> None:
    change(run, "feed", 60, value=feed(finite=False))


def serve_nothing(run: History) -> None:
    change(run, "feed", 60, value=feed(items=0, degraded=["cg"]))


def lean_on_what_steers(run: History) -> None:
    for place in range(60, 90):
        change(run, "feed", place, value=feed(degraded=["quota"]))


def start_only_with_a_broker(run: History) -> None:
    run.add(Record(60.0, "ranker", "fault", "restart", "begin", INFO))
    run.add(Record(90.0, "ranker", "fault", "restart", "end", INFO))


def use_a_broken_version(run: History) -> None:
    change(run, "feed", 60, value=feed(versions={"model:ranker": "v-2-spoilt"}))


def announce_nothing(run: History) -> None:
    run.records = [record for record in run.records if record.op != "sample" or record.key != "bad_bundle"]
    run.add(Record(40.0, "ranker", "fault", "bad_bundle", "begin", INFO))
    run.add(Record(41.0, "ranker", "fault", "bad_bundle", "end", INFO))


def never_recover(run: History) -> None:
    for place in range(70, NUM_SECONDS):
        change(run, "feed", place, outcome=FAIL, value=feed(code="RESOURCE_EXHAUSTED"))


def leak(run: History) -> None:
    for index, record in enumerate(run.records):
        if record.key.startswith("resident_mb"):
            run.records[index] = replace(record, value=600.0 + record.t / 30)


def outgrow_its_limit(run: History) -> None:
    run.add(Record(80.0, "valkey", "sample", "resident_mb 78", 700.0))


MUTANTS: list[tuple[str, Mutate]] = [
    ("no_acknowledged_event_lost", lose),
    ("none_twice", double),
    ("nothing_invented", invent),
    ("nothing_invented", give_to_another),
    ("nothing_invented", apply_refused),
    ("per_user_order", swap),
    ("feed_in_deadline", fail_a_feed),
    ("feed_in_deadline", delay_feeds),
    ("degraded_is_named", hide_what_is_missing),
    ("degraded_is_named", answer_nothing_silently),
    ("cache_rebuildable", never_rebuild),
    ("cache_rebuildable", lose),
    ("retry_amplification", retry_without_end),
    ("poison_stalls_shortly", stall_a_partition),
    ("poison_is_parked", drop_the_poison),
    ("graceful_restart", fail_in_a_restart),
    ("retry_amplification", retry_in_a_burst),
    ("commit_follows_effect", commit_too_early),
    ("traces_are_joined", tear_traces),
    ("traces_are_joined", orphan_spans),
    ("answers_are_sound", say_no_number),
    ("answers_are_sound", serve_nothing),
    ("statically_stable", lean_on_what_steers),
    ("zone_isolation", fail_a_feed),
    ("zone_isolation", delay_feeds),
    ("statically_stable", start_only_with_a_broker),
    ("versions_stay", use_a_broken_version),
    ("versions_stay", announce_nothing),
    ("goodput_holds", never_recover),
    ("memory_is_flat", leak),
    ("memory_is_flat", outgrow_its_limit),
]


@pytest.mark.parametrize("name", list(CHECKS))
def test_a_sound_history_passes(name: str) -> None:
    assert CHECKS[name](sound(), sound()) == []


@pytest.mark.parametrize(("name", "mutate"), MUTANTS, ids=lambda value: getattr(value, "__name__", value))
def test_a_planted_fault_is_caught(name: str, mutate: Mutate) -> None:
    run = sound()
    mutate(run)
    assert CHECKS[name](run, sound())


def test_a_store_is_judged_by_the_limit_that_it_runs_with() -> None:
    assert HEAP[1] == "512m" and MAX_MEMORY == "512mb", "then e2e/chaos/checks.py has to change as well"


def test_every_check_has_a_mutant() -> None:
    assert {name for name, _ in MUTANTS} == set(CHECKS)


def test_an_event_of_unknown_outcome_may_be_there_or_not() -> None:
    run = sound()
    change(run, "publish", 0, outcome=INFO)
    assert CHECKS["nothing_invented"](run, sound()) == []
    change(run, "read", 0, value=[f"event-{second:04d}" for second in range(4, NUM_SECONDS, 4)])
    assert CHECKS["no_acknowledged_event_lost"](run, sound()) == []


def test_traces_that_a_fault_tore_are_not_counted() -> None:
    run = sound()
    run.add(Record(40.0, "ranker", "fault", "kill", "begin", INFO))
    run.add(Record(62.0, "ranker", "fault", "kill", "end", INFO))
    tear_traces(run)
    assert CHECKS["traces_are_joined"](run, sound()) == []


def test_what_the_control_misses_too_is_no_fault_of_the_fault() -> None:
    run = sound()
    delay_feeds(run)
    assert CHECKS["feed_in_deadline"](run, run) == []


def test_a_history_is_the_same_after_writing_and_reading(tmp_path: Path) -> None:
    sound().write(tmp_path / "history.jsonl")
    assert History.read(tmp_path / "history.jsonl") == sound()


def test_a_fault_without_end_lasts() -> None:
    run = History([Record(1.0, "cg", "fault", "kill", "begin", INFO)])
    assert windows(run)[0].holds(1_000.0)
