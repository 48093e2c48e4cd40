"""Clips and folders of images to series.

Letters for shapes: T time, C channels, H height (rows), W width (columns), N = C*H*W components.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from darts import TimeSeries
from numpy.typing import DTypeLike, NDArray

from darts_mim._optional import import_optional
from darts_mim.adapters.video.decoding import Clip, open_clip
from darts_mim.adapters.video.images import read_images
from darts_mim.adapters.video.pixels import Look, intensities
from darts_mim.adapters.video.rates import checked_rate
from darts_mim.adapters.video.series import checked_paths, gathered, make_series
from darts_mim.checks import checked_integer
from darts_mim.times import Frequency, Start

logger = logging.getLogger(__name__)

_ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff")


def read_video(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    size: int | tuple[int, int] | None = None,
    grey: bool = False,
    fps: float | None = None,
    start_frame: int = 0,
    stop_frame: int | None = None,
    start: Start | None = None,
    freq: Frequency | None = None,
    dtype: DTypeLike = np.float32,
    cache: str | os.PathLike[str] | None = None,
) -> TimeSeries | list[TimeSeries]:
    """Turn video clips into series, with a component for each channel of each pixel.

    Values are intensities in [0, 1]: 0 is black, 1 the brightest. A clip of one component has the
    channel "grey", all others have "red", "green" and "blue". The rotation and mirroring that a
    phone stores with its clips are applied. Non-square pixels and sound are ignored.

    Parameters
    ----------
    path : path or sequence of paths
        One clip or several, in any format that FFmpeg reads: .avi, .mp4, .mov, .mkv, .webm, .gif
        and many more.
    size : int or (int, int), optional
        Height and width to resize the frames to; one number for a square. Resizing is linear and
        averages over the area of a new pixel; it does not keep proportions. Default: no resizing.
    grey : bool
        Whether to read the luma alone: the clip's own, or 0.299 R + 0.587 G + 0.114 B.
    fps : float, optional
        Frames per second to convert the clip to, by its time stamps: at each time k / fps stands
        the frame that a player shows then, so that frames are repeated or dropped. Clips with a
        variable frame rate need it. Default: each frame once.
    start_frame, stop_frame : int, optional
        Numbers of the first frame to read and of the one after the last, counted at the rate `fps`,
        as in the slice ``series[start_frame:stop_frame]``. Later frames are not decoded.
    start : int, str or datetime, optional
        Time of frame 0 of the clip, as in `frames_to_series`. Default: 0, so that the index counts
        frames. After a date, frames follow each other at the clip's rate.
    freq : int, str, timedelta or pandas offset, optional
        Time from a frame to the next instead, such as ``"5min"`` for a film of radar images.
    dtype : floating dtype
        Type of the values. Default: float32, so that models are trained in float32.
    cache : path, optional
        Folder for clips larger than memory. The frames of each clip are written to a file in
        NumPy's format as they are decoded, and mapped from there. The file appears whole or not
        at all, and replaces that of an earlier call with the same clip and the same arguments.

    Returns
    -------
    TimeSeries or list of TimeSeries
        Shape (T, N, 1). A list, with a series for each clip, if `path` is a sequence. The grid's
        attributes hold the rate, ``["time"]["frames_per_second"]``, which `write_video` uses, and
        the name of the clip, ``["global"]["source"]``.

    Raises
    ------
    FileNotFoundError
        If there is no such clip.
    ImportError
        If PyAV is missing: install the extra ``video``.
    TypeError
        If `dtype` is not floating, or another argument is of the wrong type.
    ValueError
        If `path` is neither a path nor a list of at least one; if FFmpeg cannot read a file or
        finds damage in it; if frames change their size without `size`, are transparent, or have no
        constant rate without `fps`; if the clip ends before `stop_frame`; or if an argument is out
        of its range.

    See Also
    --------
    read_frames : The same for folders of images.
    write_video, write_gif : Series to clips.

    Examples
    --------
    >>> from darts_mim import frames_to_series
    >>> from darts_mim.adapters import write_video
    >>> frames = np.random.default_rng(0).random((50, 3, 12, 16), dtype=np.float32)
    >>> clip = write_video("clip.mkv", frames_to_series(frames), fps=25)
    >>> series = read_video(clip)
    >>> series.shape, series.start_time(), series.end_time()
    ((50, 576, 1), 0, 49)

    Resized, grey, ten frames a second, the second of two seconds, at the time it was filmed:

    >>> series = read_video(
    ...     clip, size=(6, 8), grey=True, fps=10, start_frame=10, start="2026-01-01 12:00"
    ... )
    >>> series.shape, str(series.start_time()), series.freq_str
    ((10, 48, 1), '2026-01-01 12:00:01', '100ms')
    """
    look = Look.checked(size, grey, dtype)
    rate = None if fps is None else checked_rate(fps)
    first = checked_integer("start_frame", start_frame, 0)
    stop = None if stop_frame is None else checked_integer("stop_frame", stop_frame, first + 1)
    series = []
    for one in checked_paths(path):
        with open_clip(one) as clip:
            frames = _frames(clip, rate, first, stop, look)
            origin = (one.resolve(), rate, first, stop, look)
            values = gathered(frames, cache, one.stem, origin)
            shown = rate or clip.constant_rate()
        series.append(make_series(values, shown, one.name, first, start, freq))
    return series[0] if isinstance(path, str | os.PathLike) else series


def read_frames(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    size: int | tuple[int, int] | None = None,
    grey: bool = False,
    fps: float | None = None,
    start: Start | None = None,
    freq: Frequency | None = None,
    dtype: DTypeLike = np.float32,
    cache: str | os.PathLike[str] | None = None,
) -> TimeSeries:
    """Turn the images of a folder into a series, with a frame for each image.

    Values are intensities in [0, 1]: 0 is black, 1 the largest number of the image's bits, 255 for
    8 and 65535 for 16. Grey images have the channel "grey", all others "red", "green" and "blue".
    The rotation that a camera stores with an image is applied.

    Parameters
    ----------
    path : path or sequence of paths
        A folder, of which all PNG, JPEG and TIFF files are read in the order of their names;
        numbers are compared as numbers, so that ``frame2.png`` comes before ``frame10.png``.
        Hidden files and folders in it are ignored, other files with a warning in the log. Or the
        images themselves, in their order. Each page of a TIFF file is a frame.
    size, grey, dtype
        As in `read_video`.
    fps : float, optional
        Frames per second at which the images were taken or are to be shown. `write_video` uses it;
        it changes no frame.
    start : int, str or datetime, optional
        Time of the first frame, as in `frames_to_series`. Default: 0, so that the index counts
        frames. After a date, frames follow each other at the rate `fps`, or as `freq` says.
    freq : int, str, timedelta or pandas offset, optional
        Time from a frame to the next, such as ``"5min"``.
    cache : path, optional
        As in `read_video`: one file for all images.

    Returns
    -------
    TimeSeries
        Shape (T, N, 1).

    Raises
    ------
    FileNotFoundError
        If there is no such folder or image.
    ImportError
        If an image has colours of 16 bits and PyAV is missing: install the extra ``video``.
    TypeError
        If `dtype` is not floating.
    ValueError
        If `path` is neither a path nor a list of at least one; if a folder holds no image; if an
        image is damaged, transparent, or holds numbers without a range, such as floats; or if sizes
        differ without `size`, or grey and coloured images are mixed without `grey`.

    See Also
    --------
    read_video : The same for clips.

    Examples
    --------
    >>> from PIL import Image
    >>> Path("walk").mkdir()
    >>> for number in range(12):
    ...     Image.new("L", (8, 6), color=10 * number).save(f"walk/{number}.png")
    >>> series = read_frames("walk", start="2026-01-01", freq="5min")
    >>> series.shape, str(series.end_time())
    ((12, 48, 1), '2026-01-01 00:55:00')
    >>> series.values()[[2, 10], 0] * 255
    array([ 20., 100.], dtype=float32)
    """
    look = Look.checked(size, grey, dtype)
    rate = None if fps is None else checked_rate(fps)
    paths = checked_paths(path)
    folder = paths[0].parent
    if isinstance(path, str | os.PathLike):
        folder = paths[0]
        paths = _images_in(folder)
    name = folder.resolve().name
    origin = ([path.resolve() for path in paths], look)
    values = gathered(read_images(paths, look), cache, name, origin)
    return make_series(values, rate, name, 0, start, freq)


def natural_order(path: Path) -> tuple[list[Any], str]:
    """Return a key that sorts names by the value of the numbers in them.

    Examples
    --------
    >>> [path.name for path in sorted(map(Path, ["b1", "a10", "a2", "A3"]), key=natural_order)]
    ['a2', 'A3', 'a10', 'b1']
    """
    words: list[Any] = re.split(r"([0-9]+)", path.name.casefold())
    words[1::2] = map(int, words[1::2])
    return words, path.name


def _frames(
    clip: Clip, rate: Fraction | None, first: int, stop: int | None, look: Look
) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the frames (C, H, W) of a span, with their names for messages."""
    reformatter = import_optional("av", "video").video.reformatter.VideoReformatter()
    decoded = clip.frames() if rate is None else clip.frames_at(rate)
    count = 0
    for count, frame in enumerate(islice(decoded, stop), start=1):
        if count > first:
            name = f"frame {count - 1} of {str(clip.path)!r}"
            yield name, intensities(frame, reformatter, look, name)
    if count < (stop or first + 1):
        name = "start_frame" if stop is None else "stop_frame"
        raise ValueError(
            f"`{name}={stop or first}` lies beyond the end of {str(clip.path)!r}, which has "
            f"{count} frames; give a smaller number"
        )
    if rate is None:
        clip.constant_rate()  # here as well, so that no file of a refused clip appears


def _images_in(folder: Path) -> list[Path]:
    """Return the images of a folder in their order."""
    files = {path for path in folder.iterdir() if path.is_file() and path.name[0] != "."}
    images = {path for path in files if path.suffix.lower() in _ENDINGS}
    others = sorted(path.name for path in files - images)
    if not images:
        raise ValueError(
            f"`path`: {str(folder)!r} must hold images ({', '.join(_ENDINGS)}), got {others[:3]}"
        )
    if others:
        logger.warning("Ignored %d files of %s: %s", len(others), folder, ", ".join(others[:5]))
    return sorted(images, key=natural_order)
