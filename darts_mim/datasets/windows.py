"""Sliding windows of series as clips, by their number.

Letters for shapes: T time, C channels, H height (rows), W width (columns).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from darts import TimeSeries

from darts_mim.checks import checked_integer
from darts_mim.datasets.clips import IndexedClips
from darts_mim.grid import Grid, grid_of
from darts_mim.series import series_to_frames


class Window(NamedTuple):
    """Where a window lies."""

    series: int
    """Number of the series, from 0."""

    start: int
    """Number of its first frame in the series, from 0."""


class SeriesWindows(IndexedClips):
    """Windows of constant length of some series, each as a clip of frames (T, C, H, W).

    A read-only collection, ordered by series and by time. Windows lie within one series and are
    views of it: memory maps stay on the disk until a window is asked for.

    Parameters
    ----------
    series
        One series or more, of one grid, not stochastic.
    length
        Frames of a window, T. Series that are shorter have none.
    stride
        Frames from the start of a window to that of the next in the same series; one number, or
        one for each series.
    windows
        Instead, the windows to take. `stride` is then not used.

    Raises
    ------
    TypeError
        If `length` or a stride is no integer.
    ValueError
        If one of them is below 1, there is no series, one is stochastic, grids differ, strides are
        not one for each series, or a window does not lie within its series.

    Examples
    --------
    >>> from darts_mim import frames_to_series
    >>> series = [frames_to_series(np.zeros((length, 1, 3, 4))) for length in (7, 3, 6)]
    >>> clips = SeriesWindows(series, length=5, stride=2)
    >>> len(clips), clips[2].shape
    (3, (5, 1, 3, 4))
    >>> [tuple(window) for window in clips.windows]
    [(0, 0), (0, 2), (2, 0)]
    >>> len(clips.select([0, 2]))
    2
    """

    def __init__(
        self,
        series: Sequence[TimeSeries],
        length: int,
        stride: int | Sequence[int] = 1,
        *,
        windows: Iterable[tuple[int, int]] | None = None,
    ) -> None:
        self.length = checked_integer("length", length)
        self.series = list(series)
        grids = [grid_of(one) for one in self.series]
        if not grids or any(grid != grids[0] for grid in grids):
            raise ValueError(
                f"`series` must be at least one series of one grid, got {list(map(str, grids))}; "
                "bring them to one size, or make windows of each"
            )
        if any(one.is_stochastic for one in self.series):
            raise ValueError("`series` must not be stochastic; pass `series.mean(axis=2)`")
        self._frames = [series_to_frames(one) for one in self.series]
        if windows is None:
            strides = stride if isinstance(stride, Sequence) else [stride] * len(self.series)
            windows = [
                (k, start)
                for k, (frames, step) in enumerate(zip(self._frames, strides, strict=True))
                for start in window_starts(len(frames), length, step)
            ]
        self.windows = [Window(*each) for each in windows]
        for k, start in self.windows:
            if not (0 <= k < len(self.series) and 0 <= start <= len(self.series[k]) - self.length):
                raise ValueError(
                    f"`windows` must lie within their series, got {(k, start)} with "
                    f"length={length} and series of {list(map(len, self.series))} frames"
                )

    @property
    def grid(self) -> Grid:
        """The grid of the series."""
        return grid_of(self.series[0])

    def __len__(self) -> int:
        return len(self.windows)

    def select(self, indices: Iterable[int]) -> SeriesWindows:
        """Return some of the windows, in the order of their indices.

        Parameters
        ----------
        indices
            Their numbers.

        Returns
        -------
        SeriesWindows
            The same series, with these windows.
        """
        return SeriesWindows(self.series, self.length, windows=[self.windows[i] for i in indices])

    def to_series(self, indices: Iterable[int] | None = None) -> list[TimeSeries]:
        """Make series of windows, for example of a fixed test set, and keep them in memory.

        Parameters
        ----------
        indices
            Which windows; by default all.

        Returns
        -------
        list of TimeSeries
            Slices of the series, with their times, metadata and static covariates, in float32.

        Raises
        ------
        IndexError
            If an index is out of range.
        """
        chosen = range(len(self)) if indices is None else indices
        windows = [self.windows[i] for i in chosen]
        slices = [self.series[k][start : start + self.length] for k, start in windows]
        return [one if one.dtype == np.float32 else one.astype("float32") for one in slices]

    def _clip(self, i: int) -> npt.NDArray[np.float32]:
        k, start = self.windows[i]
        return np.asarray(self._frames[k][start : start + self.length], dtype=np.float32)


def window_starts(frames: int, length: int, stride: int) -> range:
    """Return where windows begin, from 0; none where `frames` are fewer than `length`.

    Examples
    --------
    >>> list(window_starts(frames=10, length=4, stride=3)), list(window_starts(3, 4, 1))
    ([0, 3, 6], [])
    """
    return range(0, frames - length + 1, checked_integer("stride", stride))
