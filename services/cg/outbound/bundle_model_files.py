"""The files of the bundles that generators are read from: what training writes is what serving reads."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from torch import nn

from chassis import strict_json
from chassis.errors import Corrupt
from modeling import signature as signatures
from modeling.arrays import AnyArray, Floats
from modeling.item_to_item import Neighbours
from modeling.model_bundle import load_weights, model_files
from modeling.signature import Signature
from services.cg.domain import two_tower, two_tower_contextual, two_tower_shopping
from services.cg.domain.generators.co_engaged import CoEngagedPins
from services.cg.domain.generators.contextual import ContextualPins
from services.cg.domain.generators.pin_encoder import NewSearch
from services.cg.domain.generators.popular import PopularPins
from services.cg.domain.generators.related import GraphRelatedPins, PinGraph
from services.cg.domain.generators.shopping import ShoppingPins
from services.cg.domain.generators.two_tower import TwoTowerPins
from services.cg.domain.index.live_search import LiveSearch
from services.cg.domain.two_tower import TwoTower
from services.cg.domain.two_tower_contextual import ContextualTwoTower
from services.cg.domain.two_tower_shopping import ShoppingTwoTower

PIN_IDS = "pin_ids.json"
ARRAYS = "arrays.npz"
EVENT_TYPES = "event_types.json"
EVALUATION = "evaluation.json"
Tower = TypeVar("Tower", TwoTower, ContextualTwoTower, ShoppingTwoTower)


def popular_files(
    pin_ids: Sequence[str], count_P: Floats, evaluation: Mapping[str, Any], newest_time_ms: int = 0
) -> dict[str, bytes]:
    """Bundle `popular`: engagements per pin, decayed up to the newest one (epoch milliseconds, 0 = not known)."""
    arrays = _arrays(count_P=count_P, newest_time_ms=np.asarray([newest_time_ms], dtype=np.int64))
    return {PIN_IDS: _json(list(pin_ids)), ARRAYS: arrays, EVALUATION: _json(evaluation)}


def read_popular(bundle: Path, version: str) -> PopularPins:
    """Raises: Corrupt."""
    row_of_pin, arrays = _pins(bundle), _read_arrays(bundle, "count_P", "newest_time_ms")
    count_P = _finite(bundle, arrays["count_P"], len(row_of_pin))
    return PopularPins(row_of_pin, count_P, version, int(arrays["newest_time_ms"][0]))


def co_engaged_files(pin_ids: Sequence[str], neighbours: Neighbours, evaluation: Mapping[str, Any]) -> dict[str, bytes]:
    """Bundle `co_engaged`: the strongest weights per pin."""
    arrays = _arrays(pin_PK=neighbours.pin_PK.astype(np.int32), weight_PK=neighbours.weight_PK)
    return {PIN_IDS: _json(list(pin_ids)), ARRAYS: arrays, EVALUATION: _json(evaluation)}


def read_co_engaged(bundle: Path, version: str) -> CoEngagedPins:
    """Raises: Corrupt."""
    row_of_pin, arrays = _pins(bundle), _read_arrays(bundle, "pin_PK", "weight_PK")
    weight_PK = _finite(bundle, arrays["weight_PK"], len(row_of_pin))
    pin_PK = arrays["pin_PK"].astype(np.int64)
    if pin_PK.shape != weight_PK.shape or (pin_PK.size and not 0 <= pin_PK.min() <= pin_PK.max() < len(row_of_pin)):
        raise Corrupt(f"{bundle / ARRAYS} names pins outside of its own list", field=ARRAYS)
    return CoEngagedPins(row_of_pin, Neighbours(pin_PK, weight_PK), version)


def related_files(
    pin_ids: Sequence[str],
    graph_PG: Floats,
    content_to_graph_CG: Floats,
    graph_weight: float,
    evaluation: Mapping[str, Any],
) -> dict[str, bytes]:
    """Bundle `related`: graph vectors of pins, and how content foretells them."""
    arrays = _arrays(
        graph_PG=graph_PG,
        content_to_graph_CG=content_to_graph_CG,
        graph_weight=np.asarray([graph_weight], dtype=np.float32),
    )
    return {PIN_IDS: _json(list(pin_ids)), ARRAYS: arrays, EVALUATION: _json(evaluation)}


def read_related(bundle: Path, version: str, new_search: NewSearch = LiveSearch) -> GraphRelatedPins:
    """Raises: Corrupt."""
    row_of_pin = _pins(bundle)
    arrays = _read_arrays(bundle, "graph_PG", "content_to_graph_CG", "graph_weight")
    graph_PG = _finite(bundle, arrays["graph_PG"], len(row_of_pin))
    to_graph_CG = _finite(bundle, arrays["content_to_graph_CG"], len(arrays["content_to_graph_CG"]))
    (weight,) = _finite(bundle, arrays["graph_weight"], 1).tolist()
    if graph_PG.ndim != 2 or to_graph_CG.ndim != 2 or graph_PG.shape[1] != to_graph_CG.shape[1] or not 0 <= weight <= 1:
        raise Corrupt(f"{bundle / ARRAYS} holds graph vectors and weights that do not fit", field=ARRAYS)
    return GraphRelatedPins(PinGraph(row_of_pin, graph_PG, to_graph_CG, weight), version, new_search)


def two_tower_files(
    model: TwoTower, pin_ids: Sequence[str], event_types: Sequence[str], evaluation: Mapping[str, Any]
) -> dict[str, bytes]:
    """Bundle `two_tower`: both towers, their vocabulary and signature."""
    return _tower_files(model, two_tower.signature(model.settings), pin_ids, event_types, evaluation)


def read_two_tower(bundle: Path, version: str, new_search: NewSearch = LiveSearch) -> TwoTowerPins:
    """Raises: Corrupt when weights, vocabulary and signature disagree."""
    model, id_row_of_pin, event_types = _read_tower(bundle, two_tower.from_settings)
    return TwoTowerPins(model, id_row_of_pin, event_types, version, new_search)


def contextual_files(
    model: ContextualTwoTower, pin_ids: Sequence[str], event_types: Sequence[str], evaluation: Mapping[str, Any]
) -> dict[str, bytes]:
    """Bundle `contextual`: encoder, context layer, head and item tower, their vocabulary and signature."""
    return _tower_files(model, two_tower_contextual.signature(model.settings), pin_ids, event_types, evaluation)


def read_contextual(
    bundle: Path, version: str, new_search: NewSearch = LiveSearch, *, is_state_stored: bool = False
) -> ContextualPins:
    """Raises: Corrupt when weights, vocabulary and signature disagree."""
    model, id_row_of_pin, event_types = _read_tower(bundle, two_tower_contextual.from_settings)
    return ContextualPins(model, id_row_of_pin, event_types, version, new_search, is_state_stored=is_state_stored)


def shopping_files(
    model: ShoppingTwoTower, pin_ids: Sequence[str], event_types: Sequence[str], evaluation: Mapping[str, Any]
) -> dict[str, bytes]:
    """Bundle `shopping`: both towers, their vocabulary and signature."""
    return _tower_files(model, two_tower_shopping.signature(model.settings), pin_ids, event_types, evaluation)


def read_shopping(bundle: Path, version: str, new_search: NewSearch = LiveSearch) -> ShoppingPins:
    """Raises: Corrupt when weights, vocabulary and signature disagree."""
    model, id_row_of_pin, event_types = _read_tower(bundle, two_tower_shopping.from_settings)
    return ShoppingPins(model, id_row_of_pin, event_types, version, new_search)


def _tower_files(
    model: nn.Module,
    signature: Signature,
    pin_ids: Sequence[str],
    event_types: Sequence[str],
    evaluation: Mapping[str, Any],
) -> dict[str, bytes]:
    names = {PIN_IDS: _json(list(pin_ids)), EVENT_TYPES: _json(list(event_types)), EVALUATION: _json(evaluation)}
    return {**model_files(model, signature), **names}


def _read_tower(bundle: Path, build: Callable[[dict[str, Any]], Tower]) -> tuple[Tower, dict[str, int], list[str]]:
    row_of_pin, event_types = _pins(bundle), _read_json(bundle, EVENT_TYPES)
    try:
        model = build(dict(signatures.read(bundle).settings))
    except TypeError as error:
        raise Corrupt(f"{bundle} has settings its model does not know: {error}") from error
    if (model.settings.num_pins, model.settings.num_event_types) != (len(row_of_pin), len(event_types)):
        raise Corrupt(f"{bundle} has {len(row_of_pin)} pin ids for a model of {model.settings.num_pins}", field=PIN_IDS)
    load_weights(model, bundle)
    return model, {pin_id: row + 1 for pin_id, row in row_of_pin.items()}, event_types


def _pins(bundle: Path) -> dict[str, int]:
    return {str(pin_id): row for row, pin_id in enumerate(_read_json(bundle, PIN_IDS))}


def _read_json(bundle: Path, name: str) -> list[str]:
    try:
        document = strict_json.loads((bundle / name).read_bytes())
    except (OSError, ValueError) as error:
        raise Corrupt(f"{bundle / name} cannot be read: {error}", field=name) from error
    if not isinstance(document, list):
        raise Corrupt(f"{bundle / name} is not a list", field=name)
    return document


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _arrays(**arrays: AnyArray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _read_arrays(bundle: Path, *names: str) -> dict[str, AnyArray]:
    try:
        with np.load(bundle / ARRAYS, allow_pickle=False) as stored:
            return {name: stored[name] for name in names}
    except (OSError, ValueError, KeyError) as error:
        raise Corrupt(f"{bundle / ARRAYS} cannot be read: {error}", field=ARRAYS) from error


def _finite(bundle: Path, values: AnyArray, num_rows: int) -> Floats:
    numbers = values.astype(np.float32)
    if len(numbers) != num_rows or not np.isfinite(numbers).all():
        raise Corrupt(f"{bundle / ARRAYS} holds {len(numbers)} rows for {num_rows} pins, or NaN or Inf", field=ARRAYS)
    return numbers
