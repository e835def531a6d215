"""Counts of the refresh of user states as metrics."""

from chassis.metrics import Metrics


class MetricsStateMeter:
    """Outcomes are a closed set: published, failed, no_model, no_history, no_room, unreadable."""

    def __init__(self, metrics: Metrics) -> None:
        self._refreshes = metrics.counter(
            "user_state_refreshes_total", "User states made anew after their sequences moved.", ("outcome",)
        )
        self._waiting = metrics.gauge("user_states_waiting", "Users whose states are to be made anew.")

    def refreshed(self, outcome: str) -> None:
        """One user's refresh ended, or could not begin."""
        self._refreshes.labels(outcome).inc()

    def waiting(self, num_users: int) -> None:
        """So many wait."""
        self._waiting.set(num_users)
