"""Find which dimension of a Dataset is time, rows, columns, channels or samples.

The attributes of the CF conventions decide first, then the type of the times, then names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from darts_mim._optional import import_optional

QUANTILE: Final = "quantile"
PARAMETER: Final = "parameter"
SAMPLE: Final = "sample"

_CF_AXES = {"time": "T", "y": "Y", "x": "X"}
_CF_COORDINATES = {"time": "time", "y": "latitude", "x": "longitude"}
_NAMES: dict[str, set[str]] = {
    "time": {"time", "t"},
    "y": {"y", "lat", "latitude", "rlat"},
    "x": {"x", "lon", "longitude", "rlon"},
    "channel": {"channel", "band", "variable"},
    "sample": {SAMPLE},
}


class Axes(NamedTuple):
    """The dimensions of the fields, and the coordinates of the first three."""

    time: str
    y: str
    x: str
    channel: str | None
    sample: str | None
    parameter: str | None
    coordinates: Mapping[str, str | None]  # from "time", "y", "x" to a 1-D coordinate

    @property
    def order(self) -> tuple[str | None, ...]:
        """The dimensions in the order of frames, (T, S, C, H, W, P)."""
        return self.time, self.sample, self.channel, self.y, self.x, self.parameter


def find_axes(data: xr.Dataset, given: Mapping[str, str | None]) -> Axes:
    """Find the axes of a Dataset.

    Parameters
    ----------
    data
        The fields and all variables beside them.
    given
        From "time", "y", "x", "channel" and "sample" to the name of a dimension or of a 1-D
        coordinate, or to None for an axis to find.

    Returns
    -------
    Axes
        The dimensions.

    Raises
    ------
    ValueError
        If an axis is missing or ambiguous, or if one dimension serves as two axes.
    """
    import_optional("cf_xarray", extra="xarray")  # gives Datasets the accessor `cf`
    dims: dict[str, str] = {}
    for role, name in given.items():
        if name is not None:
            dims[role] = _named(data, role, name)
        elif role in _CF_AXES:
            dims[role] = _found(data, role)
        elif found := [d for d in _free(data, dims) if d.lower() in _NAMES[role]]:
            dims[role] = _only(found, role)
    if len(set(dims.values())) < len(dims):
        raise ValueError(
            f"`data` must have a dimension for each axis, got {dims}; pass another one"
        )
    made = (d for d in _free(data, dims) if data[d].attrs.get("long_name") == long_name(d))
    optional: dict[str, Any] = {"channel": None, "sample": None, "parameter": next(made, None)}
    coordinates = {role: _coordinate(data, role, dims[role], given[role]) for role in _CF_AXES}
    return Axes(**{**optional, **dims}, coordinates=coordinates)


def long_name(dim: str) -> str:
    """Describe a dimension of samples or likelihood parameters, as `to_xarray` adds them."""
    return f"{dim} of the forecast"


def is_dates(coordinate: xr.DataArray) -> bool:
    """Return whether a coordinate holds dates, of any calendar."""
    is_index = coordinate.ndim == 1 and coordinate.dtype.kind in "MO"
    return is_index and isinstance(coordinate.to_index(), pd.DatetimeIndex | xr.CFTimeIndex)


def cells_of(coordinate: xr.DataArray | None, size: int) -> NDArray[np.float64]:
    """Return where rows or columns lie; their numbers if a coordinate does not say it."""
    if coordinate is not None and coordinate.dtype.kind in "fiu":
        values = coordinate.to_numpy().astype(np.float64)
        if np.isfinite(values).all():
            return values
    return np.arange(size, dtype=np.float64)


def _named(data: xr.Dataset, role: str, name: str) -> str:
    """Return the dimension that was named, itself or by its coordinate."""
    if name in data.dims:
        return name
    if name in data.coords and data[name].ndim == 1:
        return str(data[name].dims[0])
    raise ValueError(
        f"`{role}={name!r}` must name a dimension of `data` or a 1-D coordinate, got data with "
        f"{dict(data.sizes)}"
    )


def _found(data: xr.Dataset, role: str) -> str:
    """Return the dimension with the best evidence."""
    named = [d for d in _dims(data) if d.lower() in _NAMES[role]]
    dated = [c.name for c in data.coords.values() if role == "time" and is_dates(c)]
    for dims in (*(_along(data, names) for names in (*_attributed(data, role), dated)), named):
        if dims:
            return _only(dims, role)
    raise ValueError(
        f"`data` has no dimension for `{role}` with the attributes of one (axis, standard_name, "
        f"units) or its name ({', '.join(sorted(_NAMES[role]))}), got {dict(data.sizes)}; pass "
        f"`{role}=`, or add a time to one frame, `data.expand_dims(time=[...])`"
    )


def _attributed(data: xr.Dataset, role: str) -> tuple[list[Any], list[Any]]:
    """Return the coordinates that CF attributes call an axis, then those of the globe."""
    cf: Any = getattr(data, "cf")  # noqa: B009  xarray's types do not know the accessor
    return cf.axes.get(_CF_AXES[role], []), cf.coordinates.get(_CF_COORDINATES[role], [])


def _along(data: xr.Dataset, names: list[Any]) -> list[str]:
    """Return the dimensions of the 1-D ones among coordinates."""
    dims = {str(data[name].dims[0]) for name in names if data[name].ndim == 1}
    return [dim for dim in _dims(data) if dim in dims]


def _only(names: list[str], role: str) -> str:
    """Return the only dimension or coordinate, or the only one with a name of the axis."""
    named = [name for name in names if name.lower() in _NAMES[role]]
    for candidates in (names, named):
        if len(candidates) == 1:
            return candidates[0]
    raise ValueError(
        f"`data` has several dimensions or coordinates that may be `{role}`: {names}; choose with "
        f"{role}={names[0]!r}, or select the variables of one grid"
    )


def _dims(data: xr.Dataset) -> list[str]:
    """Return the dimensions of fields that change; bounds and the like have at most two."""
    of_fields = {d for v in data.data_vars.values() if v.ndim >= 3 for d in v.dims}
    return [str(d) for d in data.dims if d in of_fields or not of_fields]


def _free(data: xr.Dataset, dims: Mapping[str, str]) -> list[str]:
    return [dim for dim in _dims(data) if dim not in dims.values()]


def _coordinate(data: xr.Dataset, role: str, dim: str, name: str | None) -> str | None:
    """Return the name of the coordinate of an axis."""
    if name is not None and name != dim:
        return name
    along = [str(c.name) for c in data.coords.values() if c.dims == (dim,)]
    attributed = [n for names in _attributed(data, role) for n in along if n in names]
    dates = [n for n in along if role == "time" and is_dates(data[n])]
    if dim in data.coords and (dim in dates or not dates):
        return dim
    # the time of a run and the time it is for, say
    found = sorted(set(attributed) & set(dates) or dates or set(attributed))
    return _only(found, role) if len(found) == 1 or (found and role == "time") else None
