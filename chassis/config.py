"""Settings: read once from the environment, checked, frozen."""

import difflib
import ipaddress
import os
import re
import socket
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from chassis.errors import Invalid

HIDDEN = r"secret|password|token|hmac"
SECRET = re.compile(HIDDEN, re.I)
USER_INFO = re.compile(r"(?<=://)[^/\s]*@")  # up to the last @: a password may have one
SECRET_ARGUMENT = re.compile(rf"([?&][^=&\s]*(?:{HIDDEN})[^=&\s]*=)[^&\s]*", re.I)
STARS = "***"


class ServiceConfig(BaseModel):
    """What every service can be told; a service adds its own fields, each with a description and its unit."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    grpc_host: str = Field("127.0.0.1", description="Address that gRPC listens on.")
    grpc_port: int = Field(0, ge=0, le=65535, description="Port that gRPC listens on; 0 = any free one.")
    admin_host: str = Field("127.0.0.1", description="Address of the admin port.")
    admin_port: int = Field(0, ge=0, le=65535, description="Port of health, metrics and settings; 0 = any free one.")
    tls_enabled: bool = Field(False, description="Whether gRPC is TLS with certificates on both sides (mTLS).")
    tls_cert_path: str = Field("", description="Own certificate chain, PEM; looked at again every 5 s.")
    tls_key_path: str = Field("", description="Key of the own certificate, PEM.")
    tls_ca_path: str = Field("", description="Authorities that peers' certificates must come from, PEM.")
    tls_identity_prefix: str = Field(
        "spiffe://corkboard/ns/default/sa/",
        pattern="^spiffe://.+/$",
        description="SPIFFE ID of a caller up to its name in protos/callers.py.",
    )
    tls_aliases: str = Field(
        "", description="Callers with other SPIFFE IDs: name=spiffe://…,name=spiffe://…, names of protos/callers.py."
    )
    plaintext_enabled: bool = Field(
        False, description="Whether gRPC may be plaintext, for every caller, on an address beyond loopback."
    )
    zone: str = Field("local", description="Availability zone of this process.")
    instance: str = Field("", description="Name of this process; host and pid when empty.")
    kafka_bootstrap: str = Field("127.0.0.1:7092", description="Kafka brokers, comma-separated host:port.")
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="How Kafka is spoken to: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL."
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="How a password is proven: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512."
    )
    kafka_sasl_username: str = Field("", description="Name towards Kafka, with SASL.")
    kafka_password_path: str = Field("", description="File with the password towards Kafka, with SASL.")
    kafka_ca_path: str = Field("", description="Authorities of the brokers' certificates, PEM.")
    kafka_cert_path: str = Field("", description="Own certificate towards Kafka, PEM; empty = none is shown.")
    kafka_key_path: str = Field("", description="Key of that certificate, PEM.")
    group_instance_id: str = Field(
        "",
        description="Static member of consumer groups under this name, which must outlive a restart: back within "
        "10 s moves no partition, staying away leaves its partitions unread for that long. Empty = dynamic.",
    )
    otlp_endpoint: str = Field("", description="OTLP/gRPC receiver of traces; empty = traces are not exported.")
    trace_sample_ratio: float = Field(1.0, ge=0, le=1, description="Share of traces that are recorded.")
    trace_max_per_s: float = Field(
        10.0, gt=0, description="Traces that begin with a call here and are recorded, per second at most."
    )
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="debug, info, warning or error.")
    log_secret: str = Field(
        "", description="Users are logged by pseudonyms made with it, the same in every process; empty = random ones."
    )
    reflection_enabled: bool = Field(True, description="Whether gRPC reflection answers.")
    drain_s: float = Field(5.0, ge=0, description="Seconds that running calls get to finish at stop.")
    bundles_uri: str = Field(".corkboard/bundles", description="Where bundles are, as an fsspec URI.")
    state_dir: str = Field(".corkboard/state", description="Local folder for last-good copies.")
    quota_target: str = Field(
        "",
        description="Addresses of the quota service, host:port@zone,...: leases of global rules come from there. "
        "Empty = each global rule is enforced at its safe share.",
    )
    shed_enabled: bool = Field(True, description="Whether calls are refused under overload, the least critical first.")
    shed_min_concurrent: int = Field(32, ge=1, description="Calls that may always be inside, however slow they are.")
    shed_latency_tolerance: float = Field(
        2.0, gt=1, description="How many times its usual latency a call may take before fewer are let in."
    )
    shed_max_lag_s: float = Field(
        2.0, gt=0, description="Lag of the event loop above which calls are refused, seconds; half for sheddable ones."
    )
    faults_enabled: bool = Field(
        False,
        description="Whether answers can be made wrong on purpose (`faults.json` in state_dir); for failure tests.",
    )
    quota_shadow: bool = Field(False, description="Whether every quota rule only counts what it would refuse.")

    @field_validator("tls_cert_path", "tls_key_path", "tls_ca_path")
    @classmethod
    def _given_with_tls(cls, value: str, info: ValidationInfo) -> str:
        if info.data.get("tls_enabled") and not value:
            raise ValueError("is needed while tls_enabled is true")
        return value

    @field_validator("plaintext_enabled")
    @classmethod
    def _asked_for(cls, value: bool, info: ValidationInfo) -> bool:
        if not (value or info.data.get("tls_enabled") or _is_loopback(info.data.get("grpc_host", ""))):
            raise ValueError("gRPC beyond loopback needs tls_enabled, or plaintext_enabled if that is really meant")
        return value

    @model_validator(mode="before")
    @classmethod
    def _named(cls, values: Any) -> Any:
        if isinstance(values, dict) and not values.get("instance"):
            return values | {"instance": f"{socket.gethostname()}-{os.getpid()}"}
        return values


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


C = TypeVar("C", bound=BaseModel)


def load(config_type: type[C], prefix: str, environ: Mapping[str, str] | None = None) -> C:
    """Read `<prefix><FIELD>` variables of `environ`, the process's own when it is not given.

    Raises: Invalid naming each variable that is unknown or has a bad value.
    """
    source = os.environ if environ is None else environ
    given = {key.removeprefix(prefix): value for key, value in source.items() if key.startswith(prefix)}
    unknown = sorted(key for key in given if key != key.upper() or key.lower() not in config_type.model_fields)
    if unknown:
        known = list(config_type.model_fields)
        raise Invalid("; ".join(_unknown(prefix, key, known) for key in unknown), field=prefix + unknown[0])
    try:
        return config_type(**{key.lower(): value for key, value in given.items()})
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False)
        message = "; ".join(_problem(config_type, prefix, problem) for problem in problems)
        raise Invalid(f"bad settings: {message}", field=_variable(prefix, problems[0])) from None


def redacted(config: BaseModel) -> dict[str, Any]:
    """The settings with secrets, and secrets inside of URLs, replaced by stars."""
    return {name: _redact(name, value) for name, value in config.model_dump(mode="json").items()}


def _redact(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _redact(f"{name}.{key}", one) for key, one in value.items()}
    if isinstance(value, list):
        return [_redact(name, one) for one in value]
    if not isinstance(value, str):
        return value
    if SECRET.search(name):
        return STARS if value else ""
    return SECRET_ARGUMENT.sub(rf"\g<1>{STARS}", USER_INFO.sub(f"{STARS}@", value))


def _unknown(prefix: str, key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key.lower(), known, n=1)
    hint = f"; did you mean {prefix}{near[0].upper()}?" if near else ""
    return f"unknown setting {prefix}{key}{hint}"


def _problem(config_type: type[BaseModel], prefix: str, problem: Mapping[str, Any]) -> str:
    """What is wrong, and what the field is for: its description tells the unit."""
    field = config_type.model_fields.get(str(problem["loc"][0])) if problem["loc"] else None
    meaning = f" ({field.description.rstrip('.')})" if field and field.description else ""
    return f"{_variable(prefix, problem)}{meaning}: {problem['msg']}"


def _variable(prefix: str, problem: Mapping[str, Any]) -> str:
    return prefix + "_".join(str(part) for part in problem["loc"]).upper()
