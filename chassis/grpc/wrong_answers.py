"""Wrong answers on purpose: a dependency that is not dead but wrong. For failure tests, off unless a setting says so.

What is spoilt is read from `faults.json` in the state folder, so there is no door through which a stranger could do it:
`{"kind": "nan", "share": 0.01, "method": "Score", "delay_s": 0.5}`; without the file, answers are as they are.
"""

import json
import math
import random
from collections import OrderedDict
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chassis.clock import SYSTEM_CLOCK, Clock
from chassis.errors import Unavailable
from chassis.logs import get_logger
from chassis.metrics import Metrics

FILE = "faults.json"
LOOK_EVERY_S = 0.2
MAX_REMEMBERED = 1_000  # first answers, for stale ones
NAN_BYTE = b"\xff"  # any float of nothing but ones is NaN


class Plan(BaseModel):
    """Which answers are spoilt, and how: emptied, every number NaN, the first one ever to this request, an error, late.

    `share` of the calls, in 0..1; `method` is a bare name, "" = every method; `delay_s` is of `slow`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["empty", "nan", "stale", "error", "slow"]
    share: float = Field(1.0, ge=0, le=1)
    method: str = ""
    delay_s: float = Field(0.5, ge=0, le=60)


class WrongAnswers:
    """Stands behind every unary method of a door."""

    def __init__(self, state_dir: Path, metrics: Metrics, clock: Clock = SYSTEM_CLOCK, seed: int = 0) -> None:
        self._file = state_dir / FILE
        self._clock = clock
        self._chance = random.Random(seed)
        self._plan: Plan | None = None
        self._looked_s = -math.inf
        self._first: OrderedDict[tuple[str, bytes], Any] = OrderedDict()
        self._spoilt = metrics.counter(
            "grpc_answers_spoilt_total", "Answers made wrong on purpose.", ("method", "kind")
        )

    async def spoil(self, method: str, request: Any, answer: Any) -> Any:
        """The answer that goes out for `package.Service/method`. Raises: Unavailable for an `error`."""
        first = self._remember(method, request, answer)
        plan = self._current()
        name = method.rpartition("/")[2]
        if plan is None or plan.method not in ("", name) or self._chance.random() >= plan.share:
            return answer
        self._spoilt.labels(name, plan.kind).inc()
        if plan.kind == "error":
            raise Unavailable(f"{name} fails on purpose", reason="fault")
        if plan.kind == "slow":
            await self._clock.sleep(plan.delay_s)
            return answer
        if plan.kind == "empty":
            return type(answer)()
        return first if plan.kind == "stale" else with_nan(answer)

    def _remember(self, method: str, request: Any, answer: Any) -> Any:
        key = (method, request.SerializeToString(deterministic=True))
        first = self._first.setdefault(key, answer)
        while len(self._first) > MAX_REMEMBERED:
            self._first.popitem(last=False)
        return first

    def _current(self) -> Plan | None:
        now_s = self._clock.monotonic_s()
        if now_s - self._looked_s >= LOOK_EVERY_S:
            self._looked_s = now_s
            self._plan = _read(self._file)
        return self._plan


def with_nan(message: Any) -> Any:
    """A copy in which every floating point number that is set, in tensors as well, is NaN."""
    copy = type(message)()
    copy.CopyFrom(message)
    _fill(copy)
    return copy


def _fill(message: Any) -> None:
    for field, value in message.ListFields():
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            _fill_map(field, value)
        elif field.type == field.TYPE_MESSAGE:
            for each in value if field.is_repeated else (value,):
                _fill(each)
        elif field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
            if field.is_repeated:
                value[:] = [math.nan] * len(value)
            else:
                setattr(message, field.name, math.nan)
        elif field.type == field.TYPE_BYTES and _is_float_tensor(message):
            setattr(message, field.name, NAN_BYTE * len(value))


def _fill_map(field: Any, value: Any) -> None:
    kind = field.message_type.fields_by_name["value"]
    for key in list(value):
        if kind.type == kind.TYPE_MESSAGE:
            _fill(value[key])
        elif kind.cpp_type in (kind.CPPTYPE_FLOAT, kind.CPPTYPE_DOUBLE):
            value[key] = math.nan


def _is_float_tensor(message: Any) -> bool:
    """By its form, as the chassis knows no contract: bytes with a `shape` and a `dtype` of floats."""
    fields = message.DESCRIPTOR.fields_by_name
    if "shape" not in fields or "dtype" not in fields or fields["dtype"].enum_type is None:
        return False
    number = fields["dtype"].enum_type.values_by_number.get(message.dtype)
    return number is not None and "FLOAT" in number.name


def _read(file: Path) -> Plan | None:
    try:
        return Plan(**json.loads(file.read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, ValidationError) as error:
        get_logger(__name__).warning("faults_not_readable", file=str(file), error=str(error))
        return None
