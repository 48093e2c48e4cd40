"""Windows of series as clips: what a sliding window sees, by its number.

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
        self.series = _checked_series(series)
        self._frames = [series_to_frames(one) for one in self.series]
        if windows is None:
            windows = _all_windows([len(one) for one in self._frames], length, stride)
        self.windows = [Window(*each) for each in windows]
        for window in self.windows:
            self._check(window)

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
        """Make series of windows and keep them in memory: a fixed test set, say.

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
        windows = [self.windows[self._position(i)] for i in chosen]
        slices = [self.series[k][start : start + self.length] for k, start in windows]
        return [one if one.dtype == np.float32 else one.astype("float32") for one in slices]

    def _clip(self, i: int) -> npt.NDArray[np.float32]:
        k, start = self.windows[i]
        return np.asarray(self._frames[k][start : start + self.length], dtype=np.float32)

    def _check(self, window: Window) -> None:
        k, start = window
        if not 0 <= k < len(self._frames):
            raise ValueError(
                f"`windows` must name one of {len(self._frames)} series, got {tuple(window)}; "
                "count from 0"
            )
        count = len(self._frames[k])
        if not 0 <= start <= count - self.length:
            raise ValueError(
                f"`windows` must lie within their series, got {tuple(window)} of length "
                f"{self.length} in series {k} of {count} frames; take others, or a smaller `length`"
            )


def window_starts(frames: int, length: int, stride: int) -> range:
    """Return where windows begin, from 0; none where `frames` are fewer than `length`.

    Examples
    --------
    >>> list(window_starts(frames=10, length=4, stride=3)), list(window_starts(3, 4, 1))
    ([0, 3, 6], [])
    """
    return range(0, frames - length + 1, stride)


def _all_windows(
    lengths: Sequence[int], length: int, stride: int | Sequence[int]
) -> list[tuple[int, int]]:
    strides = list(stride) if isinstance(stride, Sequence) else [stride] * len(lengths)
    if len(strides) != len(lengths):
        raise ValueError(
            f"`stride` must be one number or one for each of {len(lengths)} series, got "
            f"{len(strides)}; pass for example stride=1"
        )
    steps = [checked_integer("stride", one) for one in strides]
    return [
        (k, start)
        for k, (frames, step) in enumerate(zip(lengths, steps, strict=True))
        for start in window_starts(frames, length, step)
    ]


def _checked_series(series: Sequence[TimeSeries]) -> list[TimeSeries]:
    held = list(series)
    if not held:
        raise ValueError("`series` must not be empty; pass at least one series")
    first = grid_of(held[0])
    for k, one in enumerate(held):
        if one.n_samples > 1:
            raise ValueError(
                f"`series` must not be stochastic, got {one.n_samples} samples in series {k}; pass "
                "its mean, `series.mean(axis=2)`, or a series for each sample"
            )
        if grid_of(one) != first:
            raise ValueError(
                f"`series` must have one grid, got {first} for series 0 and {grid_of(one)} for "
                f"series {k}; bring them to one size, or make windows of each"
            )
    return held
