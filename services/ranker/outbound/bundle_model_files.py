"""The files of a ranker bundle: what training writes is what a leaf reads."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from chassis.errors import Corrupt
from modeling import calibration, signature
from modeling.arrays import AnyArray
from modeling.calibration import Platt
from modeling.model_bundle import WEIGHTS_FILE, load_weights, model_files
from services.ranker.domain.features import FEATURES, HEADS
from services.ranker.domain.history_ranker import HistoryRanker, from_settings
from services.ranker.domain.history_ranker import signature as signature_of
from services.ranker.domain.hosted_model import HostedModel

GOLDEN = "golden.npz"
GOLDEN_LOGITS = "golden_logits"
EVALUATION = "evaluation.json"
FILE_NAMES = (WEIGHTS_FILE, signature.FILE_NAME, calibration.FILE_NAME, GOLDEN, EVALUATION)


def ranker_files(
    model: HistoryRanker,
    platt_by_name: Mapping[str, Platt],
    golden: Mapping[str, AnyArray],
    evaluation: Mapping[str, Any],
    measured: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, bytes]:
    """Everything a leaf needs. `golden` is one request's prepared tensors, without a request axis; `measured` is what
    was found of each calibration."""
    signed = signature_of(model.settings)
    logits = HostedModel("golden", model.eval(), signed, platt_by_name).logits(golden)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **{**golden, GOLDEN_LOGITS: logits})
    return {
        **model_files(model, signed),
        calibration.FILE_NAME: calibration.to_json(platt_by_name, measured),
        GOLDEN: buffer.getvalue(),
        EVALUATION: json.dumps(evaluation, indent=1).encode(),
    }


def read_ranker(bundle: Path, version: str) -> HostedModel:
    """A model that has answered its golden request. Raises: Corrupt."""
    signed = signature.read(bundle)
    try:
        model = from_settings(signed.settings)
    except (TypeError, KeyError, ValueError) as error:
        raise Corrupt(f"{bundle} has settings no ranker knows: {error}") from error
    if signature_of(model.settings).to_json() != signed.to_json() or not set(signed.input_names) <= FEATURES.keys():
        raise Corrupt(
            f"{bundle} has a signature that is not its model's; train again if it was made before an upgrade",
            field=signature.FILE_NAME,
        )
    if signed.output_names != HEADS:
        raise Corrupt(f"{bundle} has heads {signed.output_names}, known are {HEADS}", field=signature.FILE_NAME)
    load_weights(model, bundle)
    hosted = HostedModel(version, model, signed, calibration.read(bundle))
    hosted.check(*_golden(bundle))
    return hosted


def _golden(bundle: Path) -> tuple[dict[str, AnyArray], Any]:
    try:
        with np.load(bundle / GOLDEN, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        return arrays, arrays.pop(GOLDEN_LOGITS)
    except (OSError, ValueError, KeyError) as error:
        raise Corrupt(f"{bundle / GOLDEN} cannot be read: {error}", field=GOLDEN) from error
