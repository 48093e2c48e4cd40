"""Folders of images to series.

Letters for shapes: T time, C channels, H height (rows), W width (columns), N = C*H*W components.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from darts import TimeSeries
from numpy.typing import DTypeLike, NDArray

from darts_mim.adapters.video.images import read_pictures
from darts_mim.adapters.video.pixels import checked_float_type, checked_frame_size, intensities
from darts_mim.adapters.video.rates import checked_rate
from darts_mim.adapters.video.series import checked_paths, make_series, same_shape
from darts_mim.adapters.video.storing import in_file, in_memory
from darts_mim.times import Frequency, Start

logger = logging.getLogger(__name__)

_ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff")


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
    """Turn the images of a folder into a series, a frame from each image.

    Values are intensities in [0, 1]: 0 is black, 1 the largest number that the image's bits can
    write, 255 for 8 and 65535 for 16. Grey images have the channel "grey", all others "red",
    "green" and "blue". A turn that a camera notes beside an image is applied.

    Parameters
    ----------
    path : path or sequence of paths
        A folder, of which all PNG, JPEG and TIFF files are read in the order of their names, with
        numbers in them counted: ``frame2.png`` comes before ``frame10.png``. Hidden files and
        folders in it are passed over, other files with a warning in the log. Or the images
        themselves, in their order. Each page of a TIFF file is a frame.
    size, grey, dtype
        As in `read_video`.
    fps : float, optional
        Frames per second at which the images were taken or are to be shown. It is kept for
        `write_video`, and changes no frame.
    start : int, str or datetime, optional
        Time of the first frame, as in `frames_to_series`. Default: 0, so that the index counts
        frames. After a date frames follow each other at the rate `fps`, or as `freq` says.
    freq : int, str, timedelta or pandas offset, optional
        Time from a frame to the next, such as ``"5min"``.
    cache : path, optional
        As in `read_video`: a file for all images.

    Returns
    -------
    TimeSeries
        Shape (T, N, 1).

    Raises
    ------
    FileNotFoundError
        If there is no such folder or image.
    ImportError
        If an image has colours of 16 bits and PyAV is missing: ``pip install 'darts-mim[video]'``.
    TypeError
        If `path` is neither a path nor a sequence of them, or `dtype` is not floating.
    ValueError
        If a folder holds no image; if an image cannot be read whole, is transparent, or holds
        numbers without a range, such as floats; if sizes differ without `size`, or grey and
        coloured images are mixed without `grey`.

    See Also
    --------
    read_video : The same for clips.

    Examples
    --------
    >>> from pathlib import Path
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
    target_size, target_type = checked_frame_size(size), checked_float_type(dtype)
    rate = None if fps is None else checked_rate(fps)
    paths = checked_paths(path, "read_frames")
    if isinstance(path, str | os.PathLike):
        folder = paths[0]
        paths = _images_in(folder)
    else:
        folder = paths[0].parent
    name = folder.resolve().name
    frames = same_shape(_frames(paths, target_size, bool(grey), target_type))
    if cache is None:
        array = in_memory(frames, target_type)
    else:
        origin = [path.resolve() for path in paths], target_size, bool(grey), target_type
        array = in_file(frames, target_type, Path(cache), name, origin)
    return make_series(array, rate=rate, source=name, start=start, freq=freq)


def natural_order(path: Path) -> tuple[list[Any], str]:
    """Return what sorts names as people do: by the value of the numbers in them.

    Examples
    --------
    >>> [path.name for path in sorted(map(Path, ["b1", "a10", "a2", "A3"]), key=natural_order)]
    ['a2', 'A3', 'a10', 'b1']
    """
    words: list[Any] = re.split(r"([0-9]+)", path.name.casefold())
    words[1::2] = map(int, words[1::2])
    return words, path.name


def _frames(
    paths: Sequence[Path], size: tuple[int, int] | None, grey: bool, dtype: np.dtype[Any]
) -> Iterator[tuple[str, NDArray[np.floating[Any]]]]:
    for path in paths:
        for name, pixels, peak in read_pictures(path, grey):
            yield name, intensities(pixels, size, dtype, peak)


def _images_in(folder: Path) -> list[Path]:
    """Return the images of a folder in their order."""
    if not folder.exists():
        raise FileNotFoundError(f"`path`: there is no folder {str(folder)!r}; check the name")
    if not folder.is_dir():
        raise ValueError(
            f"`path`: {str(folder)!r} is no folder; pass [{str(folder)!r}] if it is an image, and "
            "read clips with `read_video`"
        )
    files = [p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")]
    images = sorted((p for p in files if p.suffix.lower() in _ENDINGS), key=natural_order)
    others = sorted(p.name for p in files if p not in set(images))
    if not images:
        raise ValueError(
            f"`path`: {str(folder)!r} must hold images ({', '.join(_ENDINGS)}), got "
            f"{len(others)} other files {others[:3]} and "
            f"{sum(p.is_dir() for p in folder.iterdir())} folders; pass the folder that the images "
            "lie in, or convert them"
        )
    if others:
        logger.warning(
            "Passed over %d files of %s that are no images (%s): %s",
            len(others),
            folder,
            ", ".join(_ENDINGS),
            ", ".join(others[:5]),
        )
    return images
