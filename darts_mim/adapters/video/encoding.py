"""Series to pictures, and pictures to clips.

Letters for shapes: T time, S samples, C channels, H height (rows), W width (columns).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np
from darts import TimeSeries
from numpy.typing import NDArray

from darts_mim._optional import import_optional
from darts_mim.adapters.video.rates import checked_rate
from darts_mim.adapters.video.series import CHANNELS, RATE
from darts_mim.checks import checked_integer
from darts_mim.files import whole_file
from darts_mim.grid import Grid, grid_of
from darts_mim.series import series_to_frames

logger = logging.getLogger(__name__)

_PEAK = 255
_MISSING_LEVEL = 217  # the light grey of missing cells in the figures of this package

# Codec, its options, and the pixel formats of grey and of colours.
_FORMATS: Final = {
    # What all players and browsers show. A constant rate factor of 18 counts as free of visible
    # loss.
    ".mp4": ("libx264", {"crf": "18"}, "yuv420p", "yuv420p"),
    # Without loss. Version 1 has no slices: those of version 3 depend on the number of processors,
    # and leave no room for the smallest frames.
    ".mkv": ("ffv1", {"level": "1"}, "gray", "bgr0"),
}
# ITU-R BT.709 in the limited range, as players expect it; by its number in ITU-T H.273.
_COLOUR_TAGS = {"color_primaries": 1, "color_trc": 1, "colorspace": 1, "color_range": 1}
_MOST_FRAMES = 500  # per second: the times in a Matroska file are rounded to milliseconds


def write_video(
    path: str | os.PathLike[str],
    series: TimeSeries,
    *,
    fps: float | None = None,
    channel: int | str | None = None,
    vmin: float | None = None,
    vmax: float | None = None,
    cmap: str | None = None,
    scale: int = 1,
) -> Path:
    """Write a series as a video clip, for players and browsers or without loss.

    Intensities in [0, 1] become bytes. A ``.mkv`` file returns a series of bytes / 255, as
    `read_video` makes it of 8-bit clips, exactly. Missing values and masked cells are black, or
    light grey with a colour map. Of several samples the median is drawn. The clip keeps the rate;
    it does not store the times of the series.

    Parameters
    ----------
    path : path
        Where to write; the ending chooses the format. ``.mp4``: H.264 in yuv420p, which players and
        browsers show, with a hardly visible loss. It needs even sides, so that the last row or
        column of an odd side is repeated. ``.mkv``: FFV1, without loss. The file appears whole or
        not at all; folders are made as needed.
    series : TimeSeries
        Frames of one channel, which are grey, or of three: red, green and blue.
    fps : float, optional
        Frames to show per second, up to 500. Default: the rate of the clip that the series comes
        from, also for a forecast of it.
    channel : int or str, optional
        The channel to draw, by number or name. Default: all.
    vmin, vmax : float, optional
        Values that become black and white, in the unit of the series. Values outside are cut off.
        Default: 0 and 1, with a warning in the log if values lie outside.
    cmap : str, optional
        Colour map of matplotlib for a single channel. Default: grey.
    scale : int
        Pixels along each side of a cell of the grid.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    ImportError
        If PyAV is missing: install the extra ``video``.
    ValueError
        If `path` has another ending, the series has neither one nor three channels, the rate is not
        known, or the range is empty.

    See Also
    --------
    read_video : The inverse.
    write_gif : A GIF, for pages and messages.

    Examples
    --------
    >>> from darts_mim import frames_to_series
    >>> from darts_mim.adapters import read_video
    >>> frames = np.random.default_rng(0).integers(0, 256, (10, 1, 12, 16), dtype=np.uint8)
    >>> series = frames_to_series(frames / np.float32(255))
    >>> path = write_video("clips/noise.mkv", series, fps=12.5)
    >>> np.array_equal(read_video(path).values(), series.values())
    True
    """
    target = Path(path)
    if target.suffix.lower() not in _FORMATS:
        raise ValueError(f"`path` must end in {' or '.join(_FORMATS)}, got {str(path)!r}")
    rate = frame_rate(series, fps, _MOST_FRAMES)
    pictures = pictures_of(series, channel, vmin, vmax, cmap, scale)
    with whole_file(target) as draft:
        encode(draft, pictures, rate)
    return target


def pictures_of(
    series: TimeSeries,
    channel: int | str | None,
    vmin: float | None,
    vmax: float | None,
    cmap: str | None,
    scale: int,
) -> Iterator[NDArray[np.uint8]]:
    """Draw the frames of a series; of several samples the median.

    Parameters
    ----------
    series, channel, vmin, vmax, cmap, scale
        As in `write_video`.

    Yields
    ------
    array
        Of shape (H, W, 1) for grey or (H, W, 3) for colours, in pixels.

    Raises
    ------
    ValueError
        If channels, range, colour map or scale do not fit.
    """
    frames = series_to_frames(series, layout="TSHWC")
    grid = grid_of(series)
    channels = _channels(grid, channel)
    low, high = (0.0 if vmin is None else vmin), (1.0 if vmax is None else vmax)
    if not low < high:
        raise ValueError(f"`vmin` must be below `vmax`, got {low} and {high}")
    palette = None
    if cmap is not None:
        from matplotlib import colormaps  # most clips are written without one

        if channels == slice(None) and grid.channels > 1:
            raise ValueError(f"`cmap={cmap!r}` needs one `channel`, got all of {grid}")
        palette = colormaps[cmap](np.linspace(0, 1, _PEAK + 1), bytes=True)[:, :3]
    known = True if grid.mask is None else grid.mask[..., np.newaxis]
    checked_integer("scale", scale)
    is_cut = False
    for samples in frames[..., channels]:
        shares = (np.median(samples, axis=0) - low) / (high - low)
        is_known = np.isfinite(shares) & known
        shares = np.where(is_known, shares, 0)
        is_cut |= bool((np.abs(shares - 0.5) > 0.5 + 0.5 / _PEAK).any())
        picture = np.rint(np.clip(shares, 0, 1) * _PEAK).astype(np.uint8)
        if palette is not None:
            picture = np.where(is_known, palette[picture[..., 0]], np.uint8(_MISSING_LEVEL))
        yield picture.repeat(scale, 0).repeat(scale, 1)
    if is_cut and None in (vmin, vmax):
        logger.warning("Cut off values outside %g to %g; pass `vmin` and `vmax`.", low, high)


def frame_rate(series: TimeSeries, fps: float | None, most: int) -> Fraction:
    """Return the frames per second to show a series at: those given, or those of its clip."""
    given: Any = grid_of(series).attributes_of("time").get(RATE) if fps is None else fps
    if given is None:
        raise ValueError("`fps` must be given, because `series` comes from no clip; pass fps=4")
    return checked_rate(given, most)


def encode(path: Path, pictures: Iterable[NDArray[np.uint8]], rate: Fraction) -> None:
    """Encode pictures as a clip.

    Parameters
    ----------
    path
        The file; its ending, ``.mp4`` or ``.mkv``, chooses the format.
    pictures
        At least one, all of shape (H, W, 1), grey, or all of shape (H, W, 3), colours.
    rate
        Pictures per second.

    Raises
    ------
    ImportError
        If PyAV is not installed.
    """
    av = import_optional("av", "video")
    codec, options, grey, colours = _FORMATS[path.suffix.lower()]
    is_mp4 = codec == "libx264"
    pictures = map(_evened, pictures) if is_mp4 else iter(pictures)
    first = next(pictures)
    given = "gray" if first.shape[-1] == 1 else "rgb24"
    # players show a clip before all of it is there
    container_options = {"movflags": "+faststart"} if is_mp4 else {}
    # FFmpeg takes a name before a colon for a protocol
    with av.open(str(path.absolute()), "w", options=container_options) as container:
        stream = container.add_stream(codec, rate=rate, options=dict(options))
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt = grey if given == "gray" else colours
        stream.codec_context.time_base = 1 / rate
        if is_mp4:
            for setting, value in _COLOUR_TAGS.items():
                setattr(stream.codec_context, setting, value)
        # of grey the matrix of colours changes nothing but the rounding
        matrix: Any = "ITU709" if is_mp4 and given == "rgb24" else None
        for number, picture in enumerate(chain([first], pictures)):
            pixels = picture[..., 0] if given == "gray" else picture
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format=given)
            frame = frame.reformat(format=stream.pix_fmt, dst_colorspace=matrix, threads=1)
            frame.pts, frame.time_base = number, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _evened(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Repeat the last row or column of a side with an odd number of pixels."""
    height, width, _ = picture.shape
    return np.pad(picture, [(0, height % 2), (0, width % 2), (0, 0)], mode="edge")


def _channels(grid: Grid, channel: int | str | None) -> Any:
    """Return what selects the channels to draw."""
    if channel is None and grid.channels in CHANNELS:
        return slice(None)
    names: list[Any] = list(grid.channel_names)
    number = names.index(channel) if channel in names else channel
    if number not in range(grid.channels):
        raise ValueError(f"`channel` must be one of {names} or its number, got {channel!r}")
    return [number]
