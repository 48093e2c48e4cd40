"""Fields of xarray to series."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from darts import TimeSeries
from darts.utils.likelihood_models.base import likelihood_component_names
from numpy.typing import DTypeLike, NDArray

from darts_mim.adapters.xarray.axes import QUANTILE, Axes, cells_of, find_axes
from darts_mim.adapters.xarray.fields import (
    UNNAMED,
    channel_names,
    field_names,
    read_mask,
    read_static,
)
from darts_mim.adapters.xarray.frames import Plan, map_frames, scan_frames
from darts_mim.adapters.xarray.memory import KEY, make_layout, plain_attributes, remember
from darts_mim.adapters.xarray.times import read_times
from darts_mim.checks import checked_float_type
from darts_mim.series import frames_to_series, rebuild_series
from darts_mim.times import Frequency


def from_xarray(
    data: xr.DataArray | xr.Dataset,
    *,
    time: str | None = None,
    y: str | None = None,
    x: str | None = None,
    channel: str | None = None,
    sample: str | None = None,
    static: str | Sequence[str] = (),
    mask: bool | NDArray[np.bool_] | xr.DataArray = True,
    freq: Frequency | None = None,
    dtype: DTypeLike | None = np.float32,
    cache: str | os.PathLike[str] | None = None,
    reuse: bool = False,
    progress: bool = True,
) -> TimeSeries:
    """Turn fields of a DataArray or Dataset into a series that carries its grid.

    cf_xarray finds time, rows and columns by the attributes of the CF conventions (``axis``,
    ``standard_name``, ``units``); the type of the times or a name decides where there are none:
    ``time``, ``t``; ``y``, ``lat``, ``latitude``, ``rlat``; ``x``, ``lon``, ``longitude``,
    ``rlon``. Each variable of a Dataset becomes a channel, or several along a channel dimension.
    Rows and columns stay in the order of the data.

    The grid holds coordinates, attributes, calendar, time zone and projection. They travel through
    `GridScaler` and `predict`, and `to_xarray` restores them.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        Fields along time, rows and columns, in any order and unit, decoded as `xarray.open_dataset`
        does; NaN marks missing values. Grid mappings, bounds and cell measures of fields are kept;
        select other variables with ``data[["sst", "ice"]]``.
    time, y, x : str, optional
        Names of the dimensions, or of 1-D coordinates along them, if they are not found.
    channel : str, optional
        Dimension whose entries are channels. Default: one called "channel", "band" or "variable".
    sample : str, optional
        Dimension whose entries are samples of a stochastic series, such as the members of an
        ensemble. Default: one called "sample", as `to_xarray` makes it.
    static : str or sequence of str, optional
        Names of variables along rows and columns alone, such as the elevation: they become static
        covariates. Models take them if they are finite.
    mask : bool, array or DataArray of bool
        True hides the cells that never have a value, False hides none, an array of shape (H, W) is
        True where the grid is observed. A grid has one mask: a cell without a value in one channel
        is hidden in all, with a warning in the log.
    freq : int, str, timedelta or pandas offset, optional
        Time from a frame to the next, such as ``"MS"``. With it, missing frames become NaN.
        Default: read from the times, which then must be regular; fewer than three dates need it.
    dtype : floating dtype, optional
        Type of the values: float32, so that models are trained in float32. None is float64 where
        the data are. `to_xarray` restores the type of the data.
    cache : path, optional
        Folder for a NumPy file of the frames, which is written chunk by chunk and mapped. It
        appears whole or not at all. Data in chunks of Dask need it, or ``data.load()``.
    reuse : bool
        Whether to take the file of an earlier call from `cache`. Shapes, names, coordinates and
        attributes must agree, and the first, middle and last frame; other values are not compared.
        Default: the file is written again.
    progress : bool
        Whether to show a bar while the file is written.

    Returns
    -------
    TimeSeries
        Shape (T, N, S). It shares the memory of a single variable of the type `dtype` with its
        dimensions in the order time, channel, y, x. Months of other calendars than NumPy's become
        dates, and other times of theirs integers from 0.

    Raises
    ------
    ImportError
        If a package of the extra ``darts-mim[xarray]`` is missing.
    TypeError
        If `data` is something else, or holds other values than numbers in its fields or times.
    ValueError
        If time, rows or columns are missing or ambiguous, there are other dimensions, times do not
        increase regularly, values are infinite or not decoded, or chunked data have no `cache`.
    OSError
        If `cache` has no room for the file.

    See Also
    --------
    to_xarray : The inverse, which takes forecasts too.

    Examples
    --------
    >>> from darts_mim import Grid
    >>> from darts_mim.adapters.xarray import to_xarray
    >>> sst = xr.DataArray(
    ...     np.zeros((24, 3, 4), np.float32),
    ...     dims=("time", "lat", "lon"),
    ...     coords={
    ...         "time": pd.date_range("2020-01-01", periods=24, freq="MS"),
    ...         "lat": [10.0, 0.0, -10.0],
    ...         "lon": [0.0, 90.0, 180.0, 270.0],
    ...     },
    ...     attrs={"units": "degC"},
    ...     name="sst",
    ... )
    >>> series = from_xarray(sst)
    >>> print(Grid.from_series(series))
    Grid of 1 channel (sst) x 3 rows x 4 columns, lat 10 to -10, lon 0 to 270
    >>> to_xarray(series).identical(sst)
    True
    """
    if not isinstance(data, xr.Dataset | xr.DataArray):
        raise TypeError(
            f"`data` must be an xarray DataArray or Dataset, got {type(data).__name__}; open files "
            "with `xarray.open_dataset`, and turn arrays into series with `frames_to_series`"
        )
    name = None if isinstance(data, xr.Dataset) else data.name
    own = UNNAMED if name is None else name
    dataset = data if isinstance(data, xr.Dataset) else data.to_dataset(name=own)
    given = {"time": time, "y": y, "x": x, "channel": channel, "sample": sample}
    axes = find_axes(dataset, given)
    static = [static] if isinstance(static, str) else list(static)
    static_fields = read_static(dataset, axes, static)
    names = field_names(dataset, axes, static)
    channels = channel_names(dataset, axes, names)
    coordinate = dataset.get(axes.coordinates["time"])
    times = read_times(coordinate, dataset.sizes[axes.time], freq)
    origin = {"form": type(data).__name__, "name": name}
    layout = origin | make_layout(dataset, axes, times, channels)
    attributes = plain_attributes(dataset, axes, times, channels)
    located = {axes.coordinates[role] or dim: dim for role, dim in (("y", axes.y), ("x", axes.x))}
    cells = {n: cells_of(dataset.get(n), dataset.sizes[dim]) for n, dim in located.items()}
    coordinates = cells if set(located) & set(dataset.coords) else None
    fields = [dataset[name] for name in names]
    floats = [field.dtype for field in fields if field.dtype.kind == "f"]
    target = checked_float_type(np.result_type(np.float32, *floats) if dtype is None else dtype)
    plan = Plan(fields, axes, times.stamps, times.positions, target)
    described = [layout, attributes, [values.tolist() for values in cells.values()]]
    if cache is not None:
        frames, observed, sums = map_frames(
            plan, Path(cache), described, reuse=reuse, progress=progress
        )
    elif any(field.chunks is not None for field in fields):
        raise ValueError(
            "`data` is in chunks that are not loaded; pass a folder as `cache`, to write it into a "
            "file there chunk by chunk, or `data.load()` to hold it in memory"
        )
    else:
        frames = plan.frames()
        observed, sums = scan_frames(frames, plan.times)
    attributes[KEY] = remember(dataset, axes, times, layout, sums)
    flat_names = [name for own in channels.values() for name in own]
    series: Any = frames_to_series(
        frames[..., 0],
        layout="TSCHW",
        channel_names=flat_names,
        times=times.stamps,
        coordinates=coordinates,
        mask=read_mask(mask, observed, axes),
        static_fields=static_fields,
        attributes=attributes,
        dtype=None,
    )
    return series if axes.parameter is None else _with_parameters(series, frames, dataset, axes)


def _with_parameters(
    series: TimeSeries, frames: NDArray[Any], data: xr.Dataset, axes: Axes
) -> TimeSeries:
    """Return a series of likelihood parameters, named as Darts names them."""
    labels = data[axes.parameter].to_numpy().tolist()
    names = [f"q{label:.3f}" if axes.parameter == QUANTILE else str(label) for label in labels]
    values = frames.reshape(*frames.shape[:2], -1).swapaxes(1, 2)
    components: Any = pd.Index(likelihood_component_names(series.components, names))
    return rebuild_series(series, values=values, components=components, static_covariates=None)
