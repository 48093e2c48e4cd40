"""A series taken apart: what it holds, and what it remembers of xarray data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from darts import TimeSeries

from darts_mim.adapters.xarray.axes import PARAMETER, QUANTILE, SAMPLE
from darts_mim.adapters.xarray.layout import KEY, unpack
from darts_mim.grid import METADATA_KEY, Grid

_QUANTILE_NAME = re.compile(r"q(\d\.\d{3})")  # as Darts writes them


class Source(NamedTuple):
    """A series taken apart."""

    series: TimeSeries
    grid: Grid
    layout: Mapping[str, Any]
    parameters: list[str] | None  # names of likelihood parameters, where the series holds some

    @property
    def parameter_dim(self) -> str:
        """The name of the dimension of likelihood parameters."""
        names = self.parameters or [""]
        return QUANTILE if all(map(_QUANTILE_NAME.fullmatch, names)) else PARAMETER

    @property
    def sample_dim(self) -> str | None:
        """The name of the dimension of samples, or None without one."""
        known = self.layout["sample"] or {"dim": SAMPLE, "size": None}
        has_samples = self.series.n_samples > 1 or known["size"] == 1
        return str(known["dim"]) if has_samples else None


def take_apart(series: TimeSeries) -> Source:
    """Read what a series holds.

    Raises
    ------
    ValueError
        If its components are not those of its grid, nor likelihood parameters of them, or if it
        remembers the layout of other data.
    """
    metadata = series.metadata or {}
    if METADATA_KEY in metadata:
        grid = Grid.from_metadata(metadata[METADATA_KEY])
    else:
        grid = Grid(series.n_components, 1, 1, list(series.components))
    parameters = _parameters(series, grid)
    if parameters is None:
        Grid.from_series(series)  # raises where components are not those of the grid
    layout = unpack(grid.attributes_of(KEY)) or _plain_layout(grid)
    remembered = [name for entry in layout["variables"] for name in entry["channels"]]
    if remembered != list(grid.channel_names):
        raise ValueError(
            f"`series` remembers xarray data with the channels {remembered[:5]}, but has "
            f"{list(grid.channel_names[:5])}; leave {KEY!r} out of the attributes of its grid"
        )
    return Source(series, grid, layout, parameters)


def _plain_layout(grid: Grid) -> dict[str, Any]:
    """Return the layout of a series that was not made from xarray data."""
    rows, columns = tuple(grid.coordinates or ("y", "x"))
    dims = ["time", rows, columns]
    taken = sorted({*dims} & {*grid.channel_names})
    if taken or rows == columns or "time" in (rows, columns):
        raise ValueError(
            f"`series` has a channel or coordinate of a name that a dimension has, {dims}: "
            f"{taken or [rows, columns]}; rename it, for example with `frames_to_series` and "
            "`channel_names` or `coordinates`"
        )
    variables = [{"name": name, "dims": dims, "channels": [name]} for name in grid.channel_names]
    return {
        "form": "Dataset",
        "variables": variables,
        "time": {"dim": "time", "coordinate": "time"},
        "y": {"dim": rows, "coordinate": rows},
        "x": {"dim": columns, "coordinate": columns},
        "channel": None,
        "sample": None,
        "others": [],
    }


def _parameters(series: TimeSeries, grid: Grid) -> list[str] | None:
    """Return the names of the likelihood parameters that Darts appends to those of components."""
    per_cell, rest = divmod(series.n_components, grid.n_components)
    components = list(series.components)
    names = grid.component_names
    prefix = f"{names[0]}_"
    if rest or not all(name.startswith(prefix) for name in components[:per_cell]):
        return None
    parameters = [name.removeprefix(prefix) for name in components[:per_cell]]
    expected = [f"{name}_{parameter}" for name in names for parameter in parameters]
    return parameters if components == expected else None
