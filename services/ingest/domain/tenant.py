"""Who pays quota."""

import re

from chassis.errors import Invalid

DEFAULT = "default"
TENANT = re.compile(r"[A-Za-z0-9._-]{1,64}")


def normalise_tenant(tenant: str) -> str:
    """The tenant's name. Raises: Invalid when it cannot be a level of a rule's key."""
    if not tenant:
        return DEFAULT
    if not TENANT.fullmatch(tenant):
        raise Invalid(
            "tenant must have 1 to 64 letters, digits, '.', '_' or '-'", field="tenant", reason="invalid_field"
        )
    return tenant
