"""What one caller may ask of a gRPC door, so that no single call or peer can exhaust the process."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from chassis.errors import Invalid

MIB = 1024 * 1024
MAX_METADATA_BYTES = 8 * 1024


@dataclass(frozen=True, slots=True)
class MethodLimit:
    """Limits of one RPC method.

    `timeout_s` caps the client's deadline and stands in for a missing one; `stream_timeout_s` does so for a
    server-streaming method.
    """

    timeout_s: float = 5.0
    stream_timeout_s: float = 3600.0
    max_concurrent: int = 256
    max_request_bytes: int = 4 * MIB


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Limits of a whole door and of each connection; `methods` is keyed by `package.Service/Method` or by the bare
    method name."""

    default: MethodLimit = MethodLimit()
    methods: Mapping[str, MethodLimit] = field(default_factory=dict)
    max_concurrent: int = 1024
    max_metadata_bytes: int = MAX_METADATA_BYTES
    max_streams_per_connection: int = 256  # our own clients open a further connection at 48
    handshake_timeout_s: float = 5.0

    def of(self, method: str) -> MethodLimit:
        """The limit of `package.Service/Method`."""
        return self.methods.get(method) or self.methods.get(method.rpartition("/")[2]) or self.default

    def max_request_bytes(self) -> int:
        """The largest request any method takes; gRPC drops a larger one before it is whole in memory."""
        return max(limit.max_request_bytes for limit in (self.default, *self.methods.values()))

    def check_names(self, served: set[str]) -> None:
        """Raises: Invalid when a limit names a method that is not served (a typo would leave it unlimited)."""
        known = served | {method.rpartition("/")[2] for method in served}
        unknown = sorted(set(self.methods) - known)
        if unknown:
            raise Invalid(f"limits for methods not served here: {', '.join(unknown)}", field="limits")
