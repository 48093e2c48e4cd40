"""Which dimension of an xarray Dataset is time, rows, columns, channels, samples.

Attributes of the CF conventions are believed first, then types and units, then names.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Final, NamedTuple

import xarray as xr

QUANTILE: Final = "quantile"
PARAMETER: Final = "parameter"
SAMPLE: Final = "sample"

LONG_NAMES: Final = {
    QUANTILE: "quantile of the forecast",
    PARAMETER: "parameter of the predicted distribution",
    SAMPLE: "sample of the forecast",
}
"""What `to_xarray` writes beside the dimensions that it makes."""

_AXIS = {"time": "T", "y": "Y", "x": "X"}
_STANDARD_NAMES = {
    "time": {"time"},
    "y": {"latitude", "grid_latitude", "projection_y_coordinate"},
    "x": {"longitude", "grid_longitude", "projection_x_coordinate"},
}
_UNITS = {
    "y": {"degrees_north", "degree_north", "degrees_n", "degree_n", "degreesn", "degreen"},
    "x": {"degrees_east", "degree_east", "degrees_e", "degree_e", "degreese", "degreee"},
}
_NAMES: dict[str, set[str]] = {
    "time": {"time", "t"},
    "y": {"y", "lat", "latitude", "rlat"},
    "x": {"x", "lon", "longitude", "rlon"},
    "channel": {"channel", "band", "variable"},
    "sample": {SAMPLE},
}
_MEANINGS = {"time": "time", "y": "the rows", "x": "the columns"}
_INTERPOLATE = "fields on a mesh or at stations must be interpolated to rows and columns first"
_REMEDIES = {
    "time": "a single frame gets one with `data.expand_dims(time=[...])`",
    "y": _INTERPOLATE,
    "x": _INTERPOLATE,
}


class Axes(NamedTuple):
    """The dimensions of the fields, and the coordinates that belong to the first three."""

    time: str
    y: str
    x: str
    channel: str | None
    sample: str | None
    parameter: str | None
    coordinates: Mapping[str, str | None]  # from "time", "y", "x" to a 1-D coordinate

    @property
    def order(self) -> tuple[str, ...]:
        """The dimensions in the order of frames, (T, S, C, H, W, P), those that there are."""
        ordered = (self.time, self.sample, self.channel, self.y, self.x, self.parameter)
        return tuple(dim for dim in ordered if dim is not None)


def find_axes(data: xr.Dataset, told: Mapping[str, str | None]) -> Axes:
    """Find the axes of a Dataset.

    Parameters
    ----------
    data
        The fields and what lies beside them.
    told
        From "time", "y", "x", "channel" and "sample" to the name of a dimension or of a 1-D
        coordinate, or to None where it is to be found.

    Returns
    -------
    Axes
        The dimensions.

    Raises
    ------
    ValueError
        If there is no such dimension, more than one, or one for two axes.
    """
    coordinates: dict[str, str | None] = {}
    dims: dict[str, str] = {}
    for role in ("time", "y", "x"):
        name = told[role]
        dims[role] = _told(data, role, name) if name is not None else _found(data, role)
        coordinates[role] = _coordinate(data, role, dims[role], name)
    for role in ("channel", "sample"):
        name = told[role]
        named = [d for d in _free(data, dims) if d.lower() in _NAMES[role]]
        if name is not None:
            dims[role] = _told(data, role, name)
        elif named:
            dims[role] = _only(named, role, data)
    _check_different(dims)
    parameters = [d for d in (QUANTILE, PARAMETER) if d in _free(data, dims)]
    parameter = next((d for d in parameters if _holds_parameters(data, d)), None)
    return Axes(
        time=dims["time"],
        y=dims["y"],
        x=dims["x"],
        channel=dims.get("channel"),
        sample=dims.get("sample"),
        parameter=parameter,
        coordinates=coordinates,
    )


def check_dims(name: Hashable, variable: xr.Variable, axes: Axes) -> None:
    """Raise if a field has a dimension that is no axis.

    Raises
    ------
    ValueError
        If it has one.
    """
    for dim, size in variable.sizes.items():
        if dim not in axes.order:
            raise ValueError(
                f"`data` has a field {name!r} with the dimension {dim!r} of size {size}, which is "
                f"none of time, y, x; choose one entry, `data.isel({dim}=0)`, or say what they "
                f"are: channel={dim!r} or sample={dim!r}"
            )


def described(sizes: Mapping[Hashable, int]) -> str:
    """Name dimensions with their sizes, for messages."""
    return ", ".join(f"{dim!r} ({size})" for dim, size in sizes.items()) or "none"


def _told(data: xr.Dataset, role: str, name: str) -> str:
    """Return the dimension that was named, itself or by its coordinate."""
    if not isinstance(name, str):
        raise TypeError(
            f"`{role}` must be the name of a dimension or coordinate, got {name!r} of type "
            f"{type(name).__name__}; pass a string"
        )
    if name in data.dims:
        return name
    if name in data.coords and data[name].ndim == 1:
        return str(data[name].dims[0])
    got = f"a coordinate along {data[name].dims}" if name in data.coords else "neither"
    raise ValueError(
        f"`{role}={name!r}` must name a dimension of `data` or a coordinate along one, got {got}; "
        f"the dimensions are {described(data.sizes)}"
    )


def _found(data: xr.Dataset, role: str) -> str:
    """Return the dimension for which the best evidence speaks."""
    for dims in (
        _attributed(data, "axis", {_AXIS[role]}),
        _attributed(data, "standard_name", _STANDARD_NAMES[role]),
        [d for d in _dims(data) if any(_has_type(c, role) for c in _along(data, d))],
        [d for d in _dims(data) if d.lower() in _NAMES[role]],
    ):
        if dims:
            return _only(dims, role, data)
    raise ValueError(
        f"`data` has no dimension for {_MEANINGS[role]} that can be told by its attributes (axis, "
        f"standard_name, units) or its name ({', '.join(sorted(_NAMES[role]))}); its dimensions "
        f"are {described(data.sizes)}. Pass `{role}=` if it is one of them; {_REMEDIES[role]}"
    )


def _only(dims: list[str], role: str, data: xr.Dataset) -> str:
    """Return the one of several dimensions that also bears the name, if there is one."""
    named = [d for d in dims if d.lower() in _NAMES[role]]
    for candidates in (dims, named):
        if len(candidates) == 1:
            return candidates[0]
    raise ValueError(
        f"`data` has {len(dims)} dimensions that may be `{role}`: "
        f"{described({d: data.sizes[d] for d in dims})}; choose with {role}={dims[0]!r}, or "
        "select the variables of one grid"
    )


def _dims(data: xr.Dataset) -> list[str]:
    """Return the dimensions of fields that change; bounds and the like have at most two."""
    of_fields = {d for v in data.data_vars.values() if v.ndim >= 3 for d in v.dims}
    return [str(d) for d in data.dims if d in of_fields or not of_fields]


def _along(data: xr.Dataset, dim: str) -> list[xr.DataArray]:
    """Return the 1-D coordinates of a dimension, or its own alone if it has one.

    One of lead times is not enough: the times that they lead to stand beside it.
    """
    along = [c for c in data.coords.values() if c.dims == (dim,)]
    own = [c for c in along if c.name == dim and c.dtype.kind != "m"]
    return own or along


def _attributed(data: xr.Dataset, key: str, values: set[str]) -> list[str]:
    return [d for d in _dims(data) if any(str(c.attrs.get(key)) in values for c in _along(data, d))]


def _has_type(coordinate: xr.DataArray, role: str) -> bool:
    """Tell whether type or unit speak for an axis."""
    units = str(coordinate.attrs.get("units", ""))
    if role == "time":
        return is_dates(coordinate) or " since " in units
    return units.lower() in _UNITS[role]


def is_dates(coordinate: xr.DataArray) -> bool:
    """Tell whether a coordinate holds dates, of any calendar."""
    return coordinate.dtype.kind == "M" or is_calendar(coordinate)


def is_calendar(coordinate: xr.DataArray) -> bool:
    """Tell whether a coordinate holds dates of cftime."""
    return (
        coordinate.dtype.kind == "O"
        and coordinate.size > 0
        and hasattr(coordinate.values.flat[0], "calendar")
    )


def _coordinate(data: xr.Dataset, role: str, dim: str, name: str | None) -> str | None:
    """Return the name of the coordinate of an axis."""
    if name is not None and name != dim:
        return name
    if role == "time":  # of a forecast's steps, the times
        dates = [c for c in _along(data, dim) if _has_type(c, role)]
        if len(dates) > 1:  # the run and the time it is for, say
            dates = [c for c in dates if _is_attributed(c, role)] or dates
        if len(dates) > 1:
            names = [str(c.name) for c in dates]
            raise ValueError(
                f"`data` has {len(names)} coordinates of dates along {dim!r}: {names}; choose the "
                f"times of the frames with time={names[0]!r}"
            )
        return str(dates[0].name) if dates else dim if dim in data.coords else None
    if dim in data.coords:
        return dim
    along = [str(c.name) for c in _along(data, dim) if _speaks_for(c, role)]
    return along[0] if len(along) == 1 else None


def _speaks_for(coordinate: xr.DataArray, role: str) -> bool:
    return _is_attributed(coordinate, role) or _has_type(coordinate, role)


def _is_attributed(coordinate: xr.DataArray, role: str) -> bool:
    attributes = coordinate.attrs
    return (
        attributes.get("axis") == _AXIS[role]
        or attributes.get("standard_name") in _STANDARD_NAMES[role]
    )


def _free(data: xr.Dataset, dims: Mapping[str, str]) -> list[str]:
    return [d for d in _dims(data) if d not in dims.values()]


def _holds_parameters(data: xr.Dataset, dim: str) -> bool:
    """Tell whether a dimension is one that `to_xarray` made of likelihood parameters."""
    return dim in data.coords and data[dim].attrs.get("long_name") == LONG_NAMES[dim]


def _check_different(dims: Mapping[str, str]) -> None:
    for role, dim in dims.items():
        others = [other for other, same in dims.items() if same == dim and other != role]
        if others:
            raise ValueError(
                f"`{role}` and `{others[0]}` are both the dimension {dim!r} of `data`; pass "
                f"another one as `{role}` or `{others[0]}`"
            )
