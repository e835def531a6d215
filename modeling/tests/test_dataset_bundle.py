"""A dataset bundle becomes the arrays it was written from."""

from pathlib import Path

import numpy as np
import pytest

from chassis.errors import Corrupt
from modeling.dataset_bundle import open_training_data
from modeling.interactions import History
from modeling.tests.dataset_files import write_dataset
from modeling.training_data import PinTable, TrainingData

DATA = TrainingData(
    "dataset-small",
    (History("u1", ["a", "b"], ["click", "save"], [1, 2]), History("u2", [], [], [])),
    PinTable(("a", "b"), np.eye(2, 4, dtype=np.float32), (("art",), ()), np.asarray([5, 0]), np.asarray([0, 7])),
    None,
)


def test_files_come_back_as_they_were_written(tmp_path: Path) -> None:
    data = open_training_data(write_dataset(tmp_path / "dataset-small", DATA))
    assert data.name == "dataset-small"
    assert data.histories == DATA.histories
    assert data.pins.topics == DATA.pins.topics
    np.testing.assert_array_equal(data.pins.content_PW, DATA.pins.content_PW)
    assert data.pins.price_micros_P.tolist() == [0, 7]
    assert data.served is None, "an empty table of served pins is no served pins"


def test_a_missing_file_is_corrupt(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "broken", DATA)
    (folder / "pins.parquet").unlink()
    with pytest.raises(Corrupt, match=r"pins\.parquet"):
        open_training_data(folder)
