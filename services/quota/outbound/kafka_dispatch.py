"""Announces rules on the compacted topic that every process reads whole."""

from chassis.kafka.bus import Producer
from chassis.kafka.topic import Topic
from protos.rules import encode_rule
from services.quota.domain.rule_version import RuleVersion


class KafkaRuleDispatch:
    """RuleDispatch: the record of a key is its published version; a tombstone when it has none."""

    def __init__(self, producer: Producer, topic: Topic) -> None:
        self._producer, self._topic = producer, topic

    async def send(self, key: str, published: RuleVersion | None) -> None:
        """See RuleDispatch."""
        value = None if published is None else _value(published)
        await self._producer.send(self._topic, value, key=key.encode())


def _value(version: RuleVersion) -> bytes:
    return encode_rule(
        version.rule, changed_time_ms=version.changed_time_ms, changed_by=version.changed_by, why=version.why
    )
