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
from numpy.typing import DTypeLike, NDArray

from darts_mim.adapters.xarray.axes import QUANTILE, Axes, find_axes
from darts_mim.adapters.xarray.fields import (
    as_dataset,
    channel_names,
    field_names,
    hidden_cells,
    make_fields,
    read_static,
)
from darts_mim.adapters.xarray.frames import Field, Plan, load_frames, map_frames
from darts_mim.adapters.xarray.memory import remember
from darts_mim.adapters.xarray.times import read_times
from darts_mim.series import frames_to_series
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

    Time, rows and columns are found by the attributes of the CF conventions (``axis``,
    ``standard_name``, ``units``), by the type of the times, or by name: ``time``, ``t``; ``y``,
    ``lat``, ``latitude``, ``rlat``; ``x``, ``lon``, ``longitude``, ``rlon``. Each variable of a
    Dataset becomes a channel, or several along a channel dimension. Rows and columns stay in the
    order of the data: a latitude that descends, a longitude from 0 to 360.

    Coordinates, units, attributes, calendar, time zone and coordinate reference system go with the
    grid, through `GridScaler` and `predict`, and `to_xarray` gives them back.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        Fields along time, rows and columns, in any order and unit, decoded as `xarray.open_dataset`
        does; NaN marks what is missing. Variables that others name as their grid mapping, bounds
        or cell measures are kept; choose among the rest with ``data[["sst", "ice"]]``.
    time, y, x : str, optional
        Names of the dimensions, or of 1-D coordinates along them, where they are not found.
    channel : str, optional
        Dimension whose entries are channels. Default: one called "channel", "band" or "variable".
    sample : str, optional
        Dimension whose entries are samples of a stochastic series, such as the members of an
        ensemble. Default: one called "sample", as in what `to_xarray` makes of forecasts.
    static : str or sequence of str, optional
        Names of variables along rows and columns alone, such as the elevation: they become static
        covariates. Their values must be finite.
    mask : bool, array or DataArray of bool
        True hides the cells that never have a value, False hides none, an array of shape (H, W) is
        True where the grid is observed. A grid has one mask: a cell without a value in one channel
        is hidden in all, with a warning in the log.
    freq : int, str, timedelta or pandas offset, optional
        Time from a frame to the next, such as ``"MS"``. Where it is given, frames that the data
        lack become NaN. Default: read from the times, which then must be regular; fewer than three
        dates need it.
    dtype : floating dtype, optional
        Type of the values: float32, so that models are trained in float32. None is float64 where
        the data are. `to_xarray` gives back the type of the data.
    cache : path, optional
        Folder for a file in the format of NumPy that the frames are written to and mapped from, a
        stretch at a time: about a million values, or a chunk of the data if that holds more.
        The file appears whole or not at all. Data in chunks of Dask need it, or ``data.load()``.
    reuse : bool
        Whether to take the file of an earlier call from `cache`. That is for you to know: the file
        is found by shapes, names, coordinates and attributes, and its first, middle and last frame
        are compared, but not all values. Default: it is written anew, and replaced.
    progress : bool
        Whether to show a bar while the file is written.

    Returns
    -------
    TimeSeries
        Shape (T, N, S). It shares the memory of a single variable of the type `dtype` with its
        dimensions in the order time, channel, y, x. Dates of other calendars than numpy's become
        dates where they are months, and integers from 0 on where they are not.

    Raises
    ------
    TypeError
        If `data` is something else, or holds something else than numbers in its fields or times.
    ValueError
        If time, rows or columns are missing or ambiguous, there are other dimensions, times do not
        increase regularly, values are infinite or not decoded, or chunked data have no `cache`.
    OSError
        If `cache` is no folder, or has no room for the file.

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
    dataset, origin = as_dataset(data)
    told = {"time": time, "y": y, "x": x, "channel": channel, "sample": sample}
    axes = find_axes(dataset, told)
    static = [static] if isinstance(static, str) else list(static)
    static_fields = read_static(dataset, axes, static)
    names = field_names(dataset, axes, static)
    fields = make_fields(dataset, axes, names)
    own_names = channel_names(dataset, axes, names)
    named = axes.coordinates["time"]
    times = read_times(None if named is None else dataset[named], dataset.sizes[axes.time], freq)
    memory = remember(dataset, axes, times, dict(zip(names, own_names, strict=True)), origin)
    plan = Plan(fields, times.stamps, times.positions, _float_type(dtype, fields))
    frames, observed = _read(plan, memory.signature, cache, reuse, progress)
    flat_names = [name for each in own_names for name in each]
    series: Any = frames_to_series(
        frames[..., 0],
        layout="TSCHW",
        channel_names=flat_names,
        times=times.stamps,
        coordinates=memory.coordinates,
        mask=_mask(mask, observed, flat_names, axes),
        static_fields=static_fields,
        attributes=memory.attributes,
        dtype=None,
    )
    return series if axes.parameter is None else _with_parameters(series, frames, dataset, axes)


def _read(
    plan: Plan, signature: str, cache: Any, reuse: bool, progress: bool
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    if reuse and cache is None:
        raise ValueError("`reuse=True` takes a file from `cache`, but there is none; pass a folder")
    if cache is not None:
        return map_frames(plan, Path(cache), signature, reuse=reuse, progress=progress)
    chunked = [field.name for field in plan.fields if field.variable.chunks is not None]
    if chunked:
        raise ValueError(
            f"`data` is in chunks that are not loaded ({', '.join(chunked[:3])}); pass a folder as "
            "`cache`, to write it into a file there a stretch at a time, or `data.load()` to hold "
            "it in memory"
        )
    return load_frames(plan)


def _float_type(dtype: DTypeLike | None, fields: Sequence[Field]) -> np.dtype[Any]:
    """Return the type of the values of a series."""
    if dtype is None:
        floats = [f.variable.dtype for f in fields if f.variable.dtype.kind == "f"]
        dtype = np.result_type(np.float32, *floats)
    target = np.dtype(dtype).newbyteorder("=")
    if target.kind != "f":
        raise TypeError(
            f"`dtype` must be floating, because series hold floats, got {target}; pass np.float32 "
            "or np.float64"
        )
    return target


def _mask(
    given: Any, observed: NDArray[np.bool_], names: Sequence[str], axes: Axes
) -> NDArray[np.bool_] | None:
    """Return the mask (H, W), or None without one."""
    if isinstance(given, bool | np.bool_):
        return hidden_cells(observed, names) if given else None
    if isinstance(given, xr.DataArray):
        if set(given.dims) != {axes.y, axes.x}:
            raise ValueError(
                f"`mask` must lie along {axes.y!r} and {axes.x!r}, got {given.dims}; pass one mask "
                "for all times and channels"
            )
        given = given.transpose(axes.y, axes.x).to_numpy()
    mask: NDArray[np.bool_] = np.asarray(given)  # the grid checks it
    return mask


def _with_parameters(
    series: TimeSeries, frames: NDArray[Any], data: xr.Dataset, axes: Axes
) -> TimeSeries:
    """Return a series of likelihood parameters, named as Darts names them."""
    labels = data[axes.parameter].to_numpy().tolist()
    names = [f"q{label:.3f}" if axes.parameter == QUANTILE else str(label) for label in labels]
    t, s = frames.shape[:2]
    values = frames.reshape(t, s, -1).swapaxes(1, 2)
    components: Any = pd.Index([f"{c}_{name}" for c in series.components for name in names])
    return TimeSeries(
        series.time_index, values, components=components, metadata=series.metadata, copy=False
    )
