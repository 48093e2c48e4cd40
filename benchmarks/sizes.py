"""The sizes that are measured: those of the paper, and tiny ones to see whether all runs."""

from __future__ import annotations

from typing import NamedTuple


class Setting(NamedTuple):
    """Frames of an experiment: their grid, how many are read and how many are predicted.

    Attributes
    ----------
    name
        How the record calls it.
    channels, height, width
        Size of a frame.
    patch_size
        Side of the patches that frames are folded into.
    batch
        Number of sequences.
    context, horizon
        Number of frames that are read, and of those that are predicted after them.
    """

    name: str
    channels: int
    height: int
    width: int
    patch_size: int
    batch: int = 8
    context: int = 10
    horizon: int = 10

    @property
    def steps(self) -> int:
        """Number of steps of a rollout."""
        return self.context + self.horizon - 1


class Convolution(NamedTuple):
    """A large convolution, whose rate is the best that the machine is taken to reach."""

    batch: int
    channels: int
    kernel_size: int
    side: int


class Sizes(NamedTuple):
    """All sizes of a run.

    Attributes
    ----------
    settings
        Experiments; parts that take one of them take the first.
    widths
        Channels of each layer; parts that take one of them take the first.
    layers, kernel_size
        The rest of a network.
    horizons, grids
        What the cost of a step is followed over.
    window_grids, windows
        Grids of backtests through Darts, and their number of forecasts.
    convolution
        The convolution that gives the best rate.
    """

    settings: tuple[Setting, ...]
    widths: tuple[int, ...]
    layers: int
    kernel_size: int
    horizons: tuple[int, ...]
    grids: tuple[tuple[int, int], ...]
    window_grids: tuple[tuple[int, int], ...]
    windows: int
    convolution: Convolution


PAPER = Sizes(
    settings=(
        Setting("moving_mnist", channels=1, height=64, width=64, patch_size=4),
        Setting("kth", channels=1, height=128, width=128, patch_size=4),
        Setting("taxibj", channels=2, height=32, width=32, patch_size=2, context=4, horizon=4),
    ),
    widths=(64, 128),
    layers=4,
    kernel_size=5,
    horizons=(5, 10, 20, 40),
    grids=((64, 64), (64, 128), (128, 128), (128, 256)),
    window_grids=((64, 64), (128, 128)),
    windows=100,
    convolution=Convolution(batch=32, channels=256, kernel_size=5, side=32),
)

QUICK = Sizes(
    settings=(
        Setting(
            "quick", channels=2, height=12, width=8, patch_size=2, batch=3, context=3, horizon=2
        ),
    ),
    widths=(4,),
    layers=2,
    kernel_size=3,
    horizons=(1, 2, 4),
    grids=((8, 8), (8, 16), (16, 16)),
    window_grids=((12, 8),),
    windows=5,
    convolution=Convolution(batch=2, channels=8, kernel_size=3, side=8),
)
