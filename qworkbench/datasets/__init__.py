"""Data sets by name: generators, scikit-learn's tables, shipped real data, and files of the user's own."""

from qworkbench.datasets.base import Dataset, subset
from qworkbench.datasets.registry import DATASETS, DatasetEntry, load_dataset

__all__ = ["DATASETS", "Dataset", "DatasetEntry", "load_dataset", "subset"]
