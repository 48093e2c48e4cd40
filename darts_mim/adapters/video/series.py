"""From paths to frames of one shape, and from frames to a series, for clips and images alike.

Letters for shapes: T time, C channels, H height (rows), W width (columns).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from darts import TimeSeries
from numpy.typing import NDArray

from darts_mim.files import whole_file
from darts_mim.series import frames_to_series
from darts_mim.times import Frequency, Start, make_time_index, time_zone, with_time_zone

CHANNELS = {1: ("grey",), 3: ("red", "green", "blue")}
RATE = "frames_per_second"
"""The attribute of time that holds the rate of a clip."""


def checked_paths(path: Any) -> list[Path]:
    """Return one path or a sequence of them as a list of at least one."""
    if isinstance(path, str | os.PathLike):
        return [Path(path)]
    if not isinstance(path, Sequence) or not path:  # what has no order, such as `glob` and sets
        raise ValueError(
            f"`path` must be a path or a list of at least one, got {path!r}; bring the files of a "
            "folder into an order, for example with `sorted(folder.glob('*.avi'))`"
        )
    return [Path(one) for one in path]


def gathered(
    frames: Iterator[tuple[str, NDArray[Any]]], cache: Any, name: str, origin: object
) -> NDArray[Any]:
    """Join named frames (C, H, W), at least one, into an array (T, C, H, W).

    The number of frames is known with the last one only. In memory the array grows in place, so
    that no frame is held twice. With `cache` the frames are appended to a file, which is mapped.

    Parameters
    ----------
    frames
        Names, for messages, and frames of one shape and type.
    cache
        Folder of the file, which appears whole or not at all; None for memory.
    name
        Beginning of the name of the file.
    origin
        What the frames are made from, and how. It distinguishes files of one name.
    """
    _, first = next(frames)

    def same() -> Iterator[NDArray[Any]]:
        yield first
        for name, frame in frames:
            if frame.shape != first.shape:
                raise ValueError(
                    f"`path`: {name} has the shape {frame.shape} (channels, height, width), the "
                    f"frames before it {first.shape}; pass `size` or `grey=True` to make them "
                    "equal, or read them apart"
                )
            yield frame

    if cache is None:
        return np.fromiter(same(), np.dtype((first.dtype, first.shape)))
    digest = hashlib.sha256(repr(origin).encode()).hexdigest()
    target = Path(cache) / f"{name}-{digest[:16]}.raw"
    with whole_file(target) as draft, draft.open("wb") as file:
        for frame in same():
            file.write(frame.tobytes())
    return np.memmap(target, first.dtype, "r").reshape(-1, *first.shape)


def make_series(
    frames: NDArray[Any],
    rate: Fraction | None,
    source: str,
    first: int,
    start: Start | None,
    freq: Frequency | None,
) -> TimeSeries:
    """Make a series of intensities (T, C, H, W), of which the first has the number `first`."""
    names = CHANNELS[frames.shape[1]]
    attributes: dict[str, dict[str, Any]] = {
        name: {"long_name": f"{name} intensity", "units": "1"} for name in names
    }
    attributes["global"] = {"source": source}
    if rate is not None:
        attributes["time"] = {RATE: float(rate)}
    if freq is None and rate and not isinstance(start, int | np.integer | None):
        freq = pd.Timedelta(round(10**9 / rate), "ns")
    index = make_time_index(first + len(frames), None, start, freq)
    series = frames_to_series(
        frames,
        channel_names=names,
        times=index[first:],
        attributes=with_time_zone(attributes, time_zone(start)),
        dtype=None,
    )
    return cast(TimeSeries, series)  # no list, because the layout has no B
