"""Users' vectors and hidden states to the topic of embeddings, from where the indexer stores them."""

from chassis.kafka.bus import Producer
from protos.indexer.v1.indexer_pb2 import UserEmbedding, UserVector
from protos.tensors import numpy_to_tensor
from protos.topics import EMBEDDINGS_PUBLISHED
from services.cg.domain.retrieval import StoredVector


class KafkaUserStates:
    """One record per user and encoder; the topic keeps the newest of each."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer

    async def publish(self, user_id: str, encoder: str, stored: StoredVector, computed_time_ms: int) -> None:
        """Return when all replicas have it. Raises: Unavailable."""
        made = UserVector(
            encoder=encoder,
            encoder_version=stored.encoder_version,
            vector=numpy_to_tensor(stored.vector),
            computed_time_ms=computed_time_ms,
        )
        message = UserEmbedding(user_id=user_id, vector=made)
        key = key_of(user_id, encoder)
        await self._producer.send(EMBEDDINGS_PUBLISHED, message.SerializeToString(), key=key)


def key_of(user_id: str, encoder: str) -> bytes:
    """User and encoder: the topic is compacted, and one encoder's vector must not take the other's away.

    Vectors of `two_tower` keep the plain user id, so that they replace what was published before there were others.
    """
    return (user_id if encoder == "two_tower" else f"{user_id}/{encoder}").encode()
