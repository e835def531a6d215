"""A zone dies, freezes, cannot speak, comes back: the others do not notice, and nothing acknowledged is lost."""

import asyncio
import uuid
from collections.abc import Callable

import pytest

from e2e.cluster.installation import Installation
from e2e.cluster.load import Heard, press, readable

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

CONTROL_S, FAULT_S, LOST = 30.0, 45.0, -2  # the zone in the middle: quota and the lake's writer are in the first
MAX_ERROR_RATIO = 0.001
MAX_P99_RATIO, NOISE_MS = 1.2, 60.0  # one machine carries all zones here: less than this it cannot tell apart
BACK_WITHIN_S = 300.0
FAULTS = {
    "killed": ("kill",),
    "paused": ("pause",),
    "unheard": ("cut", "--egress-only"),
    "cut off": ("cut",),
}


def verdict(control: Heard, fault: Heard) -> list[str]:
    """What the surface of a zone that was left alone noticed."""
    found = []
    if fault.error_ratio - control.error_ratio >= MAX_ERROR_RATIO:
        found.append(f"zone {fault.zone}: errors {dict(fault.errors)} in {len(fault.samples)} calls")
    before_ms, after_ms = control.latency_ms(0.99), fault.latency_ms(0.99)
    if after_ms > max(before_ms * MAX_P99_RATIO, before_ms + NOISE_MS):
        found.append(f"zone {fault.zone}: p99 {before_ms:.0f} ms -> {after_ms:.0f} ms")
    empty = sum(one.is_ok and one.kind == "feed" and not one.num_items for one in fault.samples)
    return [*found, f"zone {fault.zone}: {empty} empty feeds"] if empty else found


@pytest.mark.parametrize("fault", FAULTS)
async def test_other_zones_do_not_notice_a_zone_that_is(
    fault: str,
    installation: Installation,
    zone_command: Callable[..., None],
    record: Callable[[str, object], None],
) -> None:
    lost = installation.zones[LOST]
    rest = tuple(zone for zone in installation.zones if zone != lost)
    run = f"zone-{uuid.uuid4().hex[:6]}"
    await asyncio.to_thread(installation.wait_ready, BACK_WITHIN_S)
    control = await press(installation, rest, f"{run}-control", CONTROL_S)

    async def break_zone() -> None:
        await asyncio.sleep(5.0)
        verb, *options = FAULTS[fault]
        await asyncio.to_thread(zone_command, verb, lost, *options)

    try:
        during = await press(installation, rest, f"{run}-fault", FAULT_S, break_zone)
    finally:
        await asyncio.to_thread(zone_command, "heal", lost)
    back_s = await asyncio.to_thread(installation.wait_ready, BACK_WITHIN_S)
    healed = await press(installation, installation.zones, f"{run}-healed", CONTROL_S)
    phases = {"control": control, "fault": during, "healed": healed}
    report = {f"{phase}, {zone}": one.summary() for phase, by_zone in phases.items() for zone, one in by_zone.items()}
    record(f"zone {fault}", {"lost": lost, "back_s": round(back_s, 1), **report})
    for zone in installation.zones:
        for heard in phases.values():
            await readable(installation.surface(zone), heard)
    assert [line for zone in rest for line in verdict(control[zone], during[zone])] == []
    assert {zone: one.errors for zone, one in healed.items() if one.errors} == {}


def heard(zone: str, latencies_ms: list[float], num_errors: int = 0) -> Heard:
    from corkboard.load.driver import Sample

    good = [Sample(0.0, "feed", "OK", each, num_items=10) for each in latencies_ms]
    return Heard(zone, good + [Sample(0.0, "feed", "UNAVAILABLE", 1.0)] * num_errors)


def test_a_zone_that_notices_is_found() -> None:
    control = heard("az-a", [100.0] * 100)
    assert verdict(control, heard("az-a", [110.0] * 100)) == []
    assert verdict(control, heard("az-a", [100.0] * 100, num_errors=1)) != []
    assert verdict(control, heard("az-a", [100.0] * 90 + [400.0] * 10)) != []
