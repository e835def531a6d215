"""Which endpoint takes the next call: the own zone while it has a fit one, the least loaded of two."""

import random
from collections.abc import Callable, Sequence

from chassis.clock import Clock
from chassis.errors import CorkboardError, DeadlineExceeded, Unavailable
from chassis.grpc.endpoint import Endpoint

FAILURES_TO_EJECT = 5
FIRST_EJECTION_S = 1.0
# Longer would leave a healed zone idle; shorter would feed a sick peer.
MAX_EJECTION_S = 30.0


class Picker:
    """Zone preference and outlier ejection (as in Envoy: failures in a row, back-off grows with each ejection).

    Never more than half of a zone's endpoints are ejected: when more than half fail, the cause is shared and moving
    the load would only spread it. An endpoint that cannot be reached at all is passed over without being ejected.
    """

    def __init__(
        self, endpoints: Sequence[Endpoint], zone: str, clock: Clock, on_ejection: Callable[[], None] = lambda: None
    ) -> None:
        self._endpoints = tuple(endpoints)
        self._zone = zone
        self._clock = clock
        self._on_ejection = on_ejection
        self._random = random.Random()

    def is_own_zone(self, endpoint: Endpoint) -> bool:
        """Whether a call to it stays in the caller's zone."""
        return endpoint.zone in ("", self._zone)

    def pick(self) -> Endpoint:
        """The endpoint for a call."""
        if len(self._endpoints) == 1:
            return self._endpoints[0]
        return self._best(self._endpoints)

    def pick_other(self, than: Endpoint) -> Endpoint | None:
        """A fit endpoint for trying again; None when there is no other."""
        others = [endpoint for endpoint in self._endpoints if endpoint is not than and self._is_fit(endpoint)]
        return self._best(others) if others else None

    def report(self, endpoint: Endpoint, error: CorkboardError | None) -> None:
        """Take in how a call went; `error` None means well."""
        if error is None or not _is_endpoint_at_fault(error):
            self._praise(endpoint)
            return
        endpoint.num_failures_in_row += 1
        if endpoint.num_failures_in_row >= FAILURES_TO_EJECT and self._may_eject(endpoint):
            self._eject(endpoint)

    def _best(self, endpoints: Sequence[Endpoint]) -> Endpoint:
        fit = [endpoint for endpoint in endpoints if self._is_fit(endpoint)] or list(endpoints)
        near = [endpoint for endpoint in fit if self.is_own_zone(endpoint)] or fit
        if len(near) == 1:
            return near[0]
        return min(self._random.sample(near, 2), key=lambda endpoint: endpoint.in_flight)

    def _is_fit(self, endpoint: Endpoint) -> bool:
        return not self._is_ejected(endpoint) and not endpoint.is_down()

    def _is_ejected(self, endpoint: Endpoint) -> bool:
        return endpoint.ejected_until_s > self._clock.monotonic_s()

    def _may_eject(self, endpoint: Endpoint) -> bool:
        zone = [other for other in self._endpoints if other.zone == endpoint.zone]
        num_ejected = sum(self._is_ejected(other) for other in zone)
        return not self._is_ejected(endpoint) and (num_ejected + 1) * 2 <= len(zone)

    def _eject(self, endpoint: Endpoint) -> None:
        duration_s = min(MAX_EJECTION_S, FIRST_EJECTION_S * 2.0**endpoint.num_ejections)
        endpoint.num_ejections = min(endpoint.num_ejections + 1, 10)
        endpoint.ejected_until_s = self._clock.monotonic_s() + duration_s
        endpoint.num_failures_in_row = FAILURES_TO_EJECT - 1  # back on probation: one more failure ejects again
        self._on_ejection()

    def _praise(self, endpoint: Endpoint) -> None:
        endpoint.num_failures_in_row = 0
        if endpoint.num_ejections and self._clock.monotonic_s() > endpoint.ejected_until_s + MAX_EJECTION_S:
            endpoint.num_ejections = 0


def _is_endpoint_at_fault(error: CorkboardError) -> bool:
    return isinstance(error, (Unavailable, DeadlineExceeded)) or type(error) is CorkboardError
