"""The executors that definitions may name."""

from collections.abc import Mapping

from sequences.engine.executor import Executor
from sequences.engine.executors.content_vector import ContentVector
from sequences.engine.executors.dedupe_window import DedupeWindow
from sequences.engine.executors.drop_bots import DropBots
from sequences.engine.executors.hash_ids import HashIds
from sequences.engine.executors.lookup_pin import LookupPin
from sequences.engine.executors.min_dwell import MinDwell
from sequences.engine.executors.normalise_text import NormaliseText
from sequences.engine.executors.semantic_id import SemanticId
from sequences.engine.executors.sessionise import Sessionise
from sequences.engine.executors.time_features import TimeFeatures
from sequences.engine.executors.validate_schema import ValidateSchema

_ALL: tuple[Executor, ...] = (
    ContentVector(),
    DedupeWindow(),
    DropBots(),
    HashIds(),
    LookupPin(),
    MinDwell(),
    NormaliseText(),
    SemanticId(),
    Sessionise(),
    TimeFeatures(),
    ValidateSchema(),
)
EXECUTORS: Mapping[str, Executor] = {executor.name: executor for executor in _ALL}
