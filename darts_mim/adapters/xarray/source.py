"""A series taken apart for `to_xarray`: its frames, and the xarray data that it remembers.

Letters for shapes: T time, S samples, C channels, H height, W width, P likelihood parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from darts import TimeSeries
from numpy.typing import NDArray

from darts_mim.adapters.xarray.axes import PARAMETER, QUANTILE, SAMPLE
from darts_mim.adapters.xarray.frames import checksums, stretches
from darts_mim.adapters.xarray.memory import KEY, STAMPS, SUMS, as_numbers, recall
from darts_mim.grid import METADATA_KEY, Grid
from darts_mim.series import grid_of_forecast, parameter_names


class Source(NamedTuple):
    """A series taken apart."""

    series: TimeSeries
    grid: Grid
    layout: Mapping[str, Any]
    rest: xr.Dataset  # all but the fields, of the times of the series where it is known
    parameters: list[str]  # names of likelihood parameters, in a series of some
    frames: NDArray[Any]  # (T, S, C, H, W, P), with NaN in hidden cells
    is_data: bool  # whether the values are those of the xarray data at these times

    @property
    def dims(self) -> tuple[str | None, ...]:
        """The dimensions of frames, None for one that xarray data do not get."""
        known, samples = self.layout["dims"], self.layout["samples"]
        has_samples = self.series.n_samples > 1 or samples == 1
        sample = (known["sample"] or SAMPLE) if has_samples else None
        is_quantile = all(name.startswith("q0.") for name in self.parameters)  # as in Darts
        parameter = (QUANTILE if is_quantile else PARAMETER) if self.parameters else None
        return known["time"], sample, known["channel"], known["y"], known["x"], parameter


def take_apart(series: TimeSeries, *, is_forecast: bool) -> Source:
    """Read a series.

    Parameters
    ----------
    series
        The series.
    is_forecast
        Whether it is known to be a forecast, which need not be found out by its values.

    Returns
    -------
    Source
        Its parts.

    Raises
    ------
    ValueError
        If its components are not those of its grid, nor likelihood parameters of them, or if it
        remembers other data.
    """
    if METADATA_KEY in (series.metadata or {}):
        grid, parameters = grid_of_forecast(series), parameter_names(series)
    else:
        grid, parameters = Grid(series.n_components, 1, 1, list(series.components)), []
    memory = recall(grid)
    layout, rest = memory or (_plain_layout(grid), xr.Dataset())
    if [name for f in layout["fields"] for name in f["channels"]] != list(grid.channel_names):
        raise ValueError(
            f"`series` has the channels {list(grid.channel_names[:5])}, but remembers xarray data "
            f"with others; leave {KEY!r} out of the attributes of its grid"
        )
    values = series.all_values(copy=False)
    t, _, s = values.shape
    shape = (t, *grid.shape, max(1, len(parameters)), s)
    frames = np.moveaxis(values.reshape(shape), -1, 1)  # (T, S, C, H, W, P)
    is_data = not is_forecast
    if memory is not None:
        rows = pd.Index(rest[STAMPS].to_numpy()).get_indexer(
            pd.Index(as_numbers(series.time_index))
        )
        is_data = is_data and _has_sums(frames, rows, rest[SUMS].to_numpy())
        time = layout["dims"]["time"]
        is_known = is_data and (rows >= 0).all()
        rest = rest.isel({time: rows}) if is_known else rest.drop_dims(time)
    return Source(series, grid, layout, rest, parameters, _hidden(frames, grid), is_data)


def _has_sums(frames: NDArray[Any], rows: NDArray[np.intp], sums: NDArray[np.float32]) -> bool:
    """Return whether frames hold the values that the data had, and nothing else at other times."""
    expected = np.zeros((len(frames), 2), np.float32)
    expected[:, 1] = frames[0].size  # all NaN, as the frames that were inserted
    expected[rows >= 0] = sums[rows[rows >= 0]]
    with np.errstate(over="ignore", invalid="ignore"):  # values that a user may have computed
        for part in stretches(frames):
            found, tolerances = checksums(frames[part])
            if not np.isclose(found, expected[part], 0, tolerances, equal_nan=True).all():
                return False
    return True


def _hidden(frames: NDArray[Any], grid: Grid) -> NDArray[Any]:
    """Return frames with NaN in hidden cells; themselves where they have it already."""
    if grid.mask is None:
        return frames
    hidden = ~grid.mask
    if not all(np.isnan(frames[part][:, :, :, hidden]).all() for part in stretches(frames)):
        frames = frames.copy()
        frames[:, :, :, hidden] = np.nan
    return frames


def _plain_layout(grid: Grid) -> dict[str, Any]:
    """Return the layout of a series that was not made from xarray data."""
    names = dict(zip(("time", "y", "x"), ("time", *(grid.coordinates or "yx")), strict=True))
    dims = list(names.values())
    if len({*dims, *grid.channel_names}) < len(dims) + grid.channels:
        raise ValueError(
            f"`series` must have other names for its channels {list(grid.channel_names[:5])} than "
            f"for its dimensions {dims}; rename some, in `frames_to_series`"
        )
    return {
        "form": "Dataset",
        "fields": [{"name": name, "dims": dims, "channels": [name]} for name in grid.channel_names],
        "time": {"last": None},
        "dims": {**names, "channel": None, "sample": None, "coordinates": names},
        "samples": None,
        "coordinates": [],
        "encodings": {},
        "beside": [],
    }
