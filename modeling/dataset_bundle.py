"""Opens a dataset bundle for training."""

from functools import partial
from pathlib import Path

from modeling.training_data import TrainingData, from_tables
from sequences.dataset import TRAINING_ROWS_FILE, Dataset
from sequences.training_reader import ReadOptions

REQUESTS_PER_READ = 256


def open_training_data(path: Path) -> TrainingData:
    """Raises: NotFound, Corrupt when there is no dataset at `path` or it is damaged."""
    dataset = Dataset.open(path)
    # The export leaves training rows out when nothing was served.
    has_rows = (path / TRAINING_ROWS_FILE).is_file()
    served = partial(dataset.training_rows, ReadOptions(REQUESTS_PER_READ)) if has_rows else None
    return from_tables(path.name, dataset.histories(), dataset.pins(), served)
