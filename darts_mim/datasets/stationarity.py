"""Stationary windows, in which motion stays in its place, and non-stationary ones.

Letters for shapes: T time, C channels, H height (rows), W width (columns).
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from darts_mim.datasets.clips import ClipCollection

NONSTATIONARY_FROM: Final = 1.3
"""The least `nonstationarity` of a window that counts as non-stationary.

Set on the ten clips of KTH and the ninety of Weizmann that were at hand; the guide has the figures.
"""


class StationaritySplit(NamedTuple):
    """Numbers of windows, in rising order; each window is in one of the two lists."""

    stationary: list[int]
    nonstationary: list[int]


def nonstationarity(frames: npt.ArrayLike) -> float:
    """Measure how far the motion in a window moves on, in units of its own extent.

    The squared change from each frame to the next is the motion of that moment: a field over the
    grid with a centre and an extent (its standard deviation about the centre, over both axes). A
    line is fitted to the T - 1 centres in time. The result is the way along it over the window,
    divided by the root mean square extent. Arms that box, clap or wave return, and their centre
    goes nowhere; those who walk, jog or run take it with them.

    It is small as well where nothing moves but noise, which has its centre in the middle of the
    picture, and large where an arm takes the whole window to go up once: a window shows no more
    than its own length.

    Parameters
    ----------
    frames
        Numbers of shape (T, H, W) or (T, C, H, W), T at least 3, in any unit. NaN is no motion.

    Returns
    -------
    float
        At least 0, without unit. It does not change with the brightness or the contrast, nor with
        the size of the grid, if the proportions of what it shows stay.

    Raises
    ------
    ValueError
        If `frames` are of another shape or too few.

    Notes
    -----
    The MIM paper (Tables 5 and 6) tests on subsets of KTH that it calls stationary and
    non-stationary, without a criterion. This one is ours. The drift of the mean image between the
    halves of a window, in units of the fluctuation within them, was tried first and does not tell
    the actions apart: a person who has left the place is as different from the picture before as
    an arm that has.

    Examples
    --------
    A spot that swings, and one that passes by:

    >>> t, y, x = np.ogrid[:20, :32, :32]
    >>> swinging = np.exp(-((x - 16 - 4 * np.sin(1.3 * t)) ** 2 + (y - 16) ** 2) / 8)
    >>> passing = np.exp(-((x - 6 - t) ** 2 + (y - 16) ** 2) / 8)
    >>> round(nonstationarity(swinging), 1), round(nonstationarity(passing), 1)
    (0.5, 6.7)
    """
    motion = _motion(frames)
    centres, extents = _moments(motion)
    if not len(centres):
        return 0.0
    time = np.flatnonzero(motion.any(axis=(1, 2))).astype(np.float64)
    time -= time.mean()
    spread = time @ time
    slope = time @ centres / spread if spread else np.zeros(2)
    extent = np.sqrt(np.mean(extents))
    return float(np.hypot(*slope) * len(motion) / extent) if extent else 0.0


def split_by_nonstationarity(
    clips: ClipCollection, *, threshold: float = NONSTATIONARY_FROM
) -> StationaritySplit:
    """Divide windows into stationary and non-stationary ones.

    Parameters
    ----------
    clips
        Windows of frames (T, C, H, W), such as `SeriesWindows`; one is read at a time.
    threshold
        The least `nonstationarity` of a non-stationary window.

    Returns
    -------
    StationaritySplit
        The numbers of both; `SeriesWindows.select` takes them.

    Raises
    ------
    ValueError
        If a window has fewer than 3 frames.

    Examples
    --------
    >>> t, y, x = np.ogrid[:20, :32, :32]
    >>> passing = np.exp(-((x - 6 - t) ** 2 + (y - 16) ** 2) / 8)[:, np.newaxis]
    >>> split_by_nonstationarity([passing, np.zeros_like(passing)])
    StationaritySplit(stationary=[1], nonstationary=[0])
    """
    split = StationaritySplit([], [])
    for i in range(len(clips)):
        part = split.nonstationary if nonstationarity(clips[i]) >= threshold else split.stationary
        part.append(i)
    return split


def _motion(frames: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the squared change to the next frame, summed over channels, (T - 1, H, W)."""
    array: npt.NDArray[Any] = np.asarray(frames)
    if array.ndim not in (3, 4) or len(array) < 3 or 0 in array.shape:
        raise ValueError(
            "`frames` must have shape (T, H, W) or (T, C, H, W) with at least 3 frames, got "
            f"{array.shape}; pass one window, `clips[0]` for instance"
        )
    changes = np.nan_to_num(np.diff(array.astype(np.float64), axis=0)) ** 2
    return changes if changes.ndim == 3 else changes.sum(axis=1)


def _moments(
    motion: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the centres (n, 2) and the variances (n,) of the moments in which something moves."""
    moving = motion[motion.any(axis=(1, 2))]
    moving = moving / moving.sum(axis=(1, 2), keepdims=True)
    _, h, w = moving.shape
    # the sums over the other axis are all that the moments of an axis need
    rows, columns = moving.sum(axis=2), moving.sum(axis=1)
    y, x = np.arange(h), np.arange(w)
    centres = np.stack([rows @ y, columns @ x], axis=1)
    squares = np.stack([rows @ y**2, columns @ x**2], axis=1)
    return centres, (squares - centres**2).sum(axis=1)
