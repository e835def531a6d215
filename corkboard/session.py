"""One command's connection to a running Corkboard: channels, its own spans, errors in the project's words."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import grpc

from chassis import tracing
from chassis.deadline import Deadline
from chassis.errors import Unavailable
from chassis.grpc.status import from_rpc_error
from chassis.tls import read_certificates
from corkboard.elsewhere import Elsewhere
from corkboard.local.certificates import identity_for, paths_of
from corkboard.local.home import Home
from corkboard.local.ports import Ports
from corkboard.local.run_file import RunFile

T = TypeVar("T")
MAX_MESSAGE_BYTES = 16 << 20
FLUSH_S = 2.0
OPTIONS: Sequence[tuple[str, int | str]] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 500),  # also the time one attempt to connect gets
    ("grpc.max_reconnect_backoff_ms", 1_000),  # a service that was started again is found within a second
)
ONE: Sequence[tuple[str, int | str]] = (("grpc.enable_retries", 0),)
# As a surface would: over all processes in turn, and once more, on another, what one could not take.
_RETRY = {
    "maxAttempts": 3,
    "initialBackoff": "0.02s",
    "maxBackoff": "0.2s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
_SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [{"name": [{}], "retryPolicy": _RETRY}],
    "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1},
}
SEVERAL: Sequence[tuple[str, int | str]] = (("grpc.service_config", json.dumps(_SERVICE_CONFIG)),)


@dataclass(frozen=True)
class Endpoints:
    """Where a running Corkboard listens: on this machine, or elsewhere as the environment says."""

    ports: Ports
    zone_index: int = 0
    certificates: Path | None = None  # of everybody, while mTLS is on
    elsewhere: Elsewhere | None = None
    more: Mapping[str, Sequence[str]] = field(default_factory=dict)  # service -> further processes of it, host:port

    @classmethod
    def of_running(cls, home: Home, zone: str = "") -> "Endpoints":
        """The Corkboard of `CORKBOARD_HOSTS`; without it the one that runs in `home`.

        Raises: Unavailable when none runs, or it has no such zone.
        """
        if (elsewhere := Elsewhere.of_environment(os.environ)) is not None:
            return cls(Ports(), elsewhere.zone_index(zone), elsewhere.certificates, elsewhere)
        run = RunFile.read(home.state_file)
        if run is None:
            raise Unavailable("Corkboard is not running here; start it with: corkboard up")
        if zone and zone not in run.zones:
            raise Unavailable(f"there is no zone {zone!r}; there are: {', '.join(run.zones)}")
        certificates = home.certificates if home.certificates.exists() else None
        return cls(Ports(run.port_base), run.zones.index(zone) if zone else 0, certificates)

    @classmethod
    def zones(cls, home: Home) -> tuple[str, ...]:
        """Of the Corkboard that `of_running` finds. Raises: Unavailable when none runs."""
        if (elsewhere := Elsewhere.of_environment(os.environ)) is not None:
            return elsewhere.zones
        run = RunFile.read(home.state_file)
        if run is None:
            raise Unavailable("Corkboard is not running here; start it with: corkboard up")
        return run.zones

    def address(self, service: str) -> str:
        if self.elsewhere is not None:
            return self.elsewhere.address(service, self.zone_index)
        return f"127.0.0.1:{self.ports.grpc(service, self.zone_index)}"

    def target(self, service: str) -> str:
        """What gRPC resolves: the one address, or all of them."""
        further = self.more.get(service, ())
        return f"ipv4:{','.join([self.address(service), *further])}" if further else self.address(service)

    @property
    def kafka(self) -> str:
        if self.elsewhere is not None:
            return self.elsewhere.kafka
        return f"127.0.0.1:{self.ports.kafka()}"

    @property
    def otlp(self) -> str:
        if self.elsewhere is not None:
            return self.elsewhere.otlp
        return f"http://127.0.0.1:{self.ports.otlp}"


class Session:
    """Calls any method of any service; each call is a client span, so that traces begin at the surface."""

    def __init__(self, endpoints: Endpoints) -> None:
        self.endpoints = endpoints
        self._channels: dict[tuple[str, str, float], grpc.aio.Channel] = {}

    async def call(
        self,
        service: str,
        stub: Callable[..., Any],
        method: str,
        request: Any,
        timeout_s: float = 10.0,
        metadata: Sequence[tuple[str, str]] = (),
    ) -> Any:
        """One unary call; `metadata` goes with it.

        Raises: the chassis error that the status stands for.
        """
        who = identity_for(stub, method) if self.endpoints.certificates else ""
        bound = getattr(stub(self._channel(service, who)), method)
        with tracing.span(f"{service} {method}", kind="client"):
            headers = (*tracing.inject_headers().items(), *metadata)
            try:
                return await bound(request, timeout=timeout_s, metadata=headers)
            except grpc.aio.AioRpcError as error:
                raise from_rpc_error(error) from error

    async def stream(self, service: str, stub: Callable[..., Any], method: str, request: Any) -> AsyncIterator[Any]:
        """The messages of a server-streaming call, until it ends or the caller leaves.

        Raises: the chassis error that the status stands for.
        """
        who = identity_for(stub, method) if self.endpoints.certificates else ""
        answers = getattr(stub(self._channel(service, who)), method)(request)
        try:
            async for answer in answers:
                yield answer
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        finally:
            answers.cancel()

    def _channel(self, service: str, who: str) -> grpc.aio.Channel:
        key = (service, who, self._issued_s(who))
        if key not in self._channels:
            options = SEVERAL if self.endpoints.more.get(service) else ONE
            self._channels[key] = self._open(self.endpoints.target(service), who, [*OPTIONS, *options])
        return self._channels[key]

    def _issued_s(self, who: str) -> float:
        """When the certificates of `who` were written last: new ones need a new channel."""
        if self.endpoints.certificates is None:
            return 0.0
        paths = paths_of(self.endpoints.certificates, who)
        return max(Path(path).stat().st_mtime for path in (paths.chain, paths.authorities))

    def _open(self, address: str, who: str, options: list[tuple[str, int | str]]) -> grpc.aio.Channel:
        if self.endpoints.certificates is None:
            return grpc.aio.insecure_channel(address, options)
        found = read_certificates(paths_of(self.endpoints.certificates, who))
        credentials = grpc.ssl_channel_credentials(found.authorities_pem, found.key_pem, found.chain_pem)
        return grpc.aio.secure_channel(address, credentials, options)

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close()


@asynccontextmanager
async def connected(endpoints: Endpoints) -> AsyncIterator[Session]:
    """A session with spans exported to the local trace receiver."""
    traces = tracing.Tracing("surface", "corkboard-cli", endpoints.otlp, 1.0)
    session = Session(endpoints)
    async with asyncio.TaskGroup() as tasks:
        await traces.start(tasks)
        try:
            yield session
        finally:
            await session.close()
            await traces.stop(Deadline.after(FLUSH_S))


def run(endpoints: Endpoints, work: Callable[[Session], Coroutine[Any, Any, T]]) -> T:
    """Run one command's work from ordinary code."""

    async def main() -> T:
        async with connected(endpoints) as session:
            return await work(session)

    try:
        return asyncio.run(main())
    except* Exception as group:
        raise _single(group) from None


def _single(group: BaseExceptionGroup[Exception]) -> Exception:
    """The first plain exception of a group: commands have one cause of failure."""
    error: Any = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error  # type: ignore[no-any-return]
