"""A sample of what models were given, to topic features.served: a bounded queue between rankings and Kafka."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable

from chassis.deadline import Deadline
from chassis.errors import CorkboardError
from chassis.kafka import cloud_events
from chassis.kafka.bus import Producer
from chassis.kafka.partitioner import partition_for
from chassis.logs import get_logger
from chassis.metrics import Metrics
from chassis.tasks import cut
from chassis.tracing import context_from, span
from protos.common.v1 import common_pb2 as common
from protos.ranker.v1 import ranker_pb2 as pb
from protos.tensors import numpy_to_tensor
from protos.topics import FEATURES_SERVED
from services.ranker.domain.served_features import ServedFeatures

EVENT_TYPE = "corkboard.ranker.v1.ServedFeatures"
MAX_WAITING = 64  # records of up to some hundred KB each


class KafkaFeatureLog:
    """FeatureLog, and a part. Every sampled ranking ends up counted: written, failed or dropped."""

    name = "feature log"

    def __init__(
        self,
        producer: Producer,
        metrics: Metrics,
        source: str,
        *,
        share: float,
        max_candidates: int,
        dice: random.Random | None = None,
    ) -> None:
        self._producer, self._source = producer, source
        self._share, self._max_candidates = share, max_candidates
        self._dice = dice or random.Random()
        self._queue: asyncio.Queue[ServedFeatures] = asyncio.Queue(MAX_WAITING)
        self._running: asyncio.Task[None] | None = None
        self._records = metrics.counter(
            "feature_log_records_total", "Sampled rankings, by what came of their record.", ("outcome",)
        )
        self._bytes = metrics.counter("feature_log_bytes_total", "Bytes of the records that were written.")
        metrics.gauge("feature_log_queued", "Records that wait.").set_function(self._queue.qsize)

    def offer(self, make: Callable[[], ServedFeatures]) -> None:
        """See FeatureLog."""
        if self._dice.random() >= self._share:
            return
        if self._queue.full():
            self._records.labels("dropped").inc()
            return
        self._queue.put_nowait(make().at_most(self._max_candidates, self._dice))

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Begin to write."""
        self._running = tasks.create_task(self._run())

    async def stop(self, deadline: Deadline) -> None:
        """Write what waits, until the deadline; count what is left."""
        running, self._running = self._running, None
        if running is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(deadline.remaining_s() / 2):  # parts stopped after this one need time too
                    await self._queue.join()
            await cut([running])
        while not self._queue.empty():
            self._queue.get_nowait()
            self._records.labels("dropped").inc()

    async def _run(self) -> None:
        while True:
            served = await self._queue.get()
            outcome = "dropped"  # when the time to stop is over
            try:
                outcome = await self._write(served)
            finally:
                self._records.labels(outcome).inc()
                self._queue.task_done()

    async def _write(self, served: ServedFeatures) -> str:
        user_id = served.ask.user_id
        bucket = partition_for(user_id, FEATURES_SERVED.num_partitions)
        headers = cloud_events.headers(EVENT_TYPE, self._source, served.ask.request_id, "1", "application/protobuf")
        try:
            value = encode(served).SerializeToString()
            with span("write served features", parent=context_from({"traceparent": served.traceparent})):
                await self._producer.send(
                    FEATURES_SERVED, value, key=str(bucket).encode(), partition=bucket, headers=headers
                )
        except (CorkboardError, ValueError) as error:  # ValueError: text that protobuf does not take
            get_logger(__name__).warning("served_features_not_written", user_id=user_id, error=str(error))
            return "failed"
        self._bytes.inc(len(value))
        return "written"


def encode(served: ServedFeatures) -> pb.ServedFeatures:
    """A value of topic features.served."""
    return pb.ServedFeatures(
        request_id=served.ask.request_id,
        user_id=served.ask.user_id,
        surface=served.ask.surface,
        request_time_ms=served.ask.request_time_ms,
        served_time_ms=served.served_time_ms,
        model=served.scores.model,
        model_version=served.scores.model_version,
        sequence_version=served.sequence_version,
        versions=common.Versions(by_artifact=served.versions),
        num_pins_by_vector_version=Counter(served.vector_versions),
        defaulted_inputs=served.scores.defaulted_inputs,
        degradations=[
            common.Degradation(component=each.component, reason=each.reason, level=each.level)
            for each in served.degradations
        ],
        num_candidates=served.num_candidates,
        pin_ids=served.pin_ids,
        event_ids=served.event_ids,
        num_gapless_events=served.num_gapless_events,
        is_whole_history=served.is_whole_history,
        inputs=common.NamedTensors(by_name={name: numpy_to_tensor(value) for name, value in served.tensors.items()}),
    )
