"""Series to pictures of bytes.

Letters for shapes: T time, C channels, H height (rows), W width (columns).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from numbers import Integral
from typing import Any

import numpy as np
from darts import TimeSeries
from numpy.typing import NDArray

from darts_mim.adapters.video.rates import checked_rate
from darts_mim.adapters.video.series import CHANNELS, RATE
from darts_mim.checks import checked_integer
from darts_mim.grid import Grid, grid_of
from darts_mim.series import series_to_frames

logger = logging.getLogger(__name__)

_PEAK = 255
_MISSING_LEVEL = 217  # the light grey of missing cells in the figures of this package


@dataclass(frozen=True)
class Drawing:
    """How the values of a series become bytes.

    Attributes
    ----------
    channel
        The channel to draw, by number or name; None for all, which must be one or three.
    vmin, vmax
        The values of black and white, or of the ends of the colour map. None for 0 and 1.
    cmap
        Name of matplotlib's colour map for a single channel; None for grey.
    scale
        Pixels along each side of a cell.
    """

    channel: int | str | None
    vmin: float | None
    vmax: float | None
    cmap: str | None
    scale: int


def make_pictures(series: TimeSeries, drawing: Drawing) -> Iterator[NDArray[np.uint8]]:
    """Draw the frames of a series one after the other.

    Parameters
    ----------
    series
        A series; of several samples the median is drawn.
    drawing
        How.

    Returns
    -------
    iterator of array
        Of shape (H, W) for grey or (H, W, 3) for colours, in pixels.

    Raises
    ------
    TypeError
        If `series` is no series, or `scale` no integer.
    ValueError
        If channels, range, colour map or scale are not as they should be.
    """
    if not isinstance(series, TimeSeries):
        raise TypeError(
            f"`series` must be a TimeSeries, got {type(series).__name__}; of a list take one, and "
            "make frames a series with `frames_to_series`"
        )
    if len(series) == 0:
        raise ValueError("`series` must hold at least one frame, got none")
    checked_integer("scale", drawing.scale)
    channels = _checked_channels(grid_of(series), drawing)
    palette = None if drawing.cmap is None else _palette(drawing.cmap)
    return _draw(series, drawing, channels, _checked_range(drawing), palette)


def frame_rate(series: TimeSeries, fps: float | None) -> Fraction:
    """Return the frames per second to show a series at: as told, or as its clip was."""
    if fps is None:
        fps = grid_of(series).attributes_of("time").get(RATE)
    if fps is None:
        raise ValueError(
            "`fps` must say how many frames to show a second, because `series` comes from no clip "
            "that does; pass for example fps=4"
        )
    return checked_rate(fps)


def _draw(
    series: TimeSeries,
    drawing: Drawing,
    channels: slice,
    limits: tuple[float, float],
    palette: NDArray[np.uint8] | None,
) -> Iterator[NDArray[np.uint8]]:
    mask = grid_of(series).mask
    total = outside = 0
    for samples in series_to_frames(series, layout="TSCHW")[:, :, channels]:
        frame = samples[0] if len(samples) == 1 else np.median(samples, axis=0)
        shares = (frame - limits[0]) / (limits[1] - limits[0])
        known = np.isfinite(shares) if mask is None else np.isfinite(shares) & mask
        shares = np.where(known, shares, 0)
        total += shares.size
        outside += int((np.abs(shares - 0.5) > 0.5 + 0.5 / _PEAK).sum())
        levels = np.rint(np.clip(shares, 0, 1) * _PEAK).astype(np.uint8)
        if palette is not None:
            picture = np.where(known[0, ..., np.newaxis], palette[levels[0]], _MISSING_LEVEL)
        else:
            picture = levels[0] if len(levels) == 1 else np.moveaxis(levels, 0, -1)
        yield np.ascontiguousarray(
            picture.repeat(drawing.scale, 0).repeat(drawing.scale, 1), np.uint8
        )
    if outside and None in (drawing.vmin, drawing.vmax):
        logger.warning(
            "Cut off %d of %d values that lie outside %g to %g; pass `vmin` and `vmax` for values "
            "of another range.",
            outside,
            total,
            *limits,
        )


def _checked_channels(grid: Grid, drawing: Drawing) -> slice:
    """Return which channels are drawn."""
    channel: Any = drawing.channel
    if channel is None:
        if grid.channels not in CHANNELS:
            raise ValueError(
                f"`series` must have one channel, for grey, or three, for red, green and blue, got "
                f"{grid}; choose one, for example channel={grid.channel_names[0]!r}"
            )
        chosen = slice(0, grid.channels)
    elif isinstance(channel, str) and channel in grid.channel_names:
        number = grid.channel_names.index(channel)
        chosen = slice(number, number + 1)
    elif isinstance(channel, Integral) and channel in range(grid.channels):
        chosen = slice(int(channel), int(channel) + 1)
    else:
        raise ValueError(
            f"`channel` must be a number in 0..{grid.channels - 1} or a name of {grid}, got "
            f"{channel!r}"
        )
    if drawing.cmap is not None and chosen.stop - chosen.start > 1:
        raise ValueError(
            f"`cmap={drawing.cmap!r}` colours a single channel, got {grid}; choose one, for "
            f"example channel={grid.channel_names[0]!r}, or leave the colour map out"
        )
    return chosen


def _checked_range(drawing: Drawing) -> tuple[float, float]:
    low = 0.0 if drawing.vmin is None else float(drawing.vmin)
    high = 1.0 if drawing.vmax is None else float(drawing.vmax)
    if not (np.isfinite([low, high]).all() and low < high):
        raise ValueError(
            f"`vmin` must be below `vmax` and both finite, got {low:g} and {high:g}; set both, or "
            "neither for intensities from 0 to 1"
        )
    return low, high


def _palette(cmap: str) -> NDArray[np.uint8]:
    """Return the colours (256, 3) of a colour map."""
    from matplotlib import colormaps  # most clips are written without one

    if cmap not in colormaps:
        raise ValueError(
            f'`cmap` must name a colour map of matplotlib, got {cmap!r}; use for instance "viridis"'
        )
    colours: NDArray[np.uint8] = colormaps[cmap](np.linspace(0, 1, _PEAK + 1), bytes=True)
    return colours[:, :3]
