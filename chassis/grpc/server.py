"""The gRPC door of a service: every servicer behind one guard, with health and reflection."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc
from grpc import aio
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from chassis.clock import SYSTEM_CLOCK
from chassis.deadline import Deadline
from chassis.errors import Unavailable
from chassis.grpc.access import AccessTable
from chassis.grpc.admission import Admitter, ResourceOf
from chassis.grpc.credentials import server_credentials
from chassis.grpc.guard import Guard
from chassis.grpc.health import SERVICE_NAME as HEALTH_SERVICE
from chassis.grpc.health import HealthServicer
from chassis.grpc.limits import ServerLimits
from chassis.grpc.options import server_options
from chassis.grpc.rpc_metrics import ServerMetrics
from chassis.grpc.wrong_answers import WrongAnswers
from chassis.health import Health
from chassis.metrics import Metrics
from chassis.protection.shedding import LoadShedder, SheddingLimits
from chassis.tls import CertificateSource

# (generated add_XServicer_to_server, servicer, full service name)
Servicer = tuple[Callable[[Any, Any], None], object, str]


class GrpcDoor:
    """A part that serves RPCs from `start` until `stop`; `port` is the bound one after `start`.

    With `certificates` it takes only callers that show one of a trusted authority, with `access` only those whom the
    table allows. Health is told to every caller that gets in. `wrong_answers` is for failure tests alone.
    """

    def __init__(
        self,
        servicers: Sequence[Servicer],
        *,
        health: Health,
        metrics: Metrics,
        host: str = "127.0.0.1",
        port: int = 0,
        limits: ServerLimits | None = None,
        is_reflection_enabled: bool = False,
        admitter: Admitter | None = None,
        resource_of: ResourceOf | None = None,
        shedding: SheddingLimits | None = None,
        certificates: CertificateSource | None = None,
        access: AccessTable | None = None,
        wrong_answers: WrongAnswers | None = None,
        name: str = "grpc",
    ) -> None:
        self.name = name
        self.port = port
        self._host = host
        self._servicers = tuple(servicers)
        self._health = health
        self._limits = limits or ServerLimits()
        shedder = LoadShedder(shedding, SYSTEM_CLOCK, metrics) if shedding is not None else None
        self._guard = Guard(self._limits, ServerMetrics(metrics), admitter, resource_of, shedder, access, wrong_answers)
        self._is_reflection_enabled = is_reflection_enabled
        self._certificates = certificates
        self._server: Any = None
        self._watching: asyncio.Task[None] | None = None
        self._health_servicer: HealthServicer | None = None

    @property
    def address(self) -> str:
        """`host:port` to connect to."""
        return f"{self._host}:{self.port}"

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Listen.

        Raises: Unavailable when the port is taken; Invalid when a limit names an unknown method.
        """
        server = aio.server(options=server_options(self._limits))
        self._register(server)
        self.port = self._bind(server)
        await server.start()
        self._server = server
        if self._guard.shedder is not None:
            self._watching = tasks.create_task(self._guard.shedder.watch())
        self._health.set(self.name, True)

    async def stop(self, deadline: Deadline) -> None:
        """Say NOT_SERVING, take no new call, end streams, let calls finish until `deadline`, then cancel them."""
        server, self._server = self._server, None
        if server is None:
            return
        if self._watching is not None:
            self._watching.cancel()
        self._health.set(self.name, False, "draining")
        if self._health_servicer is not None:
            self._health_servicer.drain()
        async with asyncio.TaskGroup() as stopping:
            stopping.create_task(server.stop(deadline.remaining_s()))
            await asyncio.sleep(0)  # the refusal of new calls first, so that an ended stream cannot come back here
            self._guard.end_streams()

    def _register(self, server: Any) -> None:
        registrar = _Registrar(server, self._guard)
        for add, servicer, _ in self._servicers:
            add(servicer, registrar)
        self._limits.check_names(self._guard.methods)
        services = [service for _, _, service in self._servicers]
        self._health_servicer = HealthServicer(services, self._health.is_ready)
        health_pb2_grpc.add_HealthServicer_to_server(self._health_servicer, server)
        if self._is_reflection_enabled:
            names = (*services, HEALTH_SERVICE, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, server)

    def _bind(self, server: Any) -> int:
        try:
            if self._certificates is not None:
                return int(server.add_secure_port(self.address, server_credentials(self._certificates)))
            return int(server.add_insecure_port(self.address))
        except RuntimeError as error:
            raise Unavailable(f"cannot listen on {self.address}") from error


class _Registrar:
    """What generated code sees as the server: it hands each handler to the guard on its way in."""

    def __init__(self, server: Any, guard: Guard) -> None:
        self._server = server
        self._guard = guard

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        """Nothing: generated code passes the same handlers by name in the next line."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Serve `handlers`, guarded."""
        guarded = {name: self._guard.wrap(f"{service}/{name}", handler) for name, handler in handlers.items()}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, guarded),))
        self._server.add_registered_method_handlers(service, guarded)
