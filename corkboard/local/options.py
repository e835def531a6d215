"""What a local Corkboard is made of."""

from collections.abc import Sequence
from dataclasses import dataclass

from chassis.errors import Invalid


@dataclass(frozen=True)
class Options:
    """What to run. Given addresses replace the local server of that kind."""

    zones: tuple[str, ...] = ("local",)
    num_brokers: int = 1
    port_base: int = 7100
    kafka: str = ""
    redis: str = ""
    otlp: str = ""
    page: bool = True
    tls: bool = False


def parse_zones(text: str) -> Sequence[str]:
    """`"a,b,c"` → its unique names in order. Raises: Invalid when there is none."""
    zones = tuple(dict.fromkeys(zone.strip() for zone in text.split(",") if zone.strip()))
    if not zones:
        raise Invalid(f"no zone in {text!r}; give names such as az-a,az-b")
    return zones
