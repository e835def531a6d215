"""What the online role does with records of each topic."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from chassis.kafka.record import Record
from chassis.kafka.topic import Topic
from chassis.record_batches import join
from protos import topics
from services.indexer.app.index_events import IndexEvents
from services.indexer.app.index_feeds import IndexFeeds
from services.indexer.inbound.envelopes import envelope_of
from services.indexer.inbound.feeds import feed_of, serving_of
from services.indexer.inbound.pins import pin_changes, vectors_of
from services.indexer.ports import PinStore, UserStore

ONLINE_TOPICS = (topics.EVENTS_ENRICHED, topics.FEEDS_SERVED, topics.PINS_ENRICHED, topics.EMBEDDINGS_PUBLISHED)


def online_topics(shadow: str) -> tuple[Topic, ...]:
    """A shadow reads events only."""
    return (topics.EVENTS_ENRICHED.shadow(shadow),) if shadow else ONLINE_TOPICS


class OnlineConsumer:
    """One group for all topics of the online store; each effect is idempotent, so records may come again."""

    def __init__(
        self, events: IndexEvents, feeds: IndexFeeds, pins: PinStore, users: UserStore, shadow: str = ""
    ) -> None:
        self._index_events = events
        self._index_feeds = feeds
        self._pins = pins
        self._users = users
        self._handlers: Mapping[str, Callable[[Sequence[Record]], Awaitable[None]]] = {
            topics.EVENTS_ENRICHED.shadow(shadow).name: self._events,
            topics.FEEDS_SERVED.name: self._feeds,
            topics.PINS_ENRICHED.name: self._pin_changes,
            topics.EMBEDDINGS_PUBLISHED.name: self._vectors,
        }

    async def handle(self, records: Sequence[Record]) -> None:
        """Returns once the effect of every record is readable. Raises: Corrupt, Unavailable."""
        await self._handlers[records[0].topic](records)

    async def _events(self, records: Sequence[Record]) -> None:
        for envelope in join([envelope_of(record) for record in records]):
            await self._index_events(envelope)

    async def _feeds(self, records: Sequence[Record]) -> None:
        await self._index_feeds([serving_of(feed_of(record)) for record in records])

    async def _pin_changes(self, records: Sequence[Record]) -> None:
        changes = pin_changes(records)
        await self._pins.delete(changes.deleted)
        await self._pins.put(changes.put)

    async def _vectors(self, records: Sequence[Record]) -> None:
        withdrawn, vectors = vectors_of(records)
        await self._users.forget_vectors(withdrawn)
        await self._users.put_vectors(vectors)
