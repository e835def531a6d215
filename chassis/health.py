"""Health as a map of named parts: a process is ready when all of them are."""

from chassis.clock import SYSTEM_CLOCK, Clock

OK = "ok"


class Health:
    """What each part last said of itself."""

    def __init__(self) -> None:
        self._why_by_part: dict[str, str] = {}
        self._notes: dict[str, str] = {}
        self._watchdogs: list[ProgressWatchdog] = []

    def set(self, part: str, is_healthy: bool, why: str = "") -> None:
        """Record a part's state; `why` is for people."""
        self._why_by_part[part] = OK if is_healthy else (why or "not healthy")

    def note(self, part: str, why: str) -> None:
        """Tell a trouble that does not make the process unfit to serve; an empty `why` takes it back."""
        if why:
            self._notes[part] = why
        else:
            self._notes.pop(part, None)

    def watch(self, watchdog: "ProgressWatchdog") -> None:
        """From now on the process is alive only while `watchdog` is not stalled."""
        self._watchdogs.append(watchdog)

    def is_alive(self) -> bool:
        """Whether everything that must move has moved lately; a process that is not is to be started again."""
        return not any([watchdog.is_stalled() for watchdog in self._watchdogs])  # all are asked: each tells its state

    def is_ready(self) -> bool:
        """Whether every part that has spoken is healthy."""
        return all(why == OK for why in self._why_by_part.values())

    def report(self) -> dict[str, str]:
        """part -> "ok", or why not; notes among them."""
        return {**self._why_by_part, **self._notes}


class ProgressWatchdog:
    """Fails liveness when nothing has moved for `max_age_s`; reported lag is no guide, it reads 0 in an outage.

    Beat on each fetch or commit that a broker answered, empty ones too. `max_age_s` stays well above a broker's
    restart: to be started again helps against a hung client, not against an absent broker.
    """

    def __init__(self, health: Health, name: str, max_age_s: float, clock: Clock = SYSTEM_CLOCK) -> None:
        self._health = health
        self._name = name
        self._max_age_s = max_age_s
        self._clock = clock
        self._last_s = clock.monotonic_s()
        health.watch(self)

    def beat(self) -> None:
        """Something moved."""
        self._last_s = self._clock.monotonic_s()

    def age_s(self) -> float:
        """Seconds since something moved."""
        return self._clock.monotonic_s() - self._last_s

    def is_stalled(self) -> bool:
        """Whether the last beat is too old; also tells the health map."""
        stalled = self.age_s() > self._max_age_s
        self._health.note(self._name, f"no progress for {self.age_s():.0f} s" if stalled else "")
        return stalled
