"""What is wrong with times, where, and what to do."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from pandas.tseries.frequencies import to_offset

# how far times that were written as floats lie from whole hours, minutes, seconds
_TOLERANCES = {"h": "1s", "min": "1s", "s": "1ms"}


def check_known(values: NDArray[Any], dim: str) -> None:
    """Raise if a frame has no time.

    Raises
    ------
    ValueError
        If there is one.
    """
    missing = np.flatnonzero(pd.isnull(values))
    if len(missing):
        raise ValueError(
            f"`data` has no time for {len(missing)} of {len(values)} frames, first at position "
            f"{missing[0]}; leave them out, `data.isel({dim}=data[{dim!r}].notnull())`"
        )


def check_increasing(values: NDArray[Any], dim: str) -> None:
    """Raise if times are doubled or unsorted.

    Raises
    ------
    ValueError
        If they are.
    """
    wrong = np.flatnonzero(values[1:] <= values[:-1])
    if not len(wrong):
        return
    at = int(wrong[0]) + 1
    doubled = bool(values[at] == values[at - 1])
    fault = "is there twice" if doubled else f"follows {text(values[at - 1])}"
    remedy = f"`data.drop_duplicates({dim!r})`" if doubled else f"`data.sortby({dim!r})`"
    raise ValueError(
        f"`data` must have times that increase, but {text(values[at])} {fault}, at position {at}; "
        f"use {remedy}"
    )


def too_few(length: int) -> ValueError:
    """Say that a step is needed."""
    return ValueError(
        f"`freq` cannot be read from {length} times of `data`; pass it, for example freq='MS'"
    )


def off_step(values: NDArray[Any], freq: Any, dim: str) -> ValueError:
    """Say that times do not lie on the step that was given."""
    unit = _missed_unit(values)
    if unit is not None:
        return _inexact(values, unit, dim)
    is_dated = values.dtype.kind in "MO"
    resampled = f", for example with `data.resample({dim}={freq!r}).mean()`" if is_dated else ""
    return ValueError(
        f"`data` must have times at steps of `freq={freq!r}` from {text(values[0])} on, but some "
        f"lie between; pass the step that they have, or bring the frames to this one first"
        f"{resampled}"
    )


def irregular(values: NDArray[Any], dim: str) -> ValueError:
    """Say where times lack one, and which step they seem to have."""
    unit = _missed_unit(values)
    if unit is not None:
        return _inexact(values, unit, dim)
    steps = np.diff(values.astype("M8[us]") if values.dtype.kind == "M" else values).astype(object)
    is_dated = values.dtype.kind in "MO"
    months = _months(values) if is_dated else None
    step, suggested, resampled = Counter(steps.tolist()).most_common(1)[0][0], None, None
    if months is not None and len(set(months)) > 1 and _share_a_place(values):
        steps, step = months, min(months)
        suggested = repr("MS" if step == 1 else f"{step}MS")
    elif months is not None and set(months) == {1}:
        resampled = repr("MS")
    elif not is_dated:
        suggested = str(np.gcd.reduce(steps))
    elif not np.any(steps % min(steps)):
        step = min(steps)
        suggested = repr(_offset_name(step))
    where = int(np.argmax(steps != step)) + 1
    ways = []
    if suggested is not None:
        ways.append(f"pass freq={suggested} to insert frames of NaN where some are missing")
    if is_dated:
        resampled = resampled or suggested or repr(_offset_name(step))
        ways.append(
            "bring the frames to constant steps first, for example with "
            f"`data.resample({dim}={resampled}).mean()`"
        )
    return ValueError(
        f"`data` must have times in constant steps, but {text(values[where])} follows "
        f"{text(values[where - 1])}, at position {where}; {', or '.join(ways)}"
    )


def text(value: Any) -> str:
    """Write a time in a message."""
    return str(pd.Timestamp(value)) if isinstance(value, np.datetime64) else str(value)


def in_a_zone(first: Any, dim: str, name: Any) -> TypeError:
    """Say that times must not be in a time zone."""
    return TypeError(
        f"`data` has times {name!r} in the time zone {first.tzinfo}, which series and files do not "
        f"hold; keep those of the clock on the wall, `data.assign_coords({dim}=({dim!r}, "
        f"data.indexes[{dim!r}].tz_localize(None), {{'time_zone': '{first.tzinfo}'}}))`"
    )


def _missed_unit(values: NDArray[Any]) -> str | None:
    """Return which unit times miss by a rounding error, as those written as floats do."""
    if values.dtype.kind not in "MO":
        return None
    index: Any = pd.DatetimeIndex(values) if values.dtype.kind == "M" else xr.CFTimeIndex(values)
    for unit, tolerance in _TOLERANCES.items():
        missed = abs(index - index.round(unit))
        if missed.max() > pd.Timedelta(0) and missed.max() < pd.Timedelta(tolerance):
            return unit
    return None


def _inexact(values: NDArray[Any], unit: str, dim: str) -> ValueError:
    return ValueError(
        f"`data` has times with rounding errors, such as {text(values[0])} and {text(values[1])}; "
        f"round them, `data.assign_coords({dim}=data[{dim!r}].dt.round({unit!r}))`"
    )


def _months(values: NDArray[Any]) -> NDArray[np.int64]:
    """Return the steps in months of dates."""
    return np.diff([12 * d.year + d.month for d in _dates(values)])


def _share_a_place(values: NDArray[Any]) -> bool:
    """Tell whether dates have the same day of the month and time of day."""
    places = {(d.day, d.hour, d.minute, d.second, d.microsecond) for d in _dates(values)}
    return len(places) == 1


def _dates(values: NDArray[Any]) -> list[Any]:
    return [pd.Timestamp(v) if isinstance(v, np.datetime64) else v for v in values]


def _offset_name(step: Any) -> str:
    length: Any = pd.Timedelta(step)  # pandas' stubs do not take it for a frequency
    return str(to_offset(length).freqstr)
