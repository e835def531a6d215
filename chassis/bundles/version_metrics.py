"""Which bundle versions a process uses and which it refused, so that a roll-out can be watched."""

from contextlib import suppress

from chassis.metrics import Metrics


class VersionMetrics:
    """One series per name while it holds: processes that differ show as several versions of one name."""

    def __init__(self, metrics: Metrics) -> None:
        labels = ("name", "version")
        self._used = metrics.gauge("bundle_active_info", "1 for the version of each bundle in use.", labels)
        help_text = "1 for an announced version that this process could not use; it works with the one before."
        self._refused = metrics.gauge("bundle_refused_info", help_text, labels)
        self._used_by_name: dict[str, str] = {}
        self._refused_by_name: dict[str, str] = {}

    def use(self, name: str, version: str) -> None:
        """This version is in use; nothing of this name is refused any more."""
        self._forget(name)
        self._used_by_name[name] = version
        self._used.labels(name, version).set(1)

    def refuse(self, name: str, version: str) -> None:
        """This version was announced and could not be loaded."""
        if (before := self._refused_by_name.pop(name, None)) is not None:
            self._refused.remove(name, before)
        self._refused_by_name[name] = version
        self._refused.labels(name, version).set(1)

    def _forget(self, name: str) -> None:
        for gauge, by_name in ((self._used, self._used_by_name), (self._refused, self._refused_by_name)):
            if (before := by_name.pop(name, None)) is not None:
                with suppress(KeyError):
                    gauge.remove(name, before)
