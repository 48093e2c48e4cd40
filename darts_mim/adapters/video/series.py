"""From paths to frames of one shape, and from frames to a series, for clips and images alike.

Letters for shapes: T time, C channels, H height (rows), W width (columns).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from darts import TimeSeries
from numpy.typing import NDArray

from darts_mim.series import frames_to_series
from darts_mim.times import Frequency, Start, make_time_index, time_zone, with_time_zone

CHANNELS = {1: ("grey",), 3: ("red", "green", "blue")}
RATE = "frames_per_second"
"""The attribute of time that holds the rate of a clip."""


def checked_paths(path: Any, reader: str) -> list[Path]:
    """Return one path or a sequence of them as a list of at least one."""
    if isinstance(path, str | os.PathLike):
        return [Path(path)]
    if not isinstance(path, Sequence) or not all(isinstance(p, str | os.PathLike) for p in path):
        raise TypeError(
            f"`path` must be a path or a sequence of paths, got {type(path).__name__}; of what a "
            f"folder holds make a list, in an order that you choose: `{reader}(sorted(...))`"
        )
    if not path:
        raise ValueError("`path` must not be an empty sequence; check the pattern that made it")
    return [Path(one) for one in path]


def same_shape(frames: Iterable[tuple[str, NDArray[Any]]]) -> Iterator[NDArray[Any]]:
    """Take the names off frames (C, H, W), and raise if one differs in shape from the first."""
    shape: tuple[int, ...] = ()
    for name, frame in frames:
        shape = shape or frame.shape
        if frame.shape[0] != shape[0]:
            raise ValueError(
                f"`path`: {name} has {frame.shape[0]} channels, those before it {shape[0]}; pass "
                "grey=True, or read them apart"
            )
        if frame.shape != shape:
            raise ValueError(
                f"`path`: {name} has {frame.shape[1]} x {frame.shape[2]} pixels (height x width), "
                f"those before it {shape[1]} x {shape[2]}; pass `size` to bring them to one, or "
                "read them apart"
            )
        yield frame


def make_series(
    frames: NDArray[np.floating[Any]],
    *,
    rate: Fraction | None,
    source: str,
    first: int = 0,
    start: Start | None = None,
    freq: Frequency | None = None,
) -> TimeSeries:
    """Make a series of intensities (T, C, H, W), of which the first has the number `first`."""
    names = CHANNELS[frames.shape[1]]
    attributes: dict[str, dict[str, Any]] = {
        name: {"long_name": f"{name} intensity", "units": "1"} for name in names
    }
    attributes["global"] = {"source": source}
    if rate is not None:
        attributes["time"] = {RATE: float(rate)}
    if freq is None and start is not None and not isinstance(start, int | np.integer):
        freq = _interval(rate, source)
    index = make_time_index(first + len(frames), None, start, freq)
    series = frames_to_series(
        frames,
        channel_names=names,
        start=index[first],
        # Any: what pandas calls an offset here is none of the types it takes there
        freq=cast(Any, index.step if isinstance(index, pd.RangeIndex) else index.freq),
        attributes=with_time_zone(attributes, time_zone(start)),
        dtype=None,
    )
    return cast(TimeSeries, series)  # no list, because the layout has no B


def _interval(rate: Fraction | None, source: str) -> pd.Timedelta:
    if rate is None:
        raise ValueError(
            f"`freq` must say how far frames are apart, because {source!r} does not; pass for "
            "example freq='40ms' or freq='5min'"
        )
    return pd.Timedelta(round(10**9 / rate), "ns")
