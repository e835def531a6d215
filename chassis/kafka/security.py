"""How a process proves to Kafka who it is: TLS, a client certificate, a name with a password; or nothing."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from chassis.config import load
from chassis.errors import Invalid
from chassis.tls.context import ReloadingContext

Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
FIELD_PREFIX = "kafka_"
JOBS_PREFIX = "CORKBOARD_KAFKA_"


class KafkaSecurity(BaseModel):
    """Kafka's own words for them.

    Files are read when a client is made, and certificates again before each connection that follows a change.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    security_protocol: Protocol = Field("PLAINTEXT", description="PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.")
    sasl_mechanism: Mechanism = Field("SCRAM-SHA-512", description="PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.")
    sasl_username: str = Field("", description="Name for SASL.")
    password_path: str = Field("", description="File with the password for SASL.")
    ca_path: str = Field("", description="Authorities of the brokers' certificates, PEM.")
    cert_path: str = Field("", description="Own certificate chain for the brokers, PEM; empty = none is shown.")
    key_path: str = Field("", description="Key of that certificate, PEM.")

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        needed = {"ca_path": self.has_tls}
        needed |= dict.fromkeys(("sasl_username", "password_path"), self.has_sasl)
        needed |= dict.fromkeys(("cert_path", "key_path"), bool(self.has_tls and (self.cert_path or self.key_path)))
        if missing := [name for name, is_needed in needed.items() if is_needed and not getattr(self, name)]:
            raise ValueError(f"Kafka with {self.security_protocol} needs {', '.join(missing)}")
        return self

    @property
    def has_tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.security_protocol.endswith("SSL")

    @property
    def has_sasl(self) -> bool:
        """Whether a name and a password are sent."""
        return self.security_protocol.startswith("SASL")

    @classmethod
    def of(cls, config: BaseModel) -> Self:
        """From the `kafka_*` fields of a service's Config. Raises: Invalid naming what is missing."""
        try:
            return cls(**{name: getattr(config, FIELD_PREFIX + name) for name in cls.model_fields})
        except ValidationError as error:
            (problem, *_) = error.errors(include_input=False, include_url=False)
            raise Invalid(problem["msg"], field=f"{FIELD_PREFIX}security_protocol") from None

    @classmethod
    def of_environment(cls, environ: Mapping[str, str] | None = None) -> Self:
        """From `CORKBOARD_KAFKA_*`, for a job or a command that has no Config. Raises: Invalid naming a variable."""
        return load(cls, JOBS_PREFIX, environ)

    def client(self) -> dict[str, Any]:
        """Arguments of any aiokafka client. Raises: Invalid naming a file that cannot be used."""
        arguments: dict[str, Any] = {"security_protocol": self.security_protocol, "ssl_context": self.context()}
        if self.has_sasl:
            arguments |= {
                "sasl_mechanism": self.sasl_mechanism,
                "sasl_plain_username": self.sasl_username,
                "sasl_plain_password": self.password(),
            }
        return arguments

    def context(self) -> ssl.SSLContext | None:
        """What the brokers' certificates are checked with, and the own one; None without TLS. Raises: Invalid."""
        return ReloadingContext.of(self.ca_path, self.cert_path, self.key_path) if self.has_tls else None

    def password(self) -> str:
        """Raises: Invalid when its file cannot be read."""
        try:
            return Path(self.password_path).read_text().strip()
        except OSError as error:
            raise Invalid(
                f"{self.password_path} cannot be read: {error.strerror}", field=f"{FIELD_PREFIX}password_path"
            ) from error


PLAINTEXT = KafkaSecurity()
