"""Say in xarray data that they are a forecast or computed, and not the data that they came from."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Final

import pandas as pd
import xarray as xr

from darts_mim.adapters.xarray.memory import as_numbers
from darts_mim.adapters.xarray.source import Source
from darts_mim.adapters.xarray.times import write_times

KEPT_ATTRIBUTES: Final = {
    *("units", "long_name", "standard_name", "positive", "axis", "time_zone", "coordinates"),
    *("grid_mapping", "cell_measures", "AREA_OR_POINT", "Conventions", "license", "licence"),
}
"""Attributes that hold for any values on the grid; the others describe the data."""

_PERIOD, _REFERENCE = "forecast_period", "forecast_reference_time"


def describe_forecast(
    data: xr.Dataset, source: Source, model: Any, reference_time: Any
) -> xr.Dataset:
    """Add the origin of values that are not those of the data.

    Parameters
    ----------
    data
        The fields with their coordinates and attributes.
    source
        The series.
    model
        Name of the model, or the model, that made the forecast; or None.
    reference_time
        Time of the last frame that the forecast starts from; or None, if that is not known.

    Returns
    -------
    xarray.Dataset
        With another line in its history and, for a forecast, the model as its source, the reference
        time and the lead times.
    """
    stale = [n for n in data.coords if data[n].attrs.get("standard_name") in (_PERIOD, _REFERENCE)]
    data = data.drop_vars(stale)
    start = _start(source, reference_time)
    made = "computed" if model is None and start is None else "forecast"
    if model is not None:
        name = model if isinstance(model, str) else type(model).__name__
        data.attrs["source"] = f"forecast of the model {name}"
        made += f" by {name}"
    if start is not None:
        times = write_times(start, source.layout["time"])
        periods = write_times(source.series.time_index, source.layout["time"]) - times[0]
        data = data.assign_coords(
            {
                _REFERENCE: ((), times[0], {"standard_name": _REFERENCE}),
                _PERIOD: (source.dims[0], periods, {"standard_name": _PERIOD}),
            }
        )
        made += f" from {times[0]}"
    channel = source.layout["fields"][0]["channels"][0]
    before = {**source.grid.attributes_of(channel), **source.grid.attributes_of("global")}
    made += f", based on {before['title']!r}" if before.get("title") else ""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    line = f"{now} darts-mim {version('darts-mim')}: {made}"
    data.attrs["history"] = f"{before['history']}\n{line}" if before.get("history") else line
    return data


def _start(source: Source, reference_time: Any) -> Any:
    """Return the time that a forecast starts from, or None if that is not known."""
    index: Any = source.series.time_index
    start = index[0] - source.series.freq
    if reference_time is not None:
        start = type(start)(reference_time)
    elif as_numbers(pd.Index([start]))[0] != source.layout["time"]["last"]:
        return None
    if isinstance(index, pd.RangeIndex):
        return pd.RangeIndex(start, start + index.step, index.step)
    freq: Any = index.freq if index.freq.is_on_offset(start) else None
    return pd.DatetimeIndex([start], freq=freq)
