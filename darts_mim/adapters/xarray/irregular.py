"""What is wrong with times, where, and what to do."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.tseries.frequencies import to_offset


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
    is_dated = values.dtype.kind in "MO"
    resampled = f", for example with `data.resample({dim}={freq!r}).mean()`" if is_dated else ""
    return ValueError(
        f"`data` must have times at steps of `freq={freq!r}` from {text(values[0])} on, but some "
        f"lie between; pass the step that they have, or bring the frames to this one first"
        f"{resampled}"
    )


def irregular(values: NDArray[Any], dim: str) -> ValueError:
    """Say where times lack one, and which step they seem to have."""
    steps = np.diff(values.astype("M8[us]") if values.dtype.kind == "M" else values).astype(object)
    months = _months(values)
    step, suggested = Counter(steps.tolist()).most_common(1)[0][0], None
    if months is not None and len(set(months)) > 1:
        steps, step = months, min(months)
        suggested = repr("MS" if step == 1 else f"{step}MS")
    elif not np.any(steps % min(steps)):
        step = min(steps)
        suggested = repr(_offset_name(step)) if values.dtype.kind in "MO" else str(step)
    where = int(np.argmax(steps != step)) + 1
    ways = []
    if suggested is not None:
        ways.append(f"pass freq={suggested} to insert frames of NaN where some are missing")
    if values.dtype.kind in "MO":
        ways.append(
            "bring the frames to constant steps first, for example with "
            f"`data.resample({dim}={suggested or repr(_offset_name(step))}).mean()`"
        )
    return ValueError(
        f"`data` must have times in constant steps, but {text(values[where])} follows "
        f"{text(values[where - 1])}, at position {where}; {', or '.join(ways or ['sort them'])}"
    )


def text(value: Any) -> str:
    """Write a time in a message."""
    return str(pd.Timestamp(value)) if isinstance(value, np.datetime64) else str(value)


def _months(values: NDArray[Any]) -> NDArray[np.int64] | None:
    """Return the steps in months of dates that share a day and a time of day."""
    if values.dtype.kind not in "MO":
        return None
    dates = [pd.Timestamp(v) if isinstance(v, np.datetime64) else v for v in values]
    if len({(d.day, d.hour, d.minute, d.second, d.microsecond) for d in dates}) > 1:
        return None
    return np.diff([12 * d.year + d.month for d in dates])


def _offset_name(step: Any) -> str:
    days = pd.Timedelta(step) / pd.Timedelta("1D")
    if days % 1 == 0:
        return "D" if days == 1 else f"{days:.0f}D"
    return str(to_offset(pd.Timedelta(step)).freqstr)
