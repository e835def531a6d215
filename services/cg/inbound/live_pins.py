"""Keeps the index equal to the topic of enriched pins; a start without Kafka goes on from the last-good copy."""

import asyncio

from google.protobuf.message import DecodeError

from chassis.clock import Clock
from chassis.deadline import Deadline
from chassis.errors import CorkboardError, Corrupt, Unavailable
from chassis.health import Health
from chassis.kafka.bus import Bus, Part, Record
from chassis.logs import get_logger
from chassis.tasks import cut
from protos.pins.v1.pins_pb2 import EnrichedPin
from protos.tensors import tensor_to_numpy
from protos.topics import PINS_ENRICHED
from services.cg.domain.pin import IndexedPin
from services.cg.domain.pin_index import PinIndex
from services.cg.ports import IndexMeter, PinCopies

RETRY_S = 2.0
STALE = "stale: the last-good copy serves, the topic cannot be read"

log = get_logger(__name__)


class LivePins:
    """A part that starts in the background: the process is up at once, and ready when the topic was read to its end, or
    when it cannot be read and there is a copy. Pins of the copy that the topic does not confirm leave after that."""

    name = "live pins"

    def __init__(
        self, bus: Bus, index: PinIndex, copies: PinCopies, meter: IndexMeter, health: Health, clock: Clock
    ) -> None:
        self._table: Part = bus.table(self.name, PINS_ENRICHED, self.apply)
        self._index, self._copies, self._meter = index, copies, meter
        self._health, self._clock = health, clock
        self._unconfirmed: set[str] = set()
        self._starting: asyncio.Task[None] | None = None
        self.is_whole = False  # whether the topic was read to its end

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Begin to start."""
        self._health.set(self.name, False, "starting")
        self._starting = tasks.create_task(self._until_started(tasks))

    async def stop(self, deadline: Deadline) -> None:
        """Stop following; what is indexed stays."""
        starting, self._starting = self._starting, None
        if starting is not None:
            await cut([starting])
        await self._table.stop(deadline)

    def apply(self, record: Record) -> None:
        """Add, replace or (tombstone) remove a pin; a record that is no pin is counted and passed over."""
        pin_id = (record.key or b"").decode(errors="replace")
        if record.value is None:
            self._index.remove(pin_id)
            self._unconfirmed.discard(pin_id)
        else:
            self._upsert(record.value)
        self._meter.size(len(self._index))

    def _upsert(self, value: bytes) -> None:
        try:
            pin = decode_pin(value)
        except (DecodeError, CorkboardError):
            self._meter.refused("malformed")
            return
        if not pin.pin_id:
            self._meter.refused("no_pin_id")
            return
        self._unconfirmed.discard(pin.pin_id)
        if refusal := self._index.upsert(pin):
            self._meter.refused(refusal)

    async def _until_started(self, tasks: asyncio.TaskGroup) -> None:
        await self._restore()
        while True:
            try:
                await self._table.start(tasks)
                break
            except Unavailable as error:
                self._fall_back(error.message)
                await self._clock.sleep(RETRY_S)
        self._confirm()

    async def _restore(self) -> None:
        try:
            pins = await asyncio.to_thread(self._copies.load)
        except Corrupt as error:
            log.warning("the last-good copy of the pins is not usable", error=error.message)
            return
        if pins is not None:
            self._index.restore(pins)
            self._unconfirmed = set(pins.pin_ids)
            self._meter.size(len(self._index))

    def _fall_back(self, why: str) -> None:
        """Serve what the copy had; without one stay unready."""
        is_usable = len(self._index) > 0
        self._health.set(self.name, is_usable, why)
        if is_usable:
            self._health.note(f"{self.name} copy", STALE)
            self._meter.stale(True)

    def _confirm(self) -> None:
        for pin_id in self._unconfirmed:
            self._index.remove(pin_id)
        self._unconfirmed = set()
        self.is_whole = True
        self._meter.size(len(self._index))
        self._meter.stale(False)
        self._health.note(f"{self.name} copy", "")
        self._health.set(self.name, True)


def decode_pin(value: bytes) -> IndexedPin:
    """A pin from the wire. Raises: DecodeError, Invalid."""
    message = EnrichedPin.FromString(value)
    pin = message.pin
    return IndexedPin(
        pin_id=pin.pin_id,
        content_vector=tensor_to_numpy(message.content_vector) if message.HasField("content_vector") else None,
        topics=tuple(pin.topics),
        created_time_ms=pin.created_time_ms or pin.published_time_ms,
        quality_score=message.quality_score,
        locale=pin.locale,
        content_group=pin.content_group,
        advertiser_id=pin.advertiser_id,
        price_micros=pin.price_micros,
        safety_labels=tuple(pin.safety_labels),
    )
