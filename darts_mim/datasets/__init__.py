"""Data sets: handwritten digits, sequences of bouncing digits, clips as Darts training samples."""

from darts_mim.datasets.clips import ClipCollection, ClipTrainingDataset
from darts_mim.datasets.digits import load_bundled_digits, load_mnist_digits
from darts_mim.datasets.moving_digits import MovingDigits, bouncing_trajectory

__all__ = [
    "ClipCollection",
    "ClipTrainingDataset",
    "MovingDigits",
    "bouncing_trajectory",
    "load_bundled_digits",
    "load_mnist_digits",
]
