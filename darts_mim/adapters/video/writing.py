"""Series to clips.

Letters for shapes: C channels, H height (rows), W width (columns).
"""

from __future__ import annotations

import os
import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
from darts import TimeSeries
from numpy.typing import NDArray
from PIL import Image

from darts_mim._optional import import_optional
from darts_mim.adapters.video.encoding import FORMATS, encode
from darts_mim.adapters.video.pictures import Drawing, frame_rate, make_pictures
from darts_mim.adapters.video.rates import hundredths
from darts_mim.files import whole_file

# The times in a Matroska file are rounded to thousandths of a second, those in a GIF to hundredths,
# and viewers slow a GIF down whose frames last less than two of them.
_MOST_FRAMES, _MOST_FRAMES_OF_GIF = 500, 50


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

    Intensities in [0, 1] become bytes. A series of bytes / 255, such as `read_video` returns of
    clips of 8 bits, is given back exactly by a ``.mkv`` file. What is no number, and what the
    grid's mask hides, is black, or light grey with a colour map. Of several samples the median is
    drawn. The clip keeps the rate and the values; its frames lose the times of the series.

    Parameters
    ----------
    path : path
        Where to write; the ending chooses the format. ``.mp4``: H.264 in yuv420p, which players and
        browsers show, with a loss that is hardly seen. Its sides are even: the last row or column
        of an odd one is written twice, with a warning in the log. ``.mkv``: FFV1, without loss.
        The file appears whole or not at all; folders are made as needed.
    series : TimeSeries
        Frames of one channel, which are grey, or of three: red, green and blue.
    fps : float, optional
        Frames to show a second, up to 500. Default: the rate of the clip that the series comes
        from, a forecast of it included.
    channel : int or str, optional
        The channel to draw, by number or name. Default: all.
    vmin, vmax : float, optional
        Values that become black and white, in the unit of the series. What lies outside becomes
        black or white too. Default: 0 and 1, with a warning in the log if values lie outside.
    cmap : str, optional
        Colour map of matplotlib for a single channel. Default: grey.
    scale : int
        Pixels along each side of a cell of the grid: small grids make small pictures.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    ImportError
        If PyAV is missing: ``pip install 'darts-mim[video]'``.
    TypeError
        If `series` is no series, or an argument of the wrong type.
    ValueError
        If `path` has another ending, the series has neither one nor three channels, nothing says
        the rate, the range is empty, or FFmpeg lacks the encoder or cannot write at this rate.

    See Also
    --------
    read_video : The inverse.
    write_gif : A picture that moves, for pages and messages.

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
    if target.suffix.lower() not in FORMATS:
        raise ValueError(
            f"`path` must end in {' or '.join(FORMATS)}, got {str(path)!r}; .mp4 is for players "
            "and browsers, .mkv without loss; for .gif there is `write_gif`"
        )
    av = import_optional("av", "video")  # before the work
    pictures = make_pictures(series, Drawing(channel, vmin, vmax, cmap, scale))
    rate = _checked_rate(frame_rate(series, fps), _MOST_FRAMES)
    with whole_file(target) as draft:
        try:
            encode(draft, pictures, rate)
        except av.FFmpegError as error:
            if isinstance(error, OSError):
                raise  # of the disk, say
            raise ValueError(
                f"`path`: FFmpeg cannot write {str(path)!r} at `fps={float(rate):g}` "
                f"({error.strerror}); try another rate, or .mkv"
            ) from error
    return target


def write_gif(
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
    """Write a series as an endless GIF.

    Grey is exact; colours are reduced to 256 for each frame. Frames that equal the one before them
    are merged with it into one that lasts longer. Time is counted in hundredths of a second: at a
    rate that does not divide 100 some frames last one more than others, so that none of the time
    is lost.

    Parameters
    ----------
    path : path
        Where to write; the name ends in ".gif". The file appears whole or not at all; folders are
        made as needed.
    series : TimeSeries
        Frames of one channel, which are grey, or of three: red, green and blue.
    fps : float, optional
        Frames to show a second, up to 50: viewers slow down beyond. Default: the rate of the clip
        that the series comes from.
    channel, vmin, vmax, cmap, scale
        As in `write_video`.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    TypeError
        If `series` is no series, or an argument of the wrong type.
    ValueError
        If `path` has another ending, the series has neither one nor three channels, nothing says
        the rate, or the range is empty.

    See Also
    --------
    write_video : Clips of any length, and without loss.
    darts_mim.plotting.animate : Truth, forecast and difference side by side.

    Examples
    --------
    >>> from darts_mim import frames_to_series
    >>> frames = np.random.default_rng(0).random((10, 2, 12, 16), dtype=np.float32) * 40
    >>> series = frames_to_series(frames, channel_names=["rain", "wind"])
    >>> write_gif("wind.gif", series, channel="wind", fps=4, vmax=40, cmap="viridis", scale=8).name
    'wind.gif'
    """
    target = Path(path)
    if target.suffix.lower() != ".gif":
        raise ValueError(
            f'`path` must end in ".gif", got {str(path)!r}; rename the file, or write a clip with '
            "`write_video`"
        )
    pictures = make_pictures(series, Drawing(channel, vmin, vmax, cmap, scale))
    rate = _checked_rate(frame_rate(series, fps), _MOST_FRAMES_OF_GIF)
    images = map(_indexed, pictures)
    durations = [10 * step for step in hundredths(len(series), rate)]  # Pillow counts thousandths
    with whole_file(target) as draft:
        try:
            next(images).save(
                draft, save_all=True, append_images=images, duration=durations, loop=0
            )
        except (struct.error, OverflowError) as error:
            raise ValueError(
                f"`fps={float(rate):g}` lets a frame, or several that are alike, last longer than "
                "the 655 s that a GIF can count; show them faster"
            ) from error
    return target


def _checked_rate(rate: Fraction, most: int) -> Fraction:
    if rate > most:
        raise ValueError(
            f"`fps={float(rate):g}` must be at most {most} in this format; leave frames out, with "
            "`series[::2]`, or show them more slowly"
        )
    return rate


def _indexed(picture: NDArray[np.uint8]) -> Image.Image:
    """Return a picture of at most 256 levels or colours."""
    image = Image.fromarray(picture)
    return image if picture.ndim == 2 else image.quantize(256)
