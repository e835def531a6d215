"""Publishes a seeded world through the same doors and topics as real life, and waits until it is readable."""

import asyncio
from collections.abc import Sequence
from typing import Any

from chassis.clock import SYSTEM_CLOCK
from chassis.deadline import Deadline
from chassis.kafka.partitioner import partition_for
from corkboard import releases
from corkboard.commands.output import Output
from corkboard.publishing import publish_events, publish_pins
from corkboard.readable import wait_for_events, wait_for_pins
from corkboard.session import Session
from corkboard.world.past import Session as PastSession
from corkboard.world.past import in_order_of_arrival, make_past
from corkboard.world.pins import make_pins
from corkboard.world.truth import WorldSize, make_truth
from protos import topics

FEEDS_IN_FLIGHT = 500


async def publish_world(session: Session, size: WorldSize, output: Output) -> dict[str, Any]:
    """Make and publish the world of that size and seed.

    Raises: Unavailable when a service stays away.
    """
    now_ms = SYSTEM_CLOCK.now_ms()
    output.say(f"making a world of {size.num_pins:,} pins and {size.num_people:,} people (seed {size.seed})")
    truth = await asyncio.to_thread(make_truth, size)
    pins = await asyncio.to_thread(lambda: list(make_pins(size, truth, now_ms)))
    past = await asyncio.to_thread(lambda: list(make_past(size, truth, now_ms)))
    events = in_order_of_arrival((event for one in past for event in one.events), size.seed)
    with output.progress("pins", len(pins)) as advance:
        published_pins = await publish_pins(session, pins, advance)
    await wait_for_pins(session, [pin.pin_id for pin in pins[-50:]])
    with output.progress("served feeds of the past", len(past)) as advance:
        await _publish_feeds(session, past, advance)
    with output.progress("events of the past", len(events)) as advance:
        published_events = await publish_events(session, events, advance)
    await wait_for_events(session, events)
    return {
        "pins": published_pins.num_acknowledged,
        "events": published_events.num_acknowledged,
        "served_feeds": len(past),
        "rejected": published_events.by_outcome["rejected"] + published_pins.by_outcome["rejected"],
        "rejections": published_pins.rejections + published_events.rejections,
        "events_per_s": round(len(events) / published_events.duration_s),
    }


async def _publish_feeds(session: Session, past: Sequence[PastSession], advance: Any) -> None:
    """The past has no blender to serve it, so its feeds go to the blender's topic directly."""
    topic = topics.FEEDS_SERVED
    async with releases.bus(session.endpoints.kafka) as bus, asyncio.TaskGroup() as tasks:
        producer = bus.producer()
        await producer.start(tasks)
        for at in range(0, len(past), FEEDS_IN_FLIGHT):
            chunk = past[at : at + FEEDS_IN_FLIGHT]
            await asyncio.gather(
                *(
                    producer.send(
                        topic,
                        one.feed.SerializeToString(),
                        partition=partition_for(one.feed.user_id, topic.num_partitions),
                    )
                    for one in chunk
                )
            )
            advance(len(chunk))
        await producer.stop(Deadline.after(releases.STOP_S))
