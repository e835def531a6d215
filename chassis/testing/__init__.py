"""Fakes that ship with the chassis; each passes the same contract tests as its real twin."""

from chassis.testing.eventually import eventually
from chassis.testing.fake_clock import FakeClock
from chassis.testing.in_memory_bus import InMemoryBus
from chassis.testing.virtual_time import VirtualClock, run_virtually

__all__ = ["FakeClock", "InMemoryBus", "VirtualClock", "eventually", "run_virtually"]
