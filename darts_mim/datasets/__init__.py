"""Benchmark data: moving digits, human actions, traffic flow; and clips as training samples.

The files of a data set are read from a folder, and fetched if their authors let a program do so.
"""

from darts_mim.datasets.clips import ClipCollection, ClipTrainingDataset
from darts_mim.datasets.flow_sets import FlowData
from darts_mim.datasets.kth import load_kth
from darts_mim.datasets.kth_list import KTHRange, KTHWindow, kth_ranges, kth_windows
from darts_mim.datasets.mnist import (
    MovingMNIST,
    load_bundled_digits,
    load_mnist_digits,
    load_moving_mnist,
)
from darts_mim.datasets.moving_digits import MovingDigits, bouncing_trajectory
from darts_mim.datasets.stationarity import (
    NONSTATIONARY_FROM,
    StationaritySplit,
    nonstationarity,
    split_by_nonstationarity,
)
from darts_mim.datasets.taxibj import load_taxibj
from darts_mim.datasets.taxinyc import load_nyc_flow, load_taxinyc
from darts_mim.datasets.windows import SeriesWindows, Window

__all__ = [
    "NONSTATIONARY_FROM",
    "ClipCollection",
    "ClipTrainingDataset",
    "FlowData",
    "KTHRange",
    "KTHWindow",
    "MovingDigits",
    "MovingMNIST",
    "SeriesWindows",
    "StationaritySplit",
    "Window",
    "bouncing_trajectory",
    "kth_ranges",
    "kth_windows",
    "load_bundled_digits",
    "load_kth",
    "load_mnist_digits",
    "load_moving_mnist",
    "load_nyc_flow",
    "load_taxibj",
    "load_taxinyc",
    "nonstationarity",
    "split_by_nonstationarity",
]
