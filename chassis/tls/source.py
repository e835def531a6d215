"""The certificates of a process as a part: whoever uses them gets the newest, without a restart."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from chassis.config import load
from chassis.deadline import Deadline
from chassis.errors import Invalid
from chassis.logs import get_logger
from chassis.metrics import Metrics
from chassis.tls.certificates import CertificatePaths, Certificates, read_certificates

# Kubernetes takes about a minute to bring a new secret into a pod; looking at three small files costs nothing.
LOOK_EVERY_S = 5.0


class JobCertificates(BaseModel):
    """What a job may be told; PEM files, as a service's `tls_*_path`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cert_path: str = Field("", description="Own certificate chain.")
    key_path: str = Field("", description="Key of the own certificate.")
    ca_path: str = Field("", description="Authorities of the services.")


Listener = Callable[[], Awaitable[None]]


class CertificateSource:
    """Reads at once, then looks for changes. A change that does not hold together is counted and the last good
    certificates stay in use.

    Raises: Invalid naming the file, when the first ones are bad.
    """

    name = "certificates"

    def __init__(self, paths: CertificatePaths, metrics: Metrics, *, look_every_s: float = LOOK_EVERY_S) -> None:
        self.current: Certificates = read_certificates(paths)
        self._paths = paths
        self._look_every_s = look_every_s
        self._listeners: list[Listener] = []
        self._looking: asyncio.Task[None] | None = None
        self._reloads = metrics.counter("tls_reloads_total", "Changed certificates, by outcome.", ("outcome",))
        expiry = metrics.gauge("tls_certificate_expiry_timestamp_seconds", "When the own certificate ends.")
        expiry.set_function(lambda: self.current.expires_at_s)
        self._last_problem = ""
        self._log = get_logger(self.name)

    @classmethod
    def of_environment(cls, metrics: Metrics, environ: Mapping[str, str] | None = None) -> Self | None:
        """From `CORKBOARD_TLS_*`, for a job that has no Config; None when nothing is said. Raises: Invalid."""
        given = load(JobCertificates, "CORKBOARD_TLS_", environ)
        paths = CertificatePaths(given.cert_path, given.key_path, given.ca_path)
        return cls(paths, metrics) if any((paths.chain, paths.key, paths.authorities)) else None

    def follow(self, listener: Listener) -> None:
        """Call `listener` after each change; it runs as a task of its own and may take its time."""
        self._listeners.append(listener)

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Look for changes from now on."""
        self._looking = tasks.create_task(self._look(tasks))

    async def stop(self, deadline: Deadline) -> None:  # noqa: ARG002  # nothing to wait for
        """Look no more; what is in use stays usable."""
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()

    async def _look(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            await asyncio.sleep(self._look_every_s)
            if self._has_changed():
                for listener in self._listeners:
                    tasks.create_task(_run(listener))

    def _has_changed(self) -> bool:
        try:
            found = read_certificates(self._paths)
        except Invalid as problem:
            self._tell(problem.message)
            return False
        self._last_problem = ""
        if found == self.current:
            return False
        self.current = found
        self._reloads.labels("applied").inc()
        self._log.info("certificates changed", expires_at_s=found.expires_at_s)
        return True

    def _tell(self, problem: str) -> None:
        """Once for each problem, not at each look."""
        if problem != self._last_problem:
            self._last_problem = problem
            self._reloads.labels("refused").inc()
            self._log.error("changed certificates are not used", error=problem)


async def _run(listener: Listener) -> None:
    await listener()
