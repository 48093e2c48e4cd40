"""What a series remembers of xarray data beside its frames."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from darts_mim.adapters.xarray.axes import Axes
from darts_mim.adapters.xarray.layout import (
    KEY,
    encode_array,
    encode_variable,
    links_of,
    pack,
    plain_attributes,
)
from darts_mim.adapters.xarray.times import Times


class Memory(NamedTuple):
    """What a series remembers."""

    attributes: dict[str, dict[str, Any]]  # as a grid has them
    coordinates: dict[str, NDArray[np.float64]] | None  # of rows and columns

    @property
    def signature(self) -> str:
        """All of it as one string."""
        numbers = {name: values.tolist() for name, values in (self.coordinates or {}).items()}
        return json.dumps([self.attributes, numbers])


def remember(
    data: xr.Dataset,
    axes: Axes,
    times: Times,
    channels: Mapping[str, list[str]],
    origin: Mapping[str, Any],
) -> Memory:
    """Put coordinates and attributes where a grid has them, and all else into a layout."""
    attributes: dict[str, dict[str, Any]] = {}
    layout: dict[str, Any] = {**origin, "variables": []}
    for name, own in channels.items():
        plain, types = plain_attributes(data[name].attrs, name)
        entry = {
            "name": name,
            "dims": list(data[name].dims),
            "dtype": data[name].dtype.str,
            "channels": own,
            "types": types,
            "links": links_of(data[name]),
        }
        if axes.channel in data[name].dims:
            # all channels have its unit, but no channel its name
            entry["attributes"] = plain
            plain = {key: plain[key] for key in ("units",) if key in plain}
        attributes.update({channel: dict(plain) for channel in own})
        layout["variables"].append(entry)
    coordinates = {}
    for role in ("y", "x"):
        name, values, layout[role] = _axis(data, axes, role)
        coordinates[name] = values
        if layout[role]["coordinate"]:
            attributes[name], layout[role]["types"] = plain_attributes(data[name].attrs, name)
            layout[role]["links"] = links_of(data[name])
    attributes["time"], layout["time"] = _time(data, axes, times)
    attributes["global"], layout["global_types"] = plain_attributes(data.attrs, "the whole")
    layout["channel"] = axes.channel
    layout["sample"] = axes.sample and {"dim": axes.sample, "size": data.sizes[axes.sample]}
    layout["others"] = _others(data, axes, layout, list(channels))
    _remember_projections(data, layout, attributes)
    attributes[KEY] = dict(pack(layout))
    has_any = any(layout[role]["coordinate"] for role in ("y", "x"))
    return Memory(attributes, coordinates if has_any else None)


def _axis(data: xr.Dataset, axes: Axes, role: str) -> tuple[str, NDArray[np.float64], Any]:
    """Return the coordinate of rows or columns; numbers where there is none of finite numbers."""
    dim, name = getattr(axes, role), axes.coordinates[role]
    if name is not None and data[name].dtype.kind in "fiu":
        given = data[name].to_numpy()
        values = given.astype(np.float64)
        if np.isfinite(values).all() and (values.astype(given.dtype) == given).all():
            return name, values, {"dim": dim, "coordinate": name, "dtype": given.dtype.str}
    return dim, np.arange(data.sizes[dim], dtype=np.float64), {"dim": dim, "coordinate": None}


def _time(data: xr.Dataset, axes: Axes, times: Times) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the attributes of time, and its entry in the layout."""
    name = axes.coordinates["time"]
    variable = None if name is None else data[name].variable
    plain, types = ({}, {}) if variable is None else plain_attributes(variable.attrs, "time")
    index = times.stamps[times.positions].to_numpy()
    entry = {
        **times.layout,
        "dim": axes.time,
        "coordinate": name,
        "types": types,
        "links": {} if variable is None else links_of(variable),
        "encoding": {} if variable is None else _time_encoding(variable),
        "freq": str(times.stamps.freq if isinstance(times.stamps, pd.DatetimeIndex) else ""),
        "notes": dict(times.notes),
        "added": [key for key in times.notes if key not in plain],
        "known": encode_array(xr.DataArray(index)),
    }
    return {**times.notes, **plain}, entry


def _time_encoding(variable: xr.Variable) -> dict[str, str]:
    """Return how times were written: what goes on in the same steps can be written so, too."""
    encoding = variable.encoding
    written = {key: str(encoding[key]) for key in ("units", "calendar") if key in encoding}
    dtype = {"dtype": np.dtype(encoding["dtype"]).str} if encoding.get("dtype") else {}
    return written | dtype


def _others(
    data: xr.Dataset, axes: Axes, layout: Mapping[str, Any], fields: list[str]
) -> list[dict[str, Any]]:
    """Encode what is neither a field nor the coordinate of an axis."""
    held = {layout[role]["coordinate"] for role in ("time", "y", "x")}
    others = []
    for name, variable in data.variables.items():
        if name in held or name in fields:
            continue
        dims = set(variable.dims)
        if axes.time in dims and dims & {axes.y, axes.x}:
            raise ValueError(
                f"`data` has {name!r} along {variable.dims}, but what changes with time and place "
                f"must be a channel; leave it out, data.drop_vars({name!r}), or make it one, "
                f"data.reset_coords({name!r})"
            )
        others.append(encode_variable(data, str(name)))
    return others


def _remember_projections(
    data: xr.Dataset, layout: Mapping[str, Any], attributes: dict[str, dict[str, Any]]
) -> None:
    """Show the attributes of grid mappings, the coordinate reference systems, in the grid's."""
    for variable in layout["variables"]:
        source = data[variable["name"]]
        text = str(source.attrs.get("grid_mapping", source.encoding.get("grid_mapping", "")))
        for other in layout["others"]:
            name = other["name"]
            if name in text.replace(":", " ").split() and name not in attributes:
                attributes[name] = dict(other["attributes"])
