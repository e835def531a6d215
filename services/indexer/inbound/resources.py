"""What a call is charged to."""

from typing import Any

TEAM_AND_SERVICE = "data/indexer"
DEFAULT_TENANT = "default"


def resource_of(method: str, request: Any) -> tuple[str, float] | None:
    """`data/indexer/<method>/<tenant>`, one unit per call; requests without a tenant are the default one's."""
    name = method.rpartition("/")[2]
    tenant = getattr(request, "tenant", "") or DEFAULT_TENANT
    return f"{TEAM_AND_SERVICE}/{name}/{tenant}", 1.0
