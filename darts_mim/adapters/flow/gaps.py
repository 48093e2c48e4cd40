"""Dirty timelines: zero frames, order, duplicate times, and gaps that are cut or filled.

Letters for shapes: T time, S samples, C channels, H height (rows), W width (columns).
"""

from __future__ import annotations

import logging
from itertools import pairwise
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darts_mim.checks import counted
from darts_mim.times import make_time_index

logger = logging.getLogger(__name__)

Duplicates: TypeAlias = Literal["raise", "first", "last", "sum"]
Gaps: TypeAlias = Literal["raise", "split", "nan", "zero", "previous", "linear"]
Frames: TypeAlias = NDArray[np.floating[Any]]


def check_choice(name: str, value: object, choices: object) -> None:
    """Raise unless an argument is one of the strings of a `Literal`."""
    if value not in get_args(choices):
        raise ValueError(f"`{name}` must be one of {list(get_args(choices))}, got {value!r}")


def check_span(length: int, known: int, first: Any, last: Any, remedy: str) -> None:
    """Raise if a timeline is so long for its frames that one of the dates must be wrong."""
    if length > 10_000 + 100 * known:
        raise ValueError(
            f"`times` from {first} to {last} are {length} steps, of which {known} hold data; "
            f"correct the dates that are wrong, or {remedy}"
        )


def drop_zeros(
    frames: Frames, times: pd.Index[Any], mask: NDArray[np.bool_] | None
) -> tuple[Frames, pd.Index[Any]]:
    """Drop the frames (T, S, C, H, W) that are zero in every cell that the mask shows."""
    # one at a time: a memory map may be larger than memory
    is_kept = np.array([(f if mask is None else f[..., mask]).any() for f in frames])
    if is_kept.all():
        return frames, times
    if not is_kept.any():
        raise ValueError("`frames` must not all be zero with drop_zero_frames=True")
    logger.warning("Dropped %d of %d frames: all zero.", (~is_kept).sum(), len(frames))
    return np.asarray(frames[is_kept]), times[is_kept]


def put_in_order(frames: Frames, times: pd.Index[Any], sort: bool) -> tuple[Frames, pd.Index[Any]]:
    """Return frames and times in order of time, or raise if they are not."""
    if times.is_monotonic_increasing:
        return frames, times
    if not sort:
        late = int(np.argmax(times[1:] < times[:-1]))
        raise ValueError(
            f"`times` must not go back, got {times[late + 1]} after {times[late]}; pass "
            "sort=True, or convert the times to UTC if clocks were put back"
        )
    logger.info("Sorted %d frames by time.", len(frames))
    order = times.argsort(kind="stable")
    return np.asarray(frames[order]), times[order]


def merge_duplicates(
    frames: Frames, times: pd.Index[Any], duplicates: Duplicates
) -> tuple[Frames, pd.Index[Any]]:
    """Make one frame of those with the same time; the times are in order."""
    if times.is_unique:
        return frames, times
    count = counted(int(times.duplicated().sum()), "duplicate")
    if duplicates == "raise":
        raise ValueError(
            f"`times` must be unique, got {count}, first {times[times.duplicated()][0]}; pass "
            "duplicates='first', 'last' or 'sum', drop_zero_frames=True if one of them is zero, or "
            "convert the times to UTC if clocks were put back"
        )
    logger.warning("Merged %s among %d frames: %s.", count, len(frames), duplicates)
    is_kept = ~times.duplicated(keep="last" if duplicates == "last" else "first")
    if duplicates == "sum":
        return np.add.reduceat(frames, np.flatnonzero(is_kept), axis=0), times[is_kept]
    return np.asarray(frames[is_kept]), times[is_kept]


def find_runs(
    times: pd.Index[Any], freq: Any, gaps: Gaps, max_gap: int | None
) -> list[tuple[slice, Any]]:
    """Cut ordered, unique times at the gaps that are not filled.

    Returns
    -------
    list of (slice, DatetimeIndex or RangeIndex)
        For each run, where it lies among the times, and its regular times.
    """
    step = _step_of(times, freq)
    positions = _positions(times, step)
    spelt = getattr(step, "freqstr", step)
    if (positions < 0).any():
        raise ValueError(
            f"`times` must lie on `freq={spelt!r}` from {times[0]} on, got "
            f"{times[positions < 0][0]}; pass the `freq` that they have, or round them"
        )
    missing = np.diff(positions) - 1
    if gaps == "raise" and missing.any():
        first = times[int(np.argmax(missing > 0))]
        raise ValueError(
            f"`times` must have no gap at `freq={spelt!r}`, got {(missing > 0).sum()}, the first "
            f"after {first}; pass gaps='split' for a list of series, or 'nan', 'zero', 'previous' "
            "or 'linear' to fill them"
        )
    limit = 0 if gaps == "split" else np.inf if max_gap is None else max_gap
    runs = []
    for start, stop in pairwise([0, *np.flatnonzero(missing > limit) + 1, len(times)]):
        length = int(positions[stop - 1] - positions[start]) + 1
        check_span(length, stop - start, times[start], times[stop - 1], "pass `max_gap`")
        if isinstance(times, pd.DatetimeIndex):
            regular: Any = pd.date_range(times[start], periods=length, freq=step)
        else:
            regular = times[start] + step * pd.RangeIndex(length)
        runs.append((slice(start, stop), regular))
    return runs


def fill(frames: Frames, times: pd.Index[Any], regular: Any, gaps: Gaps) -> Frames:
    """Return a frame for each regular time of a run; `frames` themselves if none is missing."""
    if len(frames) == len(regular):
        return frames
    before = times.get_indexer(regular, method="ffill")
    filled, is_missing = np.asarray(frames[before]), ~regular.isin(times)
    if gaps in ("nan", "zero"):
        filled[is_missing] = np.nan if gaps == "nan" else 0.0
    elif gaps == "linear":
        last, known = before[is_missing], np.flatnonzero(~is_missing)
        share = (np.flatnonzero(is_missing) - known[last]) / (known[last + 1] - known[last])
        share = share.astype(frames.dtype).reshape(-1, *[1] * (frames.ndim - 1))
        filled[is_missing] = (1 - share) * frames[last] + share * frames[last + 1]
    return filled


def wall_clock(times: Any) -> Any:
    """Take the time zone off regular times; raise if the clocks change between them."""
    if getattr(times, "tz", None) is None:
        return times
    naive = times.tz_localize(None)
    if (
        not isinstance(times.freq, pd.offsets.Day)
        and (naive - times.tz_convert(None)).nunique() > 1
    ):
        raise ValueError(
            f"`times` must not span a change of the clocks in {times.tz}, got {times[0]} to "
            f"{times[-1]}; convert them to UTC, with `times.tz_convert('UTC')`"
        )
    return naive


def _step_of(times: pd.Index[Any], freq: Any) -> Any:
    """Return the step of times that may have gaps, an offset or an integer."""
    freq = freq or getattr(times, "freq", None)
    if freq is None and len(times) > 2 and isinstance(times, pd.DatetimeIndex):
        freq = pd.infer_freq(times)
    if freq is None:
        steps = pd.Series(times[1:] - times[:-1])
        if len(times) < 3 or steps.mode()[0] != steps.min():
            raise ValueError(
                f"`freq` cannot be read from {len(times)} `times`, whose smallest step must be the "
                "most common one; pass it, for example freq='30min'"
            )
        freq = steps.min()
    index = make_time_index(1, freq=freq)
    if isinstance(index, pd.DatetimeIndex) != isinstance(times, pd.DatetimeIndex):
        raise TypeError(f"`freq` must be of the kind of `times`, got {freq!r} for {times.dtype}")
    return index.freq if isinstance(index, pd.DatetimeIndex) else index.step


def _positions(times: pd.Index[Any], step: Any) -> NDArray[np.intp]:
    """Count the steps from the first of the times; -1 if one does not lie on a step."""
    # a day is no constant length of time if clocks change
    is_length = isinstance(step, pd.offsets.Tick) and not isinstance(step, pd.offsets.Day)
    if isinstance(times, pd.DatetimeIndex) and not is_length:
        return pd.date_range(times[0], times[-1], freq=step).get_indexer(times)
    # counted and not listed: a single wrong date may be a century of seconds away
    since, length = times - times[0], pd.Timedelta(step) if is_length else step
    return np.where(since % length == since[0], since // length, -1)
