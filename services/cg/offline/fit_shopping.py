"""The shopping generator among the others of the whole job: left out where a dataset has no ads or no training rows.

Shapes: U users, V vector width.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modeling.arrays import Floats
from modeling.history_window import windows_at_end
from modeling.interactions import collect
from modeling.training import Progress
from modeling.training_data import from_tables
from sequences.dataset import TRAINING_ROWS_FILE, Dataset
from services.cg.offline.rows_task import RowsTask
from services.cg.offline.shopping_task import PROTOCOL, FittedShopping, fit_shopping_task
from services.cg.offline.training_runtime import HERE


@dataclass(frozen=True)
class ShoppingFiles:
    """The bundle's files, and every user's vector."""

    files: Mapping[str, bytes]
    evaluation: Mapping[str, Mapping[str, float]]
    user_ids: tuple[str, ...]
    user_UV: Floats


def fit_shopping_files(
    dataset: Path, seed: int, checkpoints: Path | None, progress: Progress, *, is_evaluated: bool = True
) -> ShoppingFiles | None:
    """None where there is nothing to learn from. With the same data and seed the result is the same."""
    if not has_shopping(Dataset.open(dataset)):
        return None
    checkpoint = str(checkpoints / "shopping.pt") if checkpoints else ""
    task = RowsTask("shopping", str(dataset), seed, checkpoint=checkpoint)
    if not is_evaluated:
        task = RowsTask("shopping", str(dataset), seed, held_out_share=0.0, checkpoint=checkpoint)
    fitted = fit_shopping_task(task, HERE, progress)
    evaluation = fitted.evaluation()
    user_ids, user_UV = _vectors_of_users(fitted)
    rows = {name: row for name, row in evaluation.get(PROTOCOL, {}).items() if name == "shopping"}
    figures = {name: {k: v for k, v in row.items() if isinstance(v, float)} for name, row in rows.items()}
    return ShoppingFiles(fitted.files(evaluation), figures, user_ids, user_UV)


def has_shopping(dataset: Dataset) -> bool:
    """Whether ads were shown to people, and bought."""
    if not (dataset.path / TRAINING_ROWS_FILE).is_file():
        return False
    ads = {
        pin_id
        for pin_id, advertiser in zip(dataset.pin_ids, dataset.pins().column("advertiser_id").to_pylist(), strict=True)
        if advertiser
    }
    served = dataset.served()
    bought = zip(served.column("pin_id").to_pylist(), served.column("converted").to_pylist(), strict=True)
    return any(is_bought and pin_id in ads for pin_id, is_bought in bought)


def _vectors_of_users(fitted: FittedShopping) -> tuple[tuple[str, ...], Floats]:
    """After everything they did; events on pins that are not known are passed over."""
    dataset, pin_ids = fitted.data.dataset, fitted.data.pin_ids
    histories = from_tables("", dataset.histories(), dataset.pins(), None).histories
    events = collect(histories, pin_ids)
    known = events.keep(events.pin_E < len(pin_ids))
    window = windows_at_end(known, fitted.trainer.model.settings.max_history)
    return events.user_ids, np.asarray(fitted.trainer.user_vectors(window.pin_BL, window.type_BL))
