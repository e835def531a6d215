"""Spacing classes of the definitions, turned into codes over the pins of one slate."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sequences.definitions.spacing_class import SpacingClass
from services.blender.domain.pin_features import PinFeatures
from services.blender.domain.similarity import semantic_codes
from services.blender.domain.spacing import NOT_A_MEMBER, SpacingRule

MEMBER = 0


def applicable(classes: Mapping[str, SpacingClass], surface: str) -> list[SpacingClass]:
    """The classes that hold on a surface, by name."""
    return [each for _, each in sorted(classes.items()) if not each.surfaces or surface in each.surfaces]


def rules_for(
    classes: Sequence[SpacingClass],
    features: PinFeatures,
    pin_ids: Sequence[str],
    tail_pin_ids: Sequence[str],
    position: int,
) -> list[SpacingRule]:
    """One rule per class, for a slate that begins at `position`; a pin that nothing is known of is in no class."""
    every = [*tail_pin_ids, *pin_ids]
    rows = features.rows_of(every)
    rules = []
    for each in classes:
        is_path = each.signal == "semantic_id"
        codes = semantic_codes(features, every) if is_path else _codes(each, features, rows)
        rules.append(
            SpacingRule(
                name=each.name,
                codes_N=codes[len(tail_pin_ids) :],
                tail_codes=codes[: len(tail_pin_ids)].tolist(),
                penalty=each.penalty,
                window=each.window,
                kernel=each.kernel,
                decay=each.decay,
                is_dry_run=each.is_dry_run,
                num_free=each.num_free,
                first_slot=max(0, each.first_slot - position),
                threshold=each.threshold if is_path else 0.0,
            )
        )
    return rules


def _codes(each: SpacingClass, features: PinFeatures, rows: NDArray[np.intp]) -> NDArray[np.int64]:
    if not len(features.pin_ids):
        return np.full(len(rows), NOT_A_MEMBER, dtype=np.int64)
    by_row = _codes_by_row(each, features)
    return np.where(rows >= 0, by_row[rows], NOT_A_MEMBER)


def _codes_by_row(each: SpacingClass, features: PinFeatures) -> NDArray[np.int64]:
    keys = {
        "advertiser": features.advertisers,
        "creator": features.creators,
        "topic": features.topics,
        "content_group": features.content_groups,
    }.get(each.signal)
    if keys is not None:
        return _codes_of_keys(keys)
    return np.where(_is_member(each, features), MEMBER, NOT_A_MEMBER)


def _is_member(each: SpacingClass, features: PinFeatures) -> NDArray[np.bool_]:
    if each.signal == "is_ad":
        return np.array([bool(advertiser) for advertiser in features.advertisers], dtype=np.bool_)
    if each.signal == "safety_label":
        return features.is_labelled_R
    return features.quality_R < each.threshold


def _codes_of_keys(keys: Sequence[str]) -> NDArray[np.int64]:
    code_by_key: dict[str, int] = {}
    codes = [code_by_key.setdefault(key, len(code_by_key)) if key else NOT_A_MEMBER for key in keys]
    return np.array(codes, dtype=np.int64)
