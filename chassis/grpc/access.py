"""Who may call which method: a caller's workload identity, taken from its certificate, against one table.

The identity is the certificate's one SPIFFE ID (https://spiffe.io, X.509-SVID): a URI among its names. gRPC hands it
out only after the certificate was verified, and only when it is the single URI.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chassis.errors import CallerRefused, Invalid, Unauthenticated
from chassis.logs import get_logger
from chassis.metrics import Metrics

# package.Service/Method -> names of those who may call it; what is not there, nobody may call.
Callers = Mapping[str, frozenset[str]]

SPIFFE_ID = "peer_spiffe_id"  # gRPC's name of it in the authentication context
NO_IDENTITY = "none"


@dataclass(frozen=True)
class Identities:
    """Names of workloads: a SPIFFE ID is `prefix` and the name, or stands in `aliases` (SPIFFE ID -> name)."""

    prefix: str
    aliases: Mapping[str, str] = field(default_factory=dict)

    def name_of(self, spiffe_id: str) -> str:
        """The name; the whole ID when it is of nobody we know, so that no table has it."""
        return self.aliases.get(spiffe_id) or spiffe_id.removeprefix(self.prefix)


class AccessTable:
    """Decides for one door, before anything else is done for a call."""

    def __init__(self, callers: Callers, identities: Identities, metrics: Metrics) -> None:
        self._callers = callers
        self._identities = identities
        self._metrics = metrics
        self._refused = metrics.counter(
            "grpc_server_refused_callers_total", "Calls by callers that the table does not allow.", ("method", "caller")
        )
        self._told: set[tuple[str, str]] = set()
        self._log = get_logger(__name__)

    def check(self, method: str, context: Any) -> None:
        """Let the caller of `package.Service/Method` pass.

        Raises: Unauthenticated when its certificate names no workload; CallerRefused when the table lacks it.
        """
        found = context.auth_context().get(SPIFFE_ID)
        if not found:
            self._refuse(method, NO_IDENTITY)
            raise Unauthenticated(
                f"the certificate of the caller of {method} has no SPIFFE ID: it needs exactly one URI among its names",
                reason="no_identity",
            )
        caller = self._identities.name_of(found[0].decode(errors="replace"))
        if caller not in self._callers.get(method, ()):
            self._refuse(method, caller)
            raise CallerRefused(f"{caller} may not call {method}")

    def _refuse(self, method: str, caller: str) -> None:
        caller = self._metrics.bounded(caller, label="caller")
        self._refused.labels(method, caller).inc()
        if (method, caller) not in self._told:  # once each: a client that tries again and again must not fill the log
            self._told.add((method, caller))
            self._log.warning("a caller was refused", method=method, caller=caller)


def parse_aliases(text: str) -> dict[str, str]:
    """SPIFFE ID -> name, of `name=spiffe://…,name=spiffe://…`.

    Raises: Invalid naming the part that is not of that form.
    """
    aliases = {}
    for part in filter(None, (one.strip() for one in text.split(","))):
        name, _, spiffe_id = part.partition("=")
        if not name or not spiffe_id.startswith("spiffe://"):
            raise Invalid(f"{part!r} is not name=spiffe://…", field="tls_aliases")
        aliases[spiffe_id] = name
    return aliases
