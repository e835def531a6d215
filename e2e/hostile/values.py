"""What somebody who means harm, or has a bug, puts into a field."""

import math
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

NOW_S = 1_790_000_000  # any time of our days
YEAR_9999_MS = 253_402_300_799_000
MANY = 5_000
LONG = 200_000

TEXTS: Mapping[str, str] = {
    "empty": "",
    "long": "x" * LONG,
    "control": "".join(map(chr, range(1, 32))) + "\x7f\x85\u2028",
    "zero byte": "a\0b",
    "right to left": "\u202e\u2066\u200f",
    "scripts": "Ελληνικά кириллица עברית العربية हिन्दी ไทย 한국어 日本語 ქართული አማርኛ 𐍈𓀀 👩‍👩‍👧‍👦",
    "combining": "e" + "\u0301" * 1_000,
    "no characters": "\ufffe\uffff\U0010ffff",
    "path": "../../../../etc/passwd",
    "sql": "'; DROP TABLE rules; --",
    "format": "%s%n{0}{{}}${jndi:x}",
    "header": "a\r\nx-injected: b",
    "wildcard": "*/*/*",
}
BYTES: Mapping[str, bytes] = {
    "empty": b"",
    "noise": bytes(range(256)) * 4,
    "long": b"\x00" * LONG,
    "deep json": b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
    "json without end": b'{"a": "',
    "json not a number": b'{"dwell_s": NaN, "x": Infinity, "y": 1e999}',
    "json twice": b'{"dwell_s": 1, "dwell_s": "two"}',
    "json large number": b'{"dwell_s": ' + b"9" * 5_000 + b"}",
}
FLOATS: Mapping[str, float] = {
    "not a number": math.nan,
    "infinite": math.inf,
    "minus infinite": -math.inf,
    "huge": 1.7e308,
    "negative": -1.0,
    "minus zero": -0.0,
    "tiny": 5e-324,
}
TIMES_MS: Mapping[str, int] = {
    "zero": 0,
    "negative": -1,
    "nanoseconds": NOW_S * 1_000_000_000,
    "seconds": NOW_S,
    "year 9999": YEAR_9999_MS,
    "largest": 2**63 - 1,
    "smallest": -(2**63),
}
FLOAT32_64 = struct.pack("<64f", *[0.125] * 64)
TENSORS: Mapping[str, Mapping[str, Any]] = {
    "empty": {},
    "no numbers": {"data": struct.pack("<64f", *[math.nan] * 64), "shape": [64], "dtype": 1},
    "infinite numbers": {"data": struct.pack("<64f", *[math.inf] * 64), "shape": [64], "dtype": 1},
    "zero": {"data": bytes(256), "shape": [64], "dtype": 1},
    "wrong width": {"data": struct.pack("<3f", 1, 2, 3), "shape": [3], "dtype": 1},
    "shorter than its shape": {"data": FLOAT32_64, "shape": [65], "dtype": 1},
    "odd bytes": {"data": b"\x01" * 255, "shape": [64], "dtype": 1},
    "negative shape": {"data": FLOAT32_64, "shape": [-64], "dtype": 1},
    "shape that overflows": {"data": b"", "shape": [2**62, 2**62], "dtype": 1},
    "large shape": {"data": b"", "shape": [2**40], "dtype": 1},
    "no elements": {"data": b"", "shape": [0, 64], "dtype": 1},
    "many axes": {"data": struct.pack("<f", 1.0), "shape": [1] * 100, "dtype": 1},
    "unknown type": {"data": FLOAT32_64, "shape": [64], "dtype": 99},
    "no type": {"data": FLOAT32_64, "shape": [64], "dtype": 0},
    "another type": {"data": FLOAT32_64, "shape": [256], "dtype": 6},
}
TENSOR = "corkboard.common.v1.Tensor"

_INT_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


def of(field: FieldDescriptor) -> Iterator[tuple[str, Any]]:
    """(what it is, a value) for one element of a field; none for a message."""
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_STRING:
        yield from (TEXTS if field.type == FieldDescriptor.TYPE_STRING else BYTES).items()
    elif kind in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        yield from FLOATS.items()
    elif kind == FieldDescriptor.CPPTYPE_ENUM:
        yield from (("unknown", 999), ("negative", -7))
    elif kind in _INT_RANGES:
        smallest, largest = _INT_RANGES[kind]
        yield from (TIMES_MS if field.name.endswith("_ms") and smallest < -(2**40) else {}).items()
        yield from (("0", 0), ("smallest", smallest), ("largest", largest))
