"""What a generated stub knows about its methods: path and codecs, read without opening a channel."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from chassis.errors import Invalid

Stub = Callable[[Any], object]


@dataclass(frozen=True, slots=True)
class StubMethod:
    """One RPC method as the client needs it."""

    path: str
    serialize: Callable[[Any], bytes]
    parse: Callable[[bytes], Any]
    is_response_stream: bool

    @classmethod
    def of(cls, path: str, codecs: Mapping[str, Any], *, is_response_stream: bool) -> "StubMethod":
        """From what generated code gives a channel."""
        return cls(path, codecs["request_serializer"], codecs["response_deserializer"], is_response_stream)

    @property
    def name(self) -> str:
        """`package.Service/Method`, the name of its spans."""
        return self.path.removeprefix("/")


def method_of(stub: Stub, method: str) -> StubMethod:
    """The method named `method` of a generated stub class.

    Raises: Invalid when the stub has no such method.
    """
    try:
        return _methods_of(stub)[method]
    except KeyError:
        raise Invalid(f"{stub} has no method {method!r}", field=method) from None


@cache
def _methods_of(stub: Stub) -> Mapping[str, StubMethod]:
    recorder = _Recorder()
    stub(recorder)
    return recorder.methods


class _Recorder:
    """Stands in for a channel while a stub is made, and writes down what it asks for."""

    def __init__(self) -> None:
        self.methods: dict[str, StubMethod] = {}

    def unary_unary(self, path: str, **codecs: Any) -> None:
        self.methods[path.rpartition("/")[2]] = StubMethod.of(path, codecs, is_response_stream=False)

    def unary_stream(self, path: str, **codecs: Any) -> None:
        self.methods[path.rpartition("/")[2]] = StubMethod.of(path, codecs, is_response_stream=True)
