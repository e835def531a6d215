"""Fakes that ship with the chassis; each passes the same contract tests as its real twin."""

from chassis.testing.eventually import eventually
from chassis.testing.fake_clock import FakeClock
from chassis.testing.in_memory_bus import InMemoryBus

__all__ = ["FakeClock", "InMemoryBus", "eventually"]
