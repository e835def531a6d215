"""Messages that are wrong in one place, and bytes that are no message at all, each with the name of what is wrong."""

import gzip
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from e2e.hostile import values

MAX_DEPTH = 3
Change = Callable[[Message], None]


@dataclass(frozen=True)
class Hostile:
    """One request or record value."""

    name: str
    raw: bytes


def broken(good: Message, other: Message) -> Iterator[Hostile]:
    """Bytes that were never this message: cut off, nested, noise, another message, one with unknown fields."""
    raw = good.SerializeToString()
    yield Hostile("noise", b"\xff\xff\xff\xff garbage")
    yield Hostile("cut in half", raw[: max(1, len(raw) // 2)])
    yield Hostile("without its last byte", raw[:-1])
    yield Hostile("a length beyond the end", b"\x0a\xff\xff\xff\xff\x07")
    yield Hostile("a number without end", b"\x08" + b"\xff" * 20)
    yield Hostile("no UTF-8", b"\x0a\x02\xff\xfe")
    yield Hostile("groups in groups", b"\x0b" * 10_000)
    yield Hostile("messages in messages", _nested(5_000))
    yield Hostile("an end of a group", b"\x0c")
    yield Hostile("field number 0", b"\x00\x01")
    yield Hostile("another message", other.SerializeToString())
    yield Hostile("fields of a later version", raw + b"\xfa\x7f\x05later" + b"\xf8\x3f\x01")
    yield Hostile("the same fields again", raw * 3)
    yield Hostile("compressed", gzip.compress(b"\0" * 1_000_000))


def changed(good: Message) -> Iterator[Hostile]:
    """`good` with one field at a time gone, hostile, or very many."""
    for name, change in (*_changes(type(good).DESCRIPTOR, MAX_DEPTH), *_each_tensor_of_maps(good)):
        copy = type(good)()
        copy.CopyFrom(good)
        change(copy)
        yield Hostile(name, copy.SerializeToString())


def _changes(descriptor: Any, depth: int) -> Iterator[tuple[str, Change]]:
    for field in descriptor.fields:
        yield f"{field.name} is gone", _clearing(field)
        if _is_map(field):
            yield from _map_changes(field)
        elif field.message_type is not None:
            yield from _message_changes(field, depth)
        else:
            yield from _scalar_changes(field)


def _scalar_changes(field: FieldDescriptor) -> Iterator[tuple[str, Change]]:
    for what, value in values.of(field):
        yield f"{field.name} is {what}", _setting(field, value)
    if field.is_repeated:
        ((_, value), *_) = (*values.of(field), ("", True))
        yield f"{field.name} is very many", _setting(field, value, values.MANY)


def _message_changes(field: Any, depth: int) -> Iterator[tuple[str, Change]]:
    if field.message_type.full_name == values.TENSOR and not field.is_repeated:
        for what, fields in values.TENSORS.items():
            yield f"{field.name} is {what}", _replacing(field, fields)
        return
    if field.is_repeated:
        yield f"{field.name} is very many", _repeating(field)
        yield f"{field.name} has an empty one", lambda message: getattr(message, field.name).add()
    if depth:
        for name, change in _changes(field.message_type, depth - 1):
            yield f"{field.name}: {name}", _inside(field, change)


def _map_changes(field: Any) -> Iterator[tuple[str, Change]]:
    key, value = field.message_type.fields_by_name["key"], field.message_type.fields_by_name["value"]
    for what, one in values.of(key):
        yield f"a key of {field.name} is {what}", _mapping(field, value, one)
    if value.message_type is None:
        for what, one in values.of(value):
            yield f"a value of {field.name} is {what}", _mapping(field, value, "key", one)
    elif value.message_type.full_name == values.TENSOR:
        for what, fields in values.TENSORS.items():
            yield f"each value of {field.name} is {what}", _all_tensors(field, fields)


def _each_tensor_of_maps(good: Message) -> Iterator[tuple[str, Change]]:
    for field, entries in good.ListFields():
        if _is_map(field) and _value_type(field) == values.TENSOR:
            for key in entries:
                for what, fields in values.TENSORS.items():
                    yield f"{key} of {field.name} is {what}", _one_tensor(field, key, fields)


def _value_type(field: Any) -> str:
    message = field.message_type.fields_by_name["value"].message_type
    return str(message.full_name) if message is not None else ""


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _clearing(field: FieldDescriptor) -> Change:
    return lambda message: message.ClearField(field.name)


def _setting(field: FieldDescriptor, value: object, times: int = 1) -> Change:
    def change(message: Message) -> None:
        if field.is_repeated:
            del getattr(message, field.name)[:]
            getattr(message, field.name).extend([value] * times)
        else:
            setattr(message, field.name, value)

    return change


def _replacing(field: FieldDescriptor, fields: object) -> Change:
    def change(message: Message) -> None:
        message.ClearField(field.name)
        _fill(getattr(message, field.name), fields)
        getattr(message, field.name).SetInParent()

    return change


def _fill(tensor: Message, fields: object) -> None:
    tensor.CopyFrom(type(tensor)(**fields))  # type: ignore[arg-type]


def _repeating(field: FieldDescriptor) -> Change:
    def change(message: Message) -> None:
        many = getattr(message, field.name)
        first = many[0] if many else many.add()
        many.extend([first] * values.MANY)

    return change


def _inside(field: FieldDescriptor, change: Change) -> Change:
    def deeper(message: Message) -> None:
        inner = getattr(message, field.name)
        if field.is_repeated:
            change(inner[0] if inner else inner.add())
        else:
            change(inner)
            inner.SetInParent()

    return deeper


def _mapping(field: FieldDescriptor, value_field: FieldDescriptor, key: object, value: object = None) -> Change:
    def change(message: Message) -> None:
        entries = getattr(message, field.name)
        if value_field.message_type is not None:
            entries[key].SetInParent()
        else:
            entries[key] = value_field.default_value if value is None else value

    return change


def _one_tensor(field: FieldDescriptor, key: str, fields: object) -> Change:
    return lambda message: _fill(getattr(message, field.name)[key], fields)


def _all_tensors(field: FieldDescriptor, fields: object) -> Change:
    def change(message: Message) -> None:
        for tensor in getattr(message, field.name).values():
            _fill(tensor, fields)

    return change


def _nested(depth: int) -> bytes:
    """A first field of length after length."""
    raw = b""
    for _ in range(depth):
        raw = b"\x0a" + _varint(len(raw)) + raw
    return raw


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
