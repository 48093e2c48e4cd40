"""Runs of frames in constant steps: cut at gaps, filled, and joined again.

Letters for shapes: T time, S samples, C channels, H height (rows), W width (columns).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from darts import TimeSeries
from numpy.typing import NDArray

from darts_mim.adapters.flow.timeline import Frames, instants, listed
from darts_mim.checks import counted
from darts_mim.grid import grid_of
from darts_mim.series import series_to_frames
from darts_mim.times import in_time_zone, make_time_index, time_span, time_zone

logger = logging.getLogger(__name__)

Gaps: TypeAlias = Literal["raise", "split", "nan", "zero", "previous", "linear"]


class Run(NamedTuple):
    """Frames between two gaps."""

    rows: slice  # where they are among all frames
    positions: NDArray[np.intp]  # which of `times` they have; the others are to be filled
    times: Any  # Any: a regular DatetimeIndex or RangeIndex, which pandas' stubs keep apart

    @property
    def step(self) -> Any:
        """The time from a frame to the next: an offset or an integer."""
        return self.times.freq if isinstance(self.times, pd.DatetimeIndex) else self.times.step


def find_runs(times: pd.Index[Any], freq: Any, gaps: Gaps, max_gap: int | None) -> list[Run]:
    """Cut ordered, unique times at the gaps that are not to be filled."""
    step = frequency_of(times) if freq is None else _checked_step(times, freq)
    positions = _positions(times, step)
    if (positions < 0).any():
        off = times[positions < 0]
        raise ValueError(
            f"`times` must lie on `freq={_spelt(step)!r}`, counted from {times[0]}, but "
            f"{len(off)} of {len(times)} do not: {listed(map(str, off[:4]))}; pass the `freq` "
            "that they have, or round them"
        )
    missing = np.diff(positions) - 1
    cuts = missing > (0 if gaps in ("raise", "split") else np.inf if max_gap is None else max_gap)
    if gaps == "raise" and cuts.any():
        raise _with_gaps(times, missing, step)
    bounds = [0, *(np.flatnonzero(cuts) + 1), len(times)]
    runs = []
    for start, stop in pairwise(bounds):
        within = positions[start:stop] - positions[start]
        regular = _regular(times[start], int(within[-1]) + 1, step, times.name)
        runs.append(Run(slice(start, stop), within, regular))
    return runs


def frequency_of(times: pd.Index[Any]) -> Any:
    """Read the step of times that may have gaps, where only one is possible."""
    business = (pd.offsets.BusinessDay, pd.offsets.BusinessHour)  # days off would be no gap
    known = getattr(times, "freq", None)
    if known is not None and known.n > 0 and not isinstance(known, business):
        return known
    if len(times) < 3:
        raise ValueError(
            f"`freq` cannot be read from {len(times)} `times`; pass it, for example freq='30min'"
        )
    if isinstance(times, pd.DatetimeIndex):
        regular = pd.DatetimeIndex(times, freq="infer").freq
        if regular is not None and not isinstance(regular, business):
            return regular
    steps, counts = np.unique(np.diff(instants(times)), return_counts=True)
    smallest, common = steps[0], steps[counts.argmax()]
    parts = steps[(steps % smallest).astype(np.int64) != 0]
    if counts[0] < counts.max() or len(parts):
        fault = (
            f"is not their most common one, {_spelt(common)}"
            if counts[0] < counts.max()
            else f"does not divide another one, {_spelt(parts[0])}"
        )
        raise ValueError(
            f"`freq` cannot be read from `times`, whose smallest step, {_spelt(smallest)}, {fault};"
            " pass it, for example freq='30min'"
        )
    return _offset(smallest) if isinstance(times, pd.DatetimeIndex) else int(smallest)


def filled(frames: Frames, run: Run, gaps: Gaps) -> Frames:
    """Return a frame for each time of a run; a view of `frames` where none is missing."""
    known = frames[run.rows]
    missing = np.setdiff1d(np.arange(len(run.times)), run.positions)
    if not len(missing):
        return known
    after = np.searchsorted(run.positions, missing)
    before = after - 1
    values: Any
    if gaps == "previous":
        values = known[before]
    elif gaps == "linear":
        span = run.positions[after] - run.positions[before]
        share = ((missing - run.positions[before]) / span).astype(frames.dtype)
        share = share.reshape(-1, *[1] * (frames.ndim - 1))
        values = (1 - share) * known[before] + share * known[after]
    else:
        values = np.nan if gaps == "nan" else 0.0
    whole = np.empty((len(run.times), *frames.shape[1:]), frames.dtype)
    whole[run.positions] = known
    whole[missing] = values
    return whole


def wall_clock(times: Any) -> Any:
    """Take the time zone off regular times; raise where the clocks change between them."""
    zone = time_zone(times)
    if zone is None:
        return times
    naive = times.tz_localize(None)
    regular = pd.date_range(naive[0], periods=len(naive), freq=times.freq, name=times.name)
    if not regular.equals(naive):
        raise ValueError(
            f"the clocks of the time zone {zone} change between {times[0]} and {times[-1]}, so "
            "that wall-clock times are doubled or missing; convert the times to UTC first, with "
            "`times.tz_convert('UTC')`"
        )
    in_time_zone(naive, zone)  # raises where the zone cannot be given back
    return regular


def long_runs(runs: list[Run], min_length: int, gaps: Gaps) -> list[Run]:
    """Leave out short runs, and log what is cut, filled and left out."""
    kept = [run for run in runs if len(run.times) >= min_length]
    if not kept:
        raise ValueError(
            f"`min_length={min_length}` leaves none of {counted(len(runs), 'run')}, the longest of "
            f"which has {counted(max(len(run.times) for run in runs), 'frame')}; lower it, or fill "
            "gaps"
        )
    if len(runs) > 1:
        logger.info("Cut the frames at %s.", counted(len(runs) - 1, "gap"))
    missing = sum(len(run.times) - len(run.positions) for run in kept)
    if missing:
        logger.info("Filled %s (gaps=%r).", counted(missing, "missing frame"), gaps)
    dropped = [len(run.positions) for run in runs if len(run.times) < min_length]
    if dropped:
        logger.warning(
            "Dropped %s in %s shorter than min_length=%d.",
            counted(sum(dropped), "frame"),
            counted(len(dropped), "run"),
            min_length,
        )
    return kept


def checked_parts(series: Any) -> list[TimeSeries]:
    """Return series that can be joined in time, in order."""
    parts = [series] if isinstance(series, TimeSeries) else series
    if not isinstance(parts, Sequence) or not all(isinstance(part, TimeSeries) for part in parts):
        raise TypeError(
            f"`series` must be a TimeSeries or a sequence of them, got {type(series).__name__}; "
            "pass for example the result of `from_flow`"
        )
    if not parts:
        raise ValueError("`series` must not be an empty sequence; pass at least one series")
    first = parts[0]
    for i, part in enumerate(parts):
        for name, got, expected in (
            ("grid", grid_of(part), grid_of(first)),
            ("number of samples", part.n_samples, first.n_samples),
            ("kind of times", part.time_index.dtype.kind, first.time_index.dtype.kind),
            ("time zone", _zone(part), _zone(first)),
        ):
            if got != expected:
                raise ValueError(
                    f"`series` must agree in {name} to be joined in time, got {expected} for "
                    f"series 0 and {got} for series {i}; convert them one by one"
                )
    ordered = sorted(parts, key=lambda part: part.start_time())
    for early, late in pairwise(ordered):
        if late.start_time() <= early.end_time():
            raise ValueError(
                f"`series` must not overlap, got {time_span(early)} and {time_span(late)}; cut one "
                "of them, or convert them one by one"
            )
    return ordered


def is_known(series: TimeSeries) -> NDArray[np.bool_]:
    """Say which frames (T,) hold a number in a cell that the mask shows."""
    frames, mask = series_to_frames(series, layout="TSCHW"), grid_of(series).mask
    shown = frames if mask is None else frames[..., mask]
    known: NDArray[np.bool_] = ~np.isnan(shown).reshape(len(frames), -1).all(axis=1)
    return known


def _zone(series: TimeSeries) -> str | None:
    zone: str | None = grid_of(series).attributes_of("time").get("time_zone")
    return zone


def _checked_step(times: pd.Index[Any], freq: Any) -> Any:
    index = make_time_index(1, freq=freq)
    if isinstance(index, pd.DatetimeIndex) != isinstance(times, pd.DatetimeIndex):
        wanted = "a pandas offset such as '30min'" if isinstance(times, pd.DatetimeIndex) else "int"
        raise TypeError(
            f"`freq` must be {wanted} for `times` of {times.dtype}, got {freq!r}; pass one that "
            "goes with the times"
        )
    return index.freq if isinstance(index, pd.DatetimeIndex) else index.step


def _positions(times: pd.Index[Any], step: Any) -> NDArray[np.intp]:
    """Count the steps from the first of the times; -1 where one does not lie on a step."""
    # a day is no length of time where clocks change
    is_length = isinstance(step, pd.offsets.Tick) and not isinstance(step, pd.offsets.Day)
    if isinstance(times, pd.DatetimeIndex) and not is_length:
        return pd.date_range(times[0], times[-1], freq=step).get_indexer(times)
    # counted and not listed: a single wrong date may be a century of seconds away
    since = instants(times) - instants(times[:1])
    length = np.timedelta64(step.nanos, "ns") if is_length else step
    return np.where((since % length).astype(np.int64) == 0, since // length, -1)


def _regular(start: Any, length: int, step: Any, name: Any) -> Any:
    """Return `length` times, a step from each to the next."""
    if isinstance(start, pd.Timestamp):
        return pd.date_range(start, periods=length, freq=step, name=name)
    return pd.RangeIndex(int(start), int(start) + length * step, step, name=name)


def _with_gaps(times: pd.Index[Any], missing: NDArray[np.intp], step: Any) -> ValueError:
    where = np.flatnonzero(missing)
    first = (
        f"{counted(int(missing[i]), 'frame')} between {times[i]} and {times[i + 1]}"
        for i in where[:4]
    )
    return ValueError(
        f"`times` have {counted(len(where), 'gap')} of `freq={_spelt(step)!r}`, where frames are "
        f"missing: {listed(first)}; pass gaps='split' for a series of each run between them, or "
        "gaps='nan', 'zero', 'previous' or 'linear' to fill them"
    )


def _offset(step: np.timedelta64) -> Any:
    """Return a length of time as an offset; whole days as days, which pandas reads from dates."""
    length: Any = pd.Timedelta(step)  # pandas' stubs do not take it for a frequency
    return pd.tseries.frequencies.to_offset(length)


def _spelt(step: Any) -> str:
    """Write a step as a user would."""
    offset = _offset(step) if isinstance(step, np.timedelta64) else step
    return getattr(offset, "freqstr", str(offset))
