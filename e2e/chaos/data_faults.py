"""Faults of what is stored and sent: a flushed store, keys of the wrong kind, poison, idle members, spoilt bundles.

Each does it at once and returns what it did as (process, op, key, value) of records.
"""

import asyncio
import hashlib
import json
import random
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import redis.asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from chassis.bundles import BundleStore, Release
from chassis.bundles.release import MANIFEST
from chassis.kafka.topic import Topic
from corkboard import releases
from e2e.chaos.scenario import Fault
from e2e.house import House
from protos import topics

Done = Sequence[tuple[str, str, str, Any]]
SPOILT = "-spoilt"  # end of a bad version's name
JOINED_FOR_S = 1.0
SETTLED_S = 0.5
ONLINE_GROUP = "indexer-online"
BUNDLE_TOPICS = {"definitions": topics.DEFINITIONS_RELEASED, "ranker": topics.MODELS_RELEASED}


async def flush(house: House, _: Fault) -> Done:
    """FLUSHALL of the online store."""
    async with _store(house) as store:
        await store.flushall()
    return []


async def set_wrong_types(house: House, fault: Fault) -> Done:
    """`strength` keys of sequences that are there become lists; which ones is drawn by their names alone."""
    async with _store(house) as store:
        keys = sorted([key async for key in store.scan_iter(match="[sh]:{chaos-*", count=1_000)])
        chosen = random.Random(str(fault.at_s)).sample(keys, min(len(keys), int(fault.strength)))
        for key in chosen:
            await store.delete(key)
            await store.rpush(key, "not what it was")
    return [("valkey", "sample", "wrong_type", len(chosen))]


async def poison(house: House, fault: Fault) -> Done:
    """Bytes that are no envelope, straight into the topics that enrich and the indexer read."""
    producer = AIOKafkaProducer(bootstrap_servers=house.endpoints.kafka)
    await producer.start()
    try:
        for topic in (topics.EVENTS_ACCEPTED, topics.EVENTS_ENRICHED):
            partition = int(fault.strength) % topic.num_partitions
            await producer.send_and_wait(topic.name, b"\xff\x00poison", partition=partition)
    finally:
        await producer.stop()
    return [(topic.name, "sample", "poison", 1) for topic in (topics.EVENTS_ACCEPTED, topics.EVENTS_ENRICHED)]


async def join_group(house: House, fault: Fault) -> Done:
    """For `for_s` a member joins the indexer's group, takes partitions, does nothing and leaves, again and again."""
    give_up_s = asyncio.get_running_loop().time() + fault.for_s
    num_joined = 0
    while asyncio.get_running_loop().time() < give_up_s:
        member = AIOKafkaConsumer(
            topics.EVENTS_ENRICHED.name,
            bootstrap_servers=house.endpoints.kafka,
            group_id=await _online_group(house),
            enable_auto_commit=False,
            client_id="chaos-member",
        )
        try:
            await member.start()
            await asyncio.sleep(JOINED_FOR_S)
        finally:
            await member.stop()
        num_joined += 1
        await asyncio.sleep(SETTLED_S)
    return [("kafka-1", "sample", "joined", num_joined)]


async def announce_bad_bundle(house: House, fault: Fault) -> Done:
    """The newest sound version under another name, with a byte of a file turned, announced as if it were sound."""
    bad = await asyncio.to_thread(spoilt_copy, BundleStore(str(house.home.bundles)), fault.target, fault.at_s)
    async with releases.bus(house.endpoints.kafka) as bus:
        await releases.announce(bus, BUNDLE_TOPICS[fault.target], bad, "chaos")
    return [(fault.target, "sample", "bad_bundle", bad.version)]


async def announce_again(house: House, name: str) -> None:
    """The newest sound version of a bundle: what an operator does about a bad one."""
    topic: Topic = BUNDLE_TOPICS[name]
    async with releases.bus(house.endpoints.kafka) as bus:
        await releases.announce(bus, topic, _newest_sound(BundleStore(str(house.home.bundles)), name), "chaos")


def _newest_sound(store: BundleStore, name: str) -> Release:
    return [one for one in store.list(name) if not one.version.endswith(SPOILT)][-1]


def spoilt_copy(store: BundleStore, name: str, at_s: float) -> Release:
    """The newest sound version with a byte turned, which one `at_s` says; only the manifest says that all is well."""
    sound = _newest_sound(store, name)
    source = store.open(sound)
    target = source.parent / f"{source.name}{SPOILT}"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    files = sorted(path for path in target.rglob("*") if path.is_file() and path.name != MANIFEST)
    chosen = random.Random(str(at_s)).choice(files)
    content = bytearray(chosen.read_bytes())
    content[len(content) // 2] ^= 0xFF
    chosen.write_bytes(bytes(content))
    manifest = target / MANIFEST
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "version": target.name}))
    return replace(
        sound,
        version=target.name,
        uri=str(Path(sound.uri).parent / target.name),
        manifest_sha256=hashlib.sha256(manifest.read_bytes()).hexdigest(),
    )


async def _online_group(house: House) -> str:
    """The group's name carries the zone."""
    admin = AIOKafkaAdminClient(bootstrap_servers=house.endpoints.kafka)
    await admin.start()
    try:
        return next(str(name) for name, _ in await admin.list_consumer_groups() if name.startswith(ONLINE_GROUP))
    finally:
        await admin.close()


def _store(house: House) -> "redis.asyncio.Redis":
    return redis.asyncio.Redis(host="127.0.0.1", port=house.endpoints.ports.valkey())
