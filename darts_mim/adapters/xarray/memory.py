"""What a series remembers of xarray data: the Dataset without its fields.

The attributes of the series' grid hold it as the text of a NetCDF file, which costs nothing when
Darts copies the metadata, and a layout in JSON, which says what each variable is. Its other
attributes repeat those of channels, coordinates and times in plain data, for pictures and users.
"""

from __future__ import annotations

import base64
import io
import json
import zlib
from collections.abc import Container, Mapping
from functools import lru_cache
from typing import Any, Final

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from darts_mim.adapters.xarray.axes import Axes
from darts_mim.adapters.xarray.fields import LINKS, linked_names, names_of_places
from darts_mim.adapters.xarray.times import Times
from darts_mim.grid import Grid

KEY: Final = "xarray"
"""Where the memory lies in the attributes of a grid."""

# names in the Dataset without its fields; the first two hold attributes alone
OWN: Final = "darts_mim_"
FIELD, TIME, STAMPS, SUMS = (f"{OWN}{name}" for name in ("field", "time", "stamps", "sums"))


def make_layout(
    data: xr.Dataset, axes: Axes, times: Times, channels: Mapping[str, list[str]]
) -> dict[str, Any]:
    """Describe in plain data which variable of a Dataset is what."""
    time = axes.coordinates["time"]
    encodings = {}
    for name, variable in data.variables.items():
        kept = (*LINKS, *(("units", "calendar", "dtype") if name == time else ()))
        encodings[name] = {k: str(v) for k in kept if (v := variable.encoding.get(k)) is not None}
    return {
        "fields": [
            {"name": name, "dims": data[name].dims, "dtype": data[name].dtype.str, "channels": own}
            for name, own in channels.items()
        ],
        "has_cftime": any(_is_cftime(v) for n, v in data.variables.items() if n != time),
        "beside": sorted(str(name) for name in {*data.variables} - {*channels, time}),
        "time": {
            **times.layout,
            "freq": getattr(times.stamps, "freqstr", ""),
            "last": int(as_numbers(times.stamps)[-1]),
        },
        "dims": axes._asdict(),
        "samples": data.sizes.get(axes.sample),
        "coordinates": sorted(str(name) for name in data.coords),
        "encodings": encodings,
    }


def plain_attributes(
    data: xr.Dataset, axes: Axes, times: Times, channels: Mapping[str, list[str]]
) -> dict[str, dict[str, Any]]:
    """Return the attributes of channels, coordinates, times and projections, as plain data."""
    projections = sorted(linked_names(data, list(channels), ["grid_mapping"]))
    names = [name for name in (*axes.coordinates.values(), *projections) if name is not None]
    found = {name: _plain(data[name].attrs) for name in names}
    for name, own in channels.items():
        plain = _plain(data[name].attrs)
        if axes.channel in data[name].dims:  # all channels have its unit, but not its name
            plain = {key: plain[key] for key in ("units",) if key in plain}
        found.update({channel: dict(plain) for channel in own})
    time = found.pop(axes.coordinates["time"] or "", {})
    return {**found, "time": times.notes | time, "global": _plain(data.attrs)}


def remember(
    data: xr.Dataset, axes: Axes, times: Times, layout: Mapping[str, Any], sums: NDArray[Any]
) -> dict[str, str]:
    """Return the entry of a grid's attributes with which `recall` restores a Dataset.

    Raises
    ------
    TypeError
        If an attribute or a coordinate cannot be written to a NetCDF file.
    ValueError
        If a coordinate changes with time and place.
    """
    time = axes.coordinates["time"]
    rest = data[layout["beside"]].reset_coords().drop_vars(time or [], errors="ignore")
    rest = rest.drop_encoding()
    places = names_of_places(data, axes)
    for name in [name for name in rest.data_vars if axes.time in rest[name].dims]:
        if name in places or {axes.y, axes.x} & set(rest[name].dims):
            rest[name] = _without_time(rest[name], axes.time)
    for number, field in enumerate(layout["fields"]):
        rest[f"{FIELD}_{number}"] = (), 0.0, data[field["name"]].attrs
    rest[TIME] = (), 0.0, {} if time is None else data[time].attrs
    rest[STAMPS] = axes.time, as_numbers(times.stamps[times.positions])
    rest[SUMS] = (axes.time, SUMS), sums[times.positions]
    for variable in rest.variables.values():
        variable.encoding = {} if "_FillValue" in variable.attrs else {"_FillValue": None}
    packed = zlib.compress(rest.to_netcdf(engine="h5netcdf", invalid_netcdf=True))
    return {"layout": json.dumps(layout), "rest": base64.b64encode(packed).decode("ascii")}


def recall(grid: Grid) -> tuple[dict[str, Any], xr.Dataset] | None:
    """Restore what `remember` wrote: the layout, and all but the fields and the times.

    None if a series was not made of xarray data.
    """
    kept = grid.attributes_of(KEY)
    if not kept:
        return None
    layout = json.loads(kept["layout"])
    return layout, _unpacked(kept["rest"], layout["has_cftime"]).copy(deep=True)


@lru_cache(maxsize=8)  # the forecasts of one backtest share a text
def _unpacked(text: str, has_cftime: bool) -> xr.Dataset:
    """Read a Dataset from its text.

    Raises
    ------
    ValueError
        If the Dataset claims to be larger than its text.
    """
    file = zlib.decompress(base64.b64decode(text))
    options: dict[str, Any] = {
        "decode_times": xr.coders.CFDatetimeCoder(use_cftime=has_cftime or None),
        "decode_timedelta": xr.coders.CFTimedeltaCoder(decode_via_units=False),
        "decode_coords": False,
        "mask_and_scale": False,
    }
    with xr.open_dataset(io.BytesIO(file), engine="h5netcdf", **options) as opened:
        if opened.nbytes > len(file):
            raise ValueError(
                f"`series` remembers a Dataset of {opened.nbytes} bytes in a file of {len(file)}, "
                f"which is damaged; leave {KEY!r} out of the attributes of its grid"
            )
        return opened.load().drop_encoding()


def restored_attributes(
    grid: Grid, name: str, given: Mapping[Any, Any], kept: Container[str] | None = None
) -> dict[str, Any]:
    """Return attributes of the data, and those of the grid that a user has changed.

    Parameters
    ----------
    grid
        The grid.
    name
        Whose attributes: a channel, a coordinate, "time" or "global".
    given
        The attributes of the data.
    kept
        Which of these to keep; all by default.

    Returns
    -------
    dict
        The attributes.
    """
    plain = _plain(given)
    changed = {k: v for k, v in grid.attributes_of(name).items() if k not in plain or plain[k] != v}
    return {key: given[key] for key in given if kept is None or key in kept} | changed


def as_numbers(index: Any) -> NDArray[np.int64]:
    """Return dates, in microseconds, or integers."""
    is_dates = isinstance(index, pd.DatetimeIndex)
    numbers: NDArray[np.int64] = index.as_unit("us").asi8 if is_dates else index.to_numpy()
    return numbers


def _is_cftime(variable: xr.Variable) -> bool:
    is_object = variable.dtype.kind == "O" and variable.size > 0
    return is_object and hasattr(variable.to_numpy().flat[0], "calendar")


def _without_time(variable: xr.DataArray, dim: str) -> xr.DataArray:
    """Return a variable that belongs to places, as one that is the same at all times."""
    first = variable.isel({dim: 0}, drop=True)
    if variable.equals(first.expand_dims({dim: variable.sizes[dim]}).transpose(*variable.dims)):
        return first
    raise ValueError(
        f"`data` has {variable.name!r} along {variable.dims}, but values that change with time and "
        f"place must be a channel; use data.drop_vars({variable.name!r}), or data.reset_coords"
    )


def _plain(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    """Return attributes with Python's types for NumPy's."""
    arrays = (np.ndarray, np.generic)
    plain = {k: v.tolist() if isinstance(v, arrays) else v for k, v in attributes.items()}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in plain.items()}
