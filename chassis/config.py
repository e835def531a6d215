"""Settings: read once from the environment, checked, frozen."""

import difflib
import os
import re
import socket
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from chassis.errors import Invalid

SECRET = re.compile(r"secret|password|token_key|hmac", re.I)
USER_INFO = re.compile(r"(?<=://)[^/@]+@")


class ServiceConfig(BaseModel):
    """What every service can be told; a service adds its own fields, each with a description and its unit."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    grpc_host: str = Field("127.0.0.1", description="Address that gRPC listens on.")
    grpc_port: int = Field(0, ge=0, le=65535, description="Port that gRPC listens on; 0 = any free one.")
    admin_host: str = Field("127.0.0.1", description="Address of the admin port.")
    admin_port: int = Field(0, ge=0, le=65535, description="Port of health, metrics and settings; 0 = any free one.")
    zone: str = Field("local", description="Availability zone of this process.")
    instance: str = Field("", description="Name of this process; host and pid when empty.")
    kafka_bootstrap: str = Field("127.0.0.1:7092", description="Kafka brokers, comma-separated host:port.")
    otlp_endpoint: str = Field("", description="OTLP/gRPC receiver of traces; empty = traces are not exported.")
    trace_sample_ratio: float = Field(1.0, ge=0, le=1, description="Share of traces that are recorded.")
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="debug, info, warning or error.")
    reflection_enabled: bool = Field(True, description="Whether gRPC reflection answers.")
    drain_s: float = Field(5.0, ge=0, description="Seconds that running calls get to finish at stop.")
    bundles_uri: str = Field(".corkboard/bundles", description="Where bundles are, as an fsspec URI.")
    state_dir: str = Field(".corkboard/state", description="Local folder for last-good copies.")

    @model_validator(mode="before")
    @classmethod
    def _named(cls, values: Any) -> Any:
        if isinstance(values, dict) and not values.get("instance"):
            return values | {"instance": f"{socket.gethostname()}-{os.getpid()}"}
        return values


C = TypeVar("C", bound=BaseModel)


def load(config_type: type[C], prefix: str, environ: Mapping[str, str] = os.environ) -> C:
    """Read `<prefix><FIELD>` variables.

    Raises: Invalid naming each variable that is unknown or has a bad value.
    """
    given = {key.removeprefix(prefix).lower(): value for key, value in environ.items() if key.startswith(prefix)}
    for name in given:
        if name not in config_type.model_fields:
            raise Invalid(_unknown(prefix, name, list(config_type.model_fields)), field=f"{prefix}{name.upper()}")
    try:
        return config_type(**given)
    except ValidationError as error:
        first = error.errors()[0]
        field = prefix + "_".join(str(part) for part in first["loc"]).upper()
        problems = "; ".join(f"{prefix}{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
        raise Invalid(f"bad settings: {problems}", field=field) from None


def redacted(config: BaseModel) -> dict[str, Any]:
    """The settings with secrets and passwords in URLs replaced by stars."""
    shown = {}
    for name, value in config.model_dump(mode="json").items():
        if SECRET.search(name) and value:
            shown[name] = "***"
        else:
            shown[name] = USER_INFO.sub("***@", value) if isinstance(value, str) else value
    return shown


def _unknown(prefix: str, name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {prefix}{near[0].upper()}?" if near else ""
    return f"unknown setting {prefix}{name.upper()}{hint}"
