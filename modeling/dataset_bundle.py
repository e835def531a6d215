"""Opens a dataset bundle for training."""

from pathlib import Path

from modeling.training_data import TrainingData, from_tables
from sequences.dataset import Dataset


def open_training_data(path: Path) -> TrainingData:
    """Raises: NotFound, Corrupt when there is no dataset at `path` or it is damaged."""
    dataset = Dataset.open(path)
    return from_tables(path.name, dataset.histories(), dataset.pins(), dataset.served())
