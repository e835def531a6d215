"""gubernator as a local daemon, asked over gRPC: built from its Go module when a Go toolchain is there.

`CORKBOARD_GUBERNATOR` names a binary instead. Only its contract is known here, by field numbers; nothing of it is kept.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import psutil
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from chassis.testing.ports import free_port

MODULE = "github.com/gubernator-io/gubernator/v2/cmd/gubernator@v2.16.0"
BUILD_S, UP_S = 900.0, 20.0
NO_BATCHING = 1  # answers at once; batching adds half a millisecond
UNDER_LIMIT = 0
FIELD = descriptor_pb2.FieldDescriptorProto
REQUEST = {"name": (1, FIELD.TYPE_STRING), "unique_key": (2, FIELD.TYPE_STRING), "hits": (3, FIELD.TYPE_INT64)}
REQUEST |= {"limit": (4, FIELD.TYPE_INT64), "duration": (5, FIELD.TYPE_INT64)}
REQUEST |= {"algorithm": (6, FIELD.TYPE_INT32), "behavior": (7, FIELD.TYPE_INT32)}
RESPONSE = {"status": (1, FIELD.TYPE_INT32), "remaining": (3, FIELD.TYPE_INT64), "error": (5, FIELD.TYPE_STRING)}


def missing() -> str:
    """Why it cannot be compared here; "" when it can."""
    if os.environ.get("CORKBOARD_GUBERNATOR") or shutil.which("gubernator") or shutil.which("go"):
        return ""
    return "gubernator: neither its binary (CORKBOARD_GUBERNATOR) nor a Go toolchain is on this machine"


class Gubernator:
    """A client of one daemon; one channel, as a caller would have."""

    def __init__(self, process: psutil.Process, address: str) -> None:
        self._process = process
        self._channel = grpc.insecure_channel(address)
        self._request, self._response = _messages()
        self._call: Any = self._channel.unary_unary(
            "/pb.gubernator.V1/GetRateLimits",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=self._response.FromString,
        )

    def decide(self, keys: Sequence[str], limit: int, duration_ms: int = 1_000) -> list[bool]:
        """Whether each key is under its limit, in one call."""
        request = self._request()
        for key in keys:
            request.requests.add(
                name="bench", unique_key=key, hits=1, limit=limit, duration=duration_ms, behavior=NO_BATCHING
            )
        answers = self._call(request, timeout=5).responses
        assert not any(answer.error for answer in answers), answers[0].error
        return [answer.status == UNDER_LIMIT for answer in answers]

    def daemon_cpu_s(self) -> float:
        """CPU seconds of the daemon so far."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()


@contextmanager
def running() -> Iterator[Gubernator]:
    """A daemon on loopback whose only peer is itself, and a client of it."""
    with tempfile.TemporaryDirectory() as folder:
        grpc_port, http_port = free_port(), free_port()
        address, peers = f"127.0.0.1:{grpc_port}", f"127.0.0.1:{free_port()}"
        settings = {
            "GUBER_GRPC_ADDRESS": address,
            "GUBER_HTTP_ADDRESS": f"127.0.0.1:{http_port}",
            "GUBER_ADVERTISE_ADDRESS": address,
            "GUBER_PEER_DISCOVERY_TYPE": "member-list",
            "GUBER_MEMBERLIST_ADDRESS": peers,
            "GUBER_MEMBERLIST_BIND_ADDRESS": peers,
            "GUBER_MEMBERLIST_KNOWN_NODES": peers,
            "GUBER_LOG_LEVEL": "error",
        }
        binary = _binary(Path(folder))
        process = subprocess.Popen(
            [binary], env=os.environ | settings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder
        )
        try:
            client = Gubernator(psutil.Process(process.pid), address)
            _wait(client)
            yield client
            client.close()
        finally:
            process.kill()
            process.wait()


def _binary(folder: Path) -> str:
    found = os.environ.get("CORKBOARD_GUBERNATOR") or shutil.which("gubernator")
    if found:
        return found
    go = {
        "GOPATH": str(folder / "go"),
        "GOBIN": str(folder),
        "GOCACHE": str(folder / "cache"),
        "GOFLAGS": "-modcacherw",
    }
    build = [shutil.which("go") or "go", "install", MODULE]
    subprocess.run(build, env=os.environ | go, check=True, capture_output=True, timeout=BUILD_S)
    return str(folder / "gubernator")


def _wait(client: Gubernator) -> None:
    give_up_s = time.monotonic() + UP_S
    while True:
        try:
            client.decide(["up"], 10)
            return
        except (grpc.RpcError, AssertionError):
            if time.monotonic() > give_up_s:
                raise
            time.sleep(0.1)


def _messages() -> tuple[Any, Any]:
    """(request, response) classes of GetRateLimits, with the fields that are used here."""
    file = descriptor_pb2.FileDescriptorProto(
        name="gubernator_bench.proto", package="bench.gubernator", syntax="proto3"
    )
    for name, fields in (("One", REQUEST), ("Answer", RESPONSE)):
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            message.field.add(name=field, number=number, type=kind, label=FIELD.LABEL_OPTIONAL)
    for name, field, of in (("Request", "requests", "One"), ("Response", "responses", "Answer")):
        file.message_type.add(name=name).field.add(
            name=field,
            number=1,
            type=FIELD.TYPE_MESSAGE,
            label=FIELD.LABEL_REPEATED,
            type_name=f".bench.gubernator.{of}",
        )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    names = [pool.FindMessageTypeByName(f"bench.gubernator.{name}") for name in ("Request", "Response")]
    request, response = (message_factory.GetMessageClass(name) for name in names)
    return request, response
