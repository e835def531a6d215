"""Health: readiness is the AND of parts, notes only report, watchdogs decide whether the process is alive."""

from chassis.health import Health, ProgressWatchdog
from chassis.testing import FakeClock


def test_ready_only_while_every_part_is() -> None:
    health = Health()
    assert health.is_ready()
    health.set("kafka", True)
    health.set("index", False, "cold")
    assert not health.is_ready()
    assert health.report() == {"kafka": "ok", "index": "cold"}
    health.set("index", True)
    assert health.is_ready()


def test_a_part_without_a_reason_is_still_not_healthy() -> None:
    health = Health()
    health.set("index", False)
    assert not health.is_ready()
    assert health.report()["index"] == "not healthy"


def test_notes_are_reported_and_do_not_change_readiness() -> None:
    health = Health()
    health.note("rules", "old")
    assert health.is_ready()
    assert health.report() == {"rules": "old"}
    health.note("rules", "")
    assert health.report() == {}


def test_process_is_alive_while_each_watchdog_hears_of_progress() -> None:
    clock, health = FakeClock(), Health()
    first, second = (ProgressWatchdog(health, name, 30.0, clock) for name in ("events", "pins"))
    assert health.is_alive()
    clock.advance(29.0)
    first.beat()
    clock.advance(2.0)
    assert not first.is_stalled()
    assert second.is_stalled()
    assert not health.is_alive()
    assert health.report() == {"pins": "no progress for 31 s"}
    assert health.is_ready(), "liveness and readiness are two questions"
    second.beat()
    assert health.is_alive()
    assert health.report() == {}
