"""Series and pictures to GIFs.

Letters for shapes: T time, C channels, H height (rows), W width (columns), in pixels.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from darts import TimeSeries
from numpy.typing import NDArray
from PIL import Image

from darts_mim.adapters.video.encoding import frame_rate, pictures_of
from darts_mim.adapters.video.rates import hundredths
from darts_mim.files import whole_file

_MOST_FRAMES = 50  # per second: viewers slow down where a frame lasts less than two hundredths


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
    """Write a series as a GIF that repeats forever.

    Grey is exact; colours are reduced to 256 for each frame. Equal frames in a row are merged into
    one that lasts longer. A GIF stores time in hundredths of a second: at a rate that does not
    divide 100 some frames last one more than others, so that the whole lasts as long as it should.

    Parameters
    ----------
    path : path
        Where to write; the name ends in ".gif". The file appears whole or not at all; folders are
        made as needed.
    series : TimeSeries
        Frames of one channel, which are grey, or of three: red, green and blue.
    fps : float, optional
        Frames to show per second, up to 50. Default: the rate of the clip that the series comes
        from.
    channel, vmin, vmax, cmap, scale
        As in `write_video`.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    ValueError
        If `path` has another ending, the series has neither one nor three channels, the rate is not
        known, or the range is empty.

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
        raise ValueError(f'`path` must end in ".gif", got {str(path)!r}; rename the file')
    steps = hundredths(len(series), frame_rate(series, fps, _MOST_FRAMES))
    pictures = pictures_of(series, channel, vmin, vmax, cmap, scale)
    save_gif(target, pictures, [10 * step for step in steps])
    return target


def save_gif(
    path: Path, frames_rgb: Iterable[NDArray[np.uint8]], durations_ms: Sequence[int]
) -> None:
    """Write frames as a GIF that repeats forever.

    Grey frames are exact; coloured ones are reduced to 256 colours, chosen for each frame. Equal
    frames in a row are merged into one that lasts longer. The file appears whole or not at all.

    Parameters
    ----------
    path
        The file; its folder is made as needed.
    frames_rgb
        An array (T, H, W, 3), or an iterable of frames (H, W, 3). Grey ones may be (H, W, 1).
    durations_ms
        How long each frame is shown, in milliseconds. A GIF stores multiples of 10, up to 655 s.

    Examples
    --------
    >>> frames = np.random.default_rng(0).integers(0, 256, (4, 6, 8, 3), dtype=np.uint8)
    >>> save_gif(Path("noise.gif"), frames, durations_ms=[100] * 4)
    """
    images = map(_indexed, frames_rgb)
    with whole_file(path) as draft:
        next(images).save(
            draft, save_all=True, append_images=images, duration=list(durations_ms), loop=0
        )


def _indexed(frame: NDArray[np.uint8]) -> Image.Image:
    """Return an image of 256 grey levels, or of 256 colours that cover those of the frame."""
    if (frame == frame[..., :1]).all():
        return Image.fromarray(np.ascontiguousarray(frame[..., 0]))
    return Image.fromarray(frame).quantize(
        256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
    )
