"""Which partition a key belongs to: the same murmur2 that Kafka's own clients use."""

SEED = 0x9747B28C
MULTIPLIER = 0x5BD1E995
MASK = 0xFFFFFFFF


def partition_for(key: str, num_partitions: int) -> int:
    """The partition of `key`, as Kafka's default partitioner chooses it."""
    return (murmur2(key.encode()) & 0x7FFFFFFF) % num_partitions


def murmur2(data: bytes) -> int:
    """Kafka's murmur2 of `data`, as an unsigned 32-bit number."""
    length = len(data)
    h = (SEED ^ length) & MASK
    whole = length // 4 * 4
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * MULTIPLIER & MASK
        k = (k ^ (k >> 24)) * MULTIPLIER & MASK
        h = (h * MULTIPLIER & MASK) ^ k
    if whole < length:
        h = (h ^ int.from_bytes(data[whole:], "little")) * MULTIPLIER & MASK
    h = (h ^ (h >> 13)) * MULTIPLIER & MASK
    return h ^ (h >> 15)
