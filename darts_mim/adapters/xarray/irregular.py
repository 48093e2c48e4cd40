"""Say which times are wrong, where, and what to do."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

# how far times that were written as floats lie from whole hours, minutes, seconds
_TOLERANCES = {"h": "1s", "min": "1s", "s": "1ms"}


def check_increasing(index: pd.Index[Any], dim: str) -> None:
    """Raise if times are missing, duplicated or unsorted.

    Raises
    ------
    ValueError
        If they are.
    """
    if index.hasnans:
        raise ValueError(
            "`data` must have a time for each frame, got frames without; leave them out, "
            f"`data.isel({dim}=data[{dim!r}].notnull())`"
        )
    wrong = np.flatnonzero(index[1:] <= index[:-1])
    if len(wrong):
        at = int(wrong[0]) + 1
        is_same = index[at] == index[at - 1]
        fault = "is a duplicate" if is_same else f"follows {index[at - 1]}"
        remedy = f"drop_duplicates({dim!r})" if is_same else f"sortby({dim!r})"
        raise ValueError(
            f"`data` must have times that increase, but {index[at]} {fault}, at position {at}; "
            f"use `data.{remedy}`"
        )


def irregular(index: pd.Index[Any], freq: Any, dim: str) -> ValueError:
    """Describe times that do not lie on constant steps, or not on those of `freq`."""
    is_dated = isinstance(index, pd.DatetimeIndex | xr.CFTimeIndex)
    unit = _missed_unit(index) if is_dated else None
    if unit is not None:
        return ValueError(
            f"`data` has times with rounding errors, such as {index[0]} and {index[1]}; "
            f"round them, `data.assign_coords({dim}=data[{dim!r}].dt.round({unit!r}))`"
        )
    steps = np.diff(np.asarray(index))
    if is_dated and steps.min() >= pd.Timedelta("28D"):
        steps = np.diff(12 * index.year + index.month)
    usual = Counter(steps.tolist()).most_common(1)[0][0]
    where = int(np.argmax(steps != np.asarray(usual, steps.dtype))) + 1
    expected = "constant steps" if freq is None else f"steps of `freq={freq!r}`"
    example = "'MS'" if is_dated else "1"
    return ValueError(
        f"`data` must have times in {expected}, but {index[where]} follows {index[where - 1]}, at "
        f"position {where}; pass the step of the times, such as freq={example}, to insert frames "
        "of NaN where some are missing, or bring dates to constant steps first, for example with "
        f"`data.resample({dim}='MS').mean()`"
    )


def _missed_unit(index: Any) -> str | None:
    """Return the unit that times miss by a rounding error, as those written as floats do."""
    for unit, tolerance in _TOLERANCES.items():
        missed = abs(index - index.round(unit)).max()
        if pd.Timedelta(0) < missed < pd.Timedelta(tolerance):
            return unit
    return None
