"""Series to fields of xarray."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import xarray as xr
from darts import TimeSeries

from darts_mim.adapters.xarray.layout import typed_attributes
from darts_mim.adapters.xarray.rebuilding import (
    build_coordinates,
    build_others,
    build_variables,
    drop_dangling,
    static_variables,
)
from darts_mim.adapters.xarray.source import take_apart


def to_xarray(series: TimeSeries) -> xr.Dataset | xr.DataArray:
    """Turn a series, or a forecast, into xarray data like those it came from.

    A series that `from_xarray` made, and what a model forecasts from it, has its names, dimensions,
    coordinates, attributes and types again, and its times go on in the calendar of the data. Other
    series become a Dataset with a variable along time, rows and columns for each channel.

    Parameters
    ----------
    series : TimeSeries
        A series on a grid, with samples or without; or likelihood parameters or quantiles of one,
        as `predict(..., predict_likelihood_parameters=True)` and `TimeSeries.quantile` return them.
        Components without a grid become variables on one cell.

    Returns
    -------
    xarray.Dataset or xarray.DataArray
        A DataArray if the series came from one, else a Dataset. New dimensions come first:
        "sample" (numbered from 0); "quantile", with the quantiles to three decimals as Darts writes
        them; or "parameter", with the names of others. Cells that the mask hides are NaN. Integers
        become integers again where no value changes. What depends on time beside the fields, such
        as bounds, is there at times that the data had and left out if some are new. Values share
        the memory of the series where they can.

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
    source = take_apart(series)
    fields = build_variables(source)
    sizes = {dim: size for field in fields.values() for dim, size in field.sizes.items()}
    others = build_others(source, sizes)
    coordinates = build_coordinates(source, sizes)
    variables = {**fields, **static_variables(source)}
    for name, (variable, is_coordinate) in others.items():
        (coordinates if is_coordinate else variables)[name] = variable
    dropped = {entry["name"] for entry in source.layout["others"]} - set(others)
    drop_dangling({**variables, **coordinates}, dropped)
    if source.layout["form"] == "DataArray":
        return _as_array(variables, coordinates, source.layout)
    whole = typed_attributes(
        source.grid.attributes_of("global"), source.layout.get("global_types", {})
    )
    return xr.Dataset(variables, coordinates, whole)


def _as_array(
    variables: dict[str, xr.Variable],
    coordinates: dict[str, xr.Variable],
    layout: Mapping[str, Any],
) -> xr.DataArray:
    """Return the first variable; what else there is becomes coordinates of it."""
    name, *others = variables
    array = xr.DataArray(
        variables[name],
        {**coordinates, **{other: variables[other] for other in others}},
        name=layout["name"],
    )
    array.encoding = dict(variables[name].encoding)
    return array
