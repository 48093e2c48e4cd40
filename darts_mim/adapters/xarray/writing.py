"""Series to xarray data.

Letters for shapes: T time, S samples, C channels, H height, W width, P likelihood parameters.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from darts import TimeSeries
from numpy.typing import NDArray

from darts_mim.adapters.xarray.axes import PARAMETER, QUANTILE, cells_of, long_name
from darts_mim.adapters.xarray.fields import LINKS
from darts_mim.adapters.xarray.memory import FIELD, OWN, TIME, as_numbers, restored_attributes
from darts_mim.adapters.xarray.source import Source, take_apart
from darts_mim.adapters.xarray.times import TIME_NOTES, write_times

logger = logging.getLogger(__name__)

_KEPT_ATTRIBUTES = {
    *("units", "long_name", "standard_name", "positive", "axis", "time_zone", "coordinates"),
    *("grid_mapping", "cell_measures", "AREA_OR_POINT", "Conventions", "license", "licence"),
}
"""Attributes that hold for any values on the grid; the others describe the data."""

_PERIOD, _REFERENCE = "forecast_period", "forecast_reference_time"


def to_xarray(
    series: TimeSeries, *, model: Any = None, reference_time: Any = None
) -> xr.Dataset | xr.DataArray:
    """Turn a series or a forecast into xarray data like those it came from.

    A series that `from_xarray` made, and what a model forecasts from it, has its names, dimensions,
    coordinates, units and types again, and its times go on in the calendar of the data. Other
    series become a Dataset with a variable along time, rows and columns for each channel.

    Parameters
    ----------
    series : TimeSeries
        A series on a grid, with samples or without; or likelihood parameters or quantiles of one,
        as `predict(..., predict_likelihood_parameters=True)` and `TimeSeries.quantile` return them.
        Components without a grid become variables on one cell.
    model : str or model, optional
        The model that made the forecast. Its name goes to the attributes ``source`` and
        ``history``.
    reference_time : int, str or datetime, optional
        Time of the last frame that the forecast starts from, as in the series, such as
        ``train.end_time()``. Default: the end of the data, for a series that starts one step later.

    Returns
    -------
    xarray.Dataset or xarray.DataArray
        A DataArray if the series came from one, else a Dataset. New dimensions come first:
        "sample" (numbered from 0); "quantile", with the quantiles to three decimals as Darts writes
        them; or "parameter", with the names of others. Cells that the mask hides are NaN. Integers
        become integers again where no value changes. Values share the memory of the series where
        they can.

        Values that differ from those of the data at the same times are a product of their own: the
        Dataset keeps units, names and the grid, but no attribute that describes the data (title,
        creator, valid range), and nothing that lies along time (bounds). Its ``history`` says how
        it was made. A forecast with a known reference time gets the coordinates
        ``forecast_reference_time`` and ``forecast_period``, the lead time of each frame.

    Raises
    ------
    TypeError
        If `series` is no series.
    ValueError
        If its components are neither those of its grid nor likelihood parameters of them, or if
        names of channels and dimensions collide.

    See Also
    --------
    from_xarray : The inverse.

    Examples
    --------
    >>> import numpy as np
    >>> from darts_mim import frames_to_series
    >>> series = frames_to_series(np.zeros((10, 2, 3, 4)), channel_names=["inflow", "outflow"])
    >>> data = to_xarray(series)
    >>> list(data.data_vars), data.inflow.dims
    (['inflow', 'outflow'], ('time', 'y', 'x'))
    """
    if not isinstance(series, TimeSeries):
        raise TypeError(
            f"`series` must be a TimeSeries, got {type(series).__name__}; convert the series of a "
            "list one by one"
        )
    source = take_apart(series, is_forecast=model is not None or reference_time is not None)
    fields = _fields(source)
    sizes = {dim: size for field in fields.values() for dim, size in field.sizes.items()}
    coordinates = _coordinates(source, sizes)
    others = _others(source, sizes, {*fields, *coordinates})
    data = xr.Dataset({**fields, **_static(source), **others}, coordinates)
    data = data.set_coords([name for name in source.layout["coordinates"] if name in others])
    data.attrs = _attributes(source, "global", source.rest.attrs)
    if not source.is_data:
        data = _describe_forecast(data, source, model, reference_time)
    _restore_encodings(data, source)
    return _as_array(data, source.layout) if source.layout["form"] == "DataArray" else data


def _fields(source: Source) -> dict[Any, xr.Variable]:
    """Return the fields, their dimensions in the order that the data had; new ones come first."""
    fields = {}
    for number, field in enumerate(source.layout["fields"]):
        start = source.grid.channel_names.index(field["channels"][0])
        values = source.frames[:, :, start : start + len(field["channels"])]
        has_channels = source.layout["dims"]["channel"] in field["dims"]
        dims = [d if axis != 2 or has_channels else None for axis, d in enumerate(source.dims)]
        own = [str(dim) for dim in dims if dim is not None]
        order = [dim for dim in own if dim not in field["dims"]]
        order += [dim for dim in field["dims"] if dim in own]
        squeezed = values[tuple(0 if dim is None else slice(None) for dim in dims)]
        variable = xr.Variable(own, _as_type(squeezed, field.get("dtype"))).transpose(*order)
        given = source.rest.get(f"{FIELD}_{number}", xr.DataArray()).attrs
        variable.attrs = _attributes(source, field["channels"][0], given)
        fields[field["name"]] = variable
    return fields


def _coordinates(source: Source, sizes: Mapping[Any, int]) -> dict[Any, xr.Variable]:
    """Return the coordinates of time, of rows and columns that have changed, and of new axes."""
    names, coordinates = source.layout["dims"]["coordinates"], {}
    time, sample, _, rows, columns, parameter = source.dims
    variable = _time(source)
    if variable is not None:
        coordinates[names["time"] or time] = variable
    for role, dim in (("y", rows), ("x", columns)):
        name = names[role]
        values, known = (source.grid.coordinates or {}).get(name), source.rest.get(name)
        if values is None:
            continue
        if known is None or not np.array_equal(cells_of(known, known.size), values):
            coordinates[name] = xr.Variable(dim, values, source.grid.attributes_of(name))
    if sample is not None and sizes[sample] != source.layout["samples"]:
        attributes = {"long_name": long_name("sample"), "standard_name": "realization"}
        coordinates[sample] = xr.Variable(sample, np.arange(sizes[sample]), attributes)
    if parameter is not None:
        labels: Any = np.array(source.parameters, dtype=object)
        if parameter == QUANTILE:
            labels = [float(name.removeprefix("q")) for name in source.parameters]
        coordinates[parameter] = xr.Variable(parameter, labels, {"long_name": long_name(parameter)})
    return coordinates


def _time(source: Source) -> xr.Variable | None:
    """Return the coordinate of time; None for frames that the data only number."""
    layout, index = source.layout["time"], source.series.time_index
    name = source.layout["dims"]["coordinates"]["time"]
    if name is None and index.equals(pd.RangeIndex(len(index))):
        return None
    variable = xr.Variable(source.dims[0], write_times(index, layout))
    given = source.rest.get(TIME, xr.DataArray()).attrs
    variable.attrs = _attributes(source, "time", given)
    if variable.dtype.kind in "MO":  # xarray writes these itself
        for key in TIME_NOTES:
            variable.attrs.pop(key, None)
    return variable


def _others(source: Source, sizes: Mapping[Any, int], taken: set[Any]) -> dict[Any, xr.Variable]:
    """Return the other variables that the series remembers, if their dimensions still fit."""
    absent = {source.layout["dims"]["sample"], QUANTILE, PARAMETER} - set(sizes)
    others = {}
    for name, variable in source.rest.variables.items():
        fits = all(sizes.get(dim, size) == size for dim, size in variable.sizes.items())
        if name in taken or not fits or absent & set(variable.dims) or str(name).startswith(OWN):
            continue
        if name in source.layout["dims"]["coordinates"].values():
            variable.attrs = restored_attributes(source.grid, str(name), variable.attrs)
        others[name] = variable
    return others


def _static(source: Source) -> dict[Any, xr.Variable]:
    """Return static covariates that are the same field in every channel."""
    table, grid = source.series.static_covariates, source.grid
    if table is None or len(table) != grid.n_components:
        return {}
    variables = {}
    for name in [str(name) for name in table.columns if name not in source.rest]:
        field = table[name].to_numpy().reshape(grid.shape)
        if all(pd.Series(part.ravel()).equals(pd.Series(field[0].ravel())) for part in field):
            variables[name] = xr.Variable((source.dims[3], source.dims[4]), field[0])
        else:
            logger.warning("The static field %r differs between channels and is left out.", name)
    return variables


def _attributes(source: Source, name: str, given: Mapping[Any, Any]) -> dict[str, Any]:
    """Return attributes that hold for the values of the series."""
    return restored_attributes(
        source.grid, name, given, None if source.is_data else _KEPT_ATTRIBUTES
    )


def _as_type(values: NDArray[Any], dtype: str | None) -> NDArray[Any]:
    """Give values the type that the data had; integers only where that changes no value."""
    if dtype is None or values.dtype == dtype:
        return values
    with np.errstate(over="ignore", invalid="ignore"):
        cast = values.astype(dtype)
    return cast if cast.dtype.kind == "f" or (cast == values).all() else values


def _describe_forecast(
    data: xr.Dataset, source: Source, model: Any, reference_time: Any
) -> xr.Dataset:
    """Add the origin of values that are not those of the data: history, model, times."""
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


def _restore_encodings(data: xr.Dataset, source: Source) -> None:
    """Restore links between variables, and how times were written, as far as both still hold."""
    layout, index = source.layout, source.series.time_index
    missing = set(layout["beside"]) - set(data.variables)
    for name, variable in data.variables.items():
        variable.encoding = dict(layout["encodings"].get(name, {}))
        for links in (variable.attrs, variable.encoding):
            for key in set(links) & set(LINKS):
                if missing & set(str(links[key]).replace(":", " ").split()):
                    del links[key]
    time = data.variables.get(layout["dims"]["coordinates"]["time"])
    if time is not None and getattr(index, "freqstr", "") != layout["time"].get("freq"):
        for key in ("units", "dtype"):  # which need not suit other steps
            time.encoding.pop(key, None)


def _as_array(data: xr.Dataset, layout: Mapping[str, Any]) -> xr.DataArray:
    """Return the only field; all other variables become coordinates of it."""
    name = layout["fields"][0]["name"]
    data = data.set_coords([other for other in data.data_vars if other != name])
    array: xr.DataArray = data[name].rename(layout["name"])
    array.attrs |= data.attrs
    return array
