"""What was delivered, from the topic of served feeds: exploration gives its slots to pins that few were shown."""

from collections.abc import Sequence

from google.protobuf.message import DecodeError

from chassis.kafka.bus import Record
from protos.blender.v1.blender_pb2 import ServedFeed
from services.cg.domain.impressions import Impressions

NOT_SERVED = -1  # position of a candidate that was left out


class ServedPins:
    """Counts in memory, from the start of the process on; a feed that cannot be read is the indexer's to park."""

    def __init__(self, impressions: Impressions) -> None:
        self._impressions = impressions

    async def handle(self, records: Sequence[Record]) -> None:
        """Never waits and never fails."""
        for record in records:
            try:
                feed = ServedFeed.FromString(record.value or b"")
            except DecodeError:
                continue
            self._impressions.add(each.pin_id for each in feed.candidates if each.position > NOT_SERVED)
