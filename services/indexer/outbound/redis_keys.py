"""Names of keys in the online store. The part in braces makes all keys of a user live on one node of a cluster."""

SCHEMAS = b"schemas"
REBUILD = "rebuild"  # STRING: how far a rebuild of the store is
PIN_PREFIX = "p:"


def user(user_id: str) -> str:
    """HASH: version of the user's sequences, profile entries as `profile:<name>`."""
    return f"u:{{{user_id}}}"


def buckets(user_id: str, sequence: str) -> str:
    """HASH: `b<number>` closed buckets, index, generation, num_head, floor."""
    return f"s:{{{user_id}}}:{sequence}"


def head(user_id: str, sequence: str) -> str:
    """STRING: rows that are not in a closed bucket yet."""
    return f"h:{{{user_id}}}:{sequence}"


def ids(user_id: str, sequence: str) -> str:
    """HASH: first byte of a digest -> the rest of it and the digest of the payload, of each event held."""
    return f"d:{{{user_id}}}:{sequence}"


def acted(user_id: str) -> str:
    """ZSET: pins acted upon, by event time."""
    return f"a:{{{user_id}}}"


def blocked(user_id: str) -> str:
    """ZSET: pins hidden, by event time."""
    return f"x:{{{user_id}}}"


def seen(user_id: str, surface: str) -> str:
    """ZSET: pins served or viewed on a surface, by time."""
    return f"n:{{{user_id}}}:{surface}"


def vectors(user_id: str) -> str:
    """HASH: encoder -> computed time, version and vector."""
    return f"e:{{{user_id}}}"


def pin(pin_id: str) -> str:
    """STRING: published time, enriched time and the pin's row."""
    return f"{PIN_PREFIX}{pin_id}"


def user_of(bucket_key: bytes, sequence: str) -> str:
    """The user of a key made by `buckets`."""
    return bucket_key[len(b"s:{") : -len(f"}}:{sequence}".encode())].decode()
