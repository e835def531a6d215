"""The partitioner agrees with Kafka's own."""

import pytest
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from chassis.kafka.partitioner import murmur2, partition_for


@pytest.mark.parametrize(
    ("text", "expected"),  # from Kafka's UtilsTest.java
    [
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ("abc", 479470107),
    ],
)
def test_murmur2_gives_what_java_gives(text: str, expected: int) -> None:
    assert murmur2(text.encode()) == expected & 0xFFFFFFFF


@given(key=st.text(min_size=1), num_partitions=st.integers(1, 64))
def test_a_key_goes_where_aiokafka_would_send_it(key: str, num_partitions: int) -> None:
    everywhere = list(range(num_partitions))
    assert partition_for(key, num_partitions) == DefaultPartitioner()(key.encode(), everywhere, everywhere)
