"""Data sets of machine sound, each read into the same clips: DCASE Task 2 (2020 to 2025), MIMII, folders, log-mel."""

from humwatch_training.datasets.clip import ArraySource, DataClip, FileSource
from humwatch_training.datasets.dataset import DataSet, DataSetKind
from humwatch_training.datasets.opening import KINDS, open_dataset
from humwatch_training.datasets.reading import read_log_mel

__all__ = [
    "KINDS",
    "ArraySource",
    "DataClip",
    "DataSet",
    "DataSetKind",
    "FileSource",
    "open_dataset",
    "read_log_mel",
]
