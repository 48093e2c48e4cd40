"""Clips to series.

Letters for shapes: T time, C channels, H height (rows), W width (columns), N = C*H*W components.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from darts import TimeSeries
from numpy.typing import DTypeLike, NDArray

from darts_mim.adapters.video.decoding import Clip, open_clip
from darts_mim.adapters.video.pixels import (
    checked_float_type,
    checked_frame_size,
    decoded_pixels,
    intensities,
)
from darts_mim.adapters.video.rates import Moment, at_rate, checked_rate, constant_rate
from darts_mim.adapters.video.series import checked_paths, make_series, same_shape
from darts_mim.adapters.video.storing import in_file, in_memory
from darts_mim.times import Frequency, Start


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
    """Turn video clips into series, a component for each channel of each pixel.

    Values are intensities in [0, 1]: 0 is black, 1 the brightest. Clips of one component stay grey
    and have the channel "grey", all others have "red", "green" and "blue". Frames lie as they are
    to be looked at: the turn and the mirror image that a phone notes beside its clips are applied.
    Pixels that are not square stay what they are. Sound is left out.

    Parameters
    ----------
    path : path or sequence of paths
        One clip or several, in any format that FFmpeg reads: .avi, .mp4, .mov, .mkv, .webm, .gif
        and many more.
    size : int or (int, int), optional
        Height and width to bring the frames to; one number for a square. A frame is resized
        linearly, averaging over what a new pixel covers, and its proportions are not kept. Default:
        as they are.
    grey : bool
        Whether to read the brightness alone: the luma of the clip, which of red, green and blue is
        0.299 R + 0.587 G + 0.114 B.
    fps : float, optional
        Frames per second to bring the clip to, by its time stamps: at each time k / fps stands the
        frame that a player shows then, so that frames are repeated or left out. Clips whose frames
        are not shown for equally long need it. Default: all frames, once each.
    start_frame, stop_frame : int, optional
        Numbers of the first frame to read and of the one after the last, counted at the rate `fps`,
        as in the slice ``series[start_frame:stop_frame]``. What comes after is not decoded.
    start : int, str or datetime, optional
        Time of the clip's frame 0, as in `frames_to_series`. Default: 0, so that the index counts
        frames. After a date frames follow each other at the clip's rate.
    freq : int, str, timedelta or pandas offset, optional
        Instead, the time from a frame to the next, such as ``"5min"`` for a film of radar images.
    dtype : floating dtype
        Type of the values: float32, so that models are trained in float32.
    cache : path, optional
        Folder for a file in the format of NumPy for each clip, which the frames are written to as
        they are decoded, and mapped from: for clips larger than memory. The file appears whole or
        not at all, and replaces that of an earlier call with the same clip and the same arguments.

    Returns
    -------
    TimeSeries or list of TimeSeries
        Shape (T, N, 1). A list, with a series for each clip, if and only if `path` is a sequence.
        The grid's attributes hold the rate, ``["time"]["frames_per_second"]``, which `write_video`
        takes, and the name of the clip, ``["global"]["source"]``.

    Raises
    ------
    FileNotFoundError
        If there is no such clip.
    ImportError
        If PyAV is missing: ``pip install 'darts-mim[video]'``.
    TypeError
        If `path` is neither a path nor a sequence of them, `dtype` is not floating, or another
        argument is of the wrong type.
    ValueError
        If a file is no clip, is empty, damaged or cut off, so that a frame would be missing or
        guessed; if its frames change their size, are transparent, or are not shown for equally long
        without `fps`; if it ends before `stop_frame`; or if an argument is out of its range.

    See Also
    --------
    read_frames : The same for images in a folder.
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
    >>> abs(series.values() - frames.reshape(50, -1)).max().round(4)
    np.float32(0.002)

    Smaller, grey, ten frames a second, the second of two seconds, at the time it was filmed:

    >>> series = read_video(
    ...     clip, size=(6, 8), grey=True, fps=10, start_frame=10, start="2026-01-01 12:00"
    ... )
    >>> series.shape, str(series.start_time()), series.freq_str
    ((10, 48, 1), '2026-01-01 12:00:01', '100ms')
    """
    reading = _Reading(
        size=checked_frame_size(size),
        grey=bool(grey),
        fps=None if fps is None else checked_rate(fps),
        span=_checked_span(start_frame, stop_frame),
        dtype=checked_float_type(dtype),
    )
    paths = checked_paths(path, "read_video")
    series = [_read(one, reading, start, freq, cache) for one in paths]
    return series[0] if isinstance(path, str | os.PathLike) else series


@dataclass(frozen=True)
class _Reading:
    """What is read of a clip, and as what."""

    size: tuple[int, int] | None
    grey: bool
    fps: Fraction | None
    span: tuple[int, int | None]
    dtype: np.dtype[Any]


def _read(
    path: Path, reading: _Reading, start: Start | None, freq: Frequency | None, cache: Any
) -> TimeSeries:
    times: list[Fraction | None] = []
    with open_clip(path) as clip:
        frames = same_shape(_frames(clip, reading, times))
        if cache is None:
            array = in_memory(frames, reading.dtype)
        else:
            array = in_file(
                frames, reading.dtype, Path(cache), path.stem, (path.resolve(), reading)
            )
        rate = reading.fps or constant_rate(times, clip.tick, clip.rate, path)
    first = reading.span[0]
    return make_series(array, rate=rate, source=path.name, first=first, start=start, freq=freq)


def _frames(
    clip: Clip, reading: _Reading, times: list[Fraction | None]
) -> Iterator[tuple[str, NDArray[np.floating[Any]]]]:
    """Yield the frames (C, H, W) of a span with their names, and note when those up to its end are.

    The times are checked here as well, so that no file is left of a clip that is refused.
    """
    moments = _noted(clip.moments(), times)
    if reading.fps is not None:
        moments = at_rate(moments, reading.fps, clip.tick, clip.rate, clip.path)
    for number, moment in _within(moments, *reading.span, clip.path):
        name = f"frame {number} of {str(clip.path)!r}"
        pixels = decoded_pixels(moment.frame, clip.reformatter, reading.grey, name)
        peak = np.iinfo(pixels.dtype).max
        yield name, intensities(pixels, reading.size, reading.dtype, peak)
    if reading.fps is None:
        constant_rate(times, clip.tick, clip.rate, clip.path)


def _noted(moments: Iterable[Moment], times: list[Fraction | None]) -> Iterator[Moment]:
    for moment in moments:
        times.append(moment.time)
        yield moment


def _within(
    moments: Iterator[Moment], first: int, stop: int | None, path: Path
) -> Iterator[tuple[int, Moment]]:
    count = 0
    for count, moment in enumerate(islice(moments, stop), start=1):
        if count > first:
            yield count - 1, moment
    if count < (first + 1 if stop is None else stop):
        name, value = ("start_frame", first) if stop is None else ("stop_frame", stop)
        raise ValueError(
            f"`{name}={value}` lies beyond the end of {str(path)!r}, which has {count} frames; "
            f"pass {'less' if stop is None else 'at most that, or None for all'}"
        )


def _checked_span(first: Any, stop: Any) -> tuple[int, int | None]:
    for name, value in (("start_frame", first), ("stop_frame", stop)):
        if (value is not None or name == "start_frame") and (
            isinstance(value, bool) or not isinstance(value, Integral)
        ):
            raise TypeError(
                f"`{name}` must be the number of a frame, got {value!r} of type "
                f"{type(value).__name__}; multiply seconds with the frame rate"
            )
    if first < 0 or (stop is not None and stop <= first):
        raise ValueError(
            f"`start_frame={first}` must be at least 0 and below `stop_frame={stop}`; count from "
            "the first frame, which is number 0"
        )
    return int(first), None if stop is None else int(stop)
