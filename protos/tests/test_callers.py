"""Every method of every contract is in the table, nobody is in it for nothing, and a door holds to it: all identities
call all methods over real gRPC."""

import importlib
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from grpc import aio

from chassis.grpc.access import AccessTable, Identities
from chassis.grpc.server import GrpcDoor
from chassis.health import Health
from chassis.metrics import Metrics
from chassis.testing.authority import LocalAuthority
from chassis.tests.lives import started
from chassis.tls import CertificateSource
from protos.callers import BY_SERVICE, CALLERS, JOBS, OUTSIDE, SERVED_OUTSIDE, WORKLOADS, called_by, callers_of

ROOT = Path(__file__).parents[2]
PREFIX = "spiffe://corkboard/ns/feeds/sa/"
STRANGERS = ("nobody", "ranker", "indexer-", "")
CALL = re.compile(r"\b(\w+)Stub,\s*\"(\w+)\"")
GENERIC_CALL = {"LeaseService": ROOT / "protos" / "leases.py"}  # made for whoever holds leases


def services() -> list[ServiceDescriptor]:
    """Of every contract in protos/."""
    files = sorted(ROOT.glob("protos/*/v1/*_pb2.py"))
    modules = [importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts)) for path in files]
    return [service for module in modules for service in module.DESCRIPTOR.services_by_name.values()]


def methods() -> list[MethodDescriptor]:
    return [method for service in services() for method in service.methods]


def name_of(method: MethodDescriptor) -> str:
    return f"{method.containing_service.full_name}/{method.name}"


def test_the_table_has_every_method_and_no_other() -> None:
    assert set(CALLERS) == {name_of(method) for method in methods()}


def test_every_caller_is_a_workload_or_known_from_outside() -> None:
    assert {caller for callers in CALLERS.values() for caller in callers} <= {*WORKLOADS, *OUTSIDE}
    assert not set(WORKLOADS) & set(OUTSIDE)
    assert all(CALLERS.values()), "a method that nobody may call is dead"


def test_each_service_is_served_by_one_workload_or_outside() -> None:
    served = [service for workload in WORKLOADS.values() for service in workload.services]
    assert sorted([*served, *SERVED_OUTSIDE]) == sorted(BY_SERVICE)


def test_the_graph_follows_from_the_table() -> None:
    assert callers_of("indexer") == ("enrich", "cg", "ranker-root", "blender", "people", "jobs")
    assert callers_of("indexer-lake") == ("quota",)
    assert called_by("blender") == ("indexer", "cg", "ranker-root", "quota")
    assert called_by("quota") == ("indexer-lake",)


def calls_in(room: str) -> Iterator[tuple[str, str]]:
    """(service, method) of each call that a room's outbound code makes."""
    for path in (ROOT / "services" / room / "outbound").rglob("*.py"):
        for stub, method in CALL.findall(path.read_text()):
            yield stub.rpartition(".")[2], method


@pytest.mark.parametrize("room", sorted({workload.room for workload in WORKLOADS.values()}))
def test_the_table_allows_what_the_code_calls_and_no_more(room: str) -> None:
    names = {name for name, workload in WORKLOADS.items() if workload.room == room}
    allowed = {
        tuple(method.split(".")[-1].split("/"))
        for method, callers in CALLERS.items()
        if callers & names and method.split(".")[-1].split("/")[0] not in GENERIC_CALL
    }
    assert set(calls_in(room)) == allowed


def test_leases_are_held_by_every_workload_but_the_one_that_grants_them() -> None:
    called = set(re.findall(r'_call\("(\w+)"', GENERIC_CALL["LeaseService"].read_text()))
    assert called == set(BY_SERVICE["corkboard.quota.v1.LeaseService"])
    assert all(set(who) == set(WORKLOADS) - {"quota"} for who in BY_SERVICE["corkboard.quota.v1.LeaseService"].values())


def empty_servicer(service: ServiceDescriptor) -> object:
    """Answers each method with an empty message."""
    return type(service.name, (), {method.name: staticmethod(_answer(method)) for method in service.methods})()


def _answer(method: MethodDescriptor) -> Any:
    answer = message_factory.GetMessageClass(method.output_type)

    async def unary(request: Any, context: Any) -> Any:
        return answer()

    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        yield answer()

    return stream if method.server_streaming else unary


def adder(service: ServiceDescriptor) -> Any:
    """The generated add_…Servicer_to_server."""
    module = service.file.name.replace("/", ".").removesuffix(".proto") + "_pb2_grpc"
    return getattr(importlib.import_module(module), f"add_{service.name}Servicer_to_server")


@asynccontextmanager
async def door_to_everything(folder: Path, authority: LocalAuthority) -> AsyncIterator[GrpcDoor]:
    """One door that serves every contract, with the table."""
    source = CertificateSource(authority.write(folder, PREFIX + "server"), Metrics("test"))
    servicers = [(adder(service), empty_servicer(service), service.full_name) for service in services()]
    access = AccessTable(CALLERS, Identities(PREFIX), Metrics("test"))
    door = GrpcDoor(servicers, health=Health(), metrics=Metrics("test"), certificates=source, access=access)
    async with started(door):
        yield door


async def outcome(channel: aio.Channel, method: MethodDescriptor) -> tuple[grpc.StatusCode, str]:
    make: Any = channel.unary_stream if method.server_streaming else channel.unary_unary
    call = make(f"/{name_of(method)}")(b"", timeout=10.0)
    try:
        await (call.read() if method.server_streaming else call)
    except aio.AioRpcError as error:
        return error.code(), error.details() or ""
    return grpc.StatusCode.OK, ""


async def all_outcomes(address: str, channels: Mapping[str, aio.Channel]) -> dict[tuple[str, str], Any]:
    return {
        (name_of(method), who): await outcome(channel, method)
        for method in methods()
        for who, channel in channels.items()
    }


async def test_every_identity_may_call_exactly_what_the_table_says(tmp_path: Path) -> None:
    authority = LocalAuthority()
    async with door_to_everything(tmp_path, authority) as door, AsyncExitStack() as stack:
        channels = {
            who: await stack.enter_async_context(aio.secure_channel(door.address, credentials(authority, who)))
            for who in (*WORKLOADS, *OUTSIDE, *STRANGERS)
        }
        found = await all_outcomes(door.address, channels)
    for (method, who), (code, words) in found.items():
        if who in CALLERS[method]:
            assert code is grpc.StatusCode.OK, (method, who, words)
        elif who == "":
            assert code is grpc.StatusCode.UNAUTHENTICATED, (method, who)
        else:
            assert (code, words) == (grpc.StatusCode.PERMISSION_DENIED, f"{who} may not call {method}")
    assert sum(code is grpc.StatusCode.OK for code, _ in found.values()) == sum(map(len, CALLERS.values()))
    assert JOBS in OUTSIDE


def credentials(authority: LocalAuthority, who: str) -> grpc.ChannelCredentials:
    """A caller's; "" has a certificate without an identity."""
    chain, key = authority.issue(*([PREFIX + who] if who else []))
    return grpc.ssl_channel_credentials(authority.pem, key, chain)
