"""Series to xarray, piece by piece.

Letters for shapes: T time, N components, S samples, C channels, H height, W width, P likelihood
parameters. Frames here have all six axes (T, S, C, H, W, P), some of length 1.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from darts_mim.adapters.xarray.axes import LONG_NAMES, PARAMETER, QUANTILE, SAMPLE
from darts_mim.adapters.xarray.layout import decode_array, typed_attributes
from darts_mim.adapters.xarray.source import Source
from darts_mim.adapters.xarray.times import write_times
from darts_mim.grid import METADATA_KEY, Grid

logger = logging.getLogger(__name__)

_STRETCH = 2**20  # values looked at in one go


def build_variables(source: Source) -> dict[str, xr.Variable]:
    """Return the fields, their dimensions in the order that the data had; new ones come first."""
    frames, layout = _frames(source), source.layout
    ends = list(accumulate(len(entry["channels"]) for entry in layout["variables"]))
    dims = (
        layout["time"]["dim"],
        source.sample_dim,
        layout["channel"],
        layout["y"]["dim"],
        layout["x"]["dim"],
        None if source.parameters is None else source.parameter_dim,
    )
    variables = {}
    for entry, end in zip(layout["variables"], ends, strict=True):
        values = frames[:, :, end - len(entry["channels"]) : end]
        kept = [
            dim is not None and (axis != 2 or dim in entry["dims"]) for axis, dim in enumerate(dims)
        ]
        squeezed = values[tuple(slice(None) if keep else 0 for keep in kept)]
        own = [str(dim) for dim, keep in zip(dims, kept, strict=True) if keep]
        if len(set(own)) < len(own):
            raise ValueError(
                f"`series` needs a dimension for its samples or likelihood parameters, but one of "
                f"{own} has that name already; rename it in the data with `data.rename`"
            )
        order = [dim for dim in own if dim not in entry["dims"]]
        order += [dim for dim in entry["dims"] if dim in own]
        variable = xr.Variable(own, _as_type(squeezed, entry.get("dtype"))).transpose(*order)
        variable.attrs = _field_attributes(source.grid, entry)
        variable.encoding = dict(entry.get("links", {}))
        variables[entry["name"]] = variable
    return variables


def build_coordinates(source: Source, sizes: Mapping[Any, int]) -> dict[str, xr.Variable]:
    """Return the coordinates of time, rows and columns, samples and likelihood parameters."""
    grid, layout, coordinates = source.grid, source.layout, {}
    time = _time(source)
    if time is not None:
        coordinates[layout["time"]["coordinate"] or layout["time"]["dim"]] = time
    for axis, role in enumerate(("y", "x")):
        entry = layout[role]
        if not entry["coordinate"] or grid.coordinates is None:
            continue
        name, values = list(grid.coordinates.items())[axis]
        attributes = typed_attributes(grid.attributes_of(name), entry.get("types", {}))
        values = values.astype(entry.get("dtype", values.dtype))
        coordinates[entry["coordinate"]] = xr.Variable(
            entry["dim"], values, attributes, encoding=dict(entry.get("links", {}))
        )
    dim = source.sample_dim
    if dim is not None and {"dim": dim, "size": sizes[dim]} != layout["sample"]:
        attributes = {"long_name": LONG_NAMES[SAMPLE], "standard_name": "realization"}
        coordinates[dim] = xr.Variable(dim, np.arange(sizes[dim]), attributes)
    if source.parameters is not None:
        coordinates[source.parameter_dim] = _parameter_coordinate(source)
    return coordinates


def build_others(source: Source, sizes: Mapping[Any, int]) -> dict[str, tuple[xr.Variable, bool]]:
    """Return the other variables that still hold, and whether each is a coordinate."""
    others = {}
    time = source.layout["time"]
    rows = _known_rows(source)
    special = {source.sample_dim, (source.layout["sample"] or {}).get("dim"), QUANTILE, PARAMETER}
    for entry in source.layout["others"]:
        values = decode_array(entry["values"])
        if time["dim"] in entry["dims"]:
            if rows is None:
                logger.info("%r is left out: it is not known at all times.", entry["name"])
                continue
            values = values.take(rows, axis=entry["dims"].index(time["dim"]))
        # foreign dimensions, such as the two sides of bounds, have any size
        fits = all(
            size == sizes.get(dim, None if dim in special else size)
            for dim, size in zip(entry["dims"], values.shape, strict=True)
        )
        if not fits:
            continue
        attributes = typed_attributes(entry["attributes"], entry["types"])
        variable = xr.Variable(entry["dims"], values, attributes, encoding=dict(entry["links"]))
        others[entry["name"]] = (variable, entry["is_coordinate"])
    return others


def static_variables(source: Source) -> dict[str, xr.Variable]:
    """Return static covariates that are the same field in every channel, as variables."""
    table, grid, layout = source.series.static_covariates, source.grid, source.layout
    has_grid = METADATA_KEY in (source.series.metadata or {})
    if table is None or not has_grid or len(table) != grid.n_components:
        return {}
    known = {entry["name"] for entry in layout["others"]}
    variables = {}
    for name in [str(name) for name in table.columns if name not in known]:
        field = table[name].to_numpy().reshape(grid.shape)
        if all(pd.Series(part.ravel()).equals(pd.Series(field[0].ravel())) for part in field):
            variables[name] = xr.Variable((layout["y"]["dim"], layout["x"]["dim"]), field[0])
        else:
            logger.warning("The static field %r differs between channels and is left out.", name)
    return variables


def drop_dangling(variables: Mapping[Any, Any], dropped: set[str]) -> None:
    """Take away links to variables that were left out."""
    for variable in variables.values():
        for links in (variable.attrs, variable.encoding):
            for key in ("bounds", "climatology"):
                if links.get(key) in dropped:
                    del links[key]


def _frames(source: Source) -> NDArray[Any]:
    """Return frames with NaN in hidden cells; a view of the series where it has them already."""
    values = source.series.all_values(copy=False)
    t, _, s = values.shape
    shape = (t, *source.grid.shape, len(source.parameters or [""]), s)
    frames: NDArray[Any] = np.moveaxis(values.reshape(shape), -1, 1)  # (T, S, C, H, W, P)
    mask = source.grid.mask
    if mask is None:
        return frames
    step = max(1, _STRETCH // max(1, frames[0].size))
    hidden = (frames[at : at + step, :, :, ~mask] for at in range(0, t, step))
    if all(np.isnan(part).all() for part in hidden):
        return frames
    frames = frames.copy()
    frames[:, :, :, ~mask] = np.nan
    return frames


def _as_type(values: NDArray[Any], dtype: str | None) -> NDArray[Any]:
    """Give values the type that the data had; integers only where that changes no value."""
    if dtype is None or values.dtype == dtype:
        return values
    target = np.dtype(dtype)
    if target.kind == "f":
        with np.errstate(over="ignore"):
            return values.astype(target)
    with np.errstate(invalid="ignore"):
        cast = values.astype(target)
    return cast if (cast == values).all() else values


def _field_attributes(grid: Grid, entry: Mapping[str, Any]) -> dict[str, Any]:
    plain = entry.get("attributes", grid.attributes_of(entry["channels"][0]))
    return typed_attributes(plain, entry.get("types", {}))


def _time(source: Source) -> xr.Variable | None:
    entry, index = source.layout["time"], source.series.time_index
    is_numbered = entry["coordinate"] is None
    if is_numbered and index.equals(pd.RangeIndex(len(index))):
        return None  # as the data, that have no times
    notes = entry.get("notes", {})
    stamps = write_times(index, notes, entry)
    attributes = dict(source.grid.attributes_of("time"))
    variable = xr.Variable(entry["dim"], stamps)
    if variable.dtype.kind in "MO":  # xarray writes these itself
        added = ("units", "calendar", *entry.get("added", ()))
        attributes = {key: value for key, value in attributes.items() if key not in added}
        variable.encoding = _time_encoding(entry, index)
    variable.attrs = typed_attributes(attributes, entry.get("types", {}))
    variable.encoding.update(entry.get("links", {}))
    return variable


def _time_encoding(entry: Mapping[str, Any], index: Any) -> dict[str, Any]:
    """Return how to write times: as in the data, whose unit need not suit other steps."""
    encoding = dict(entry.get("encoding", {}))
    freq = str(index.freq) if isinstance(index, pd.DatetimeIndex) else ""
    if freq != entry.get("freq"):
        return {key: encoding[key] for key in ("calendar",) if key in encoding}
    if "dtype" in encoding:
        encoding["dtype"] = np.dtype(encoding["dtype"])
    return encoding


def _parameter_coordinate(source: Source) -> xr.Variable:
    names = source.parameters or []
    if source.parameter_dim == QUANTILE:
        quantiles = [float(name.removeprefix("q")) for name in names]
        attributes = {"long_name": LONG_NAMES[QUANTILE], "units": "1"}
        return xr.Variable(QUANTILE, quantiles, attributes)
    labels = np.array(names, dtype=object)
    return xr.Variable(PARAMETER, labels, {"long_name": LONG_NAMES[PARAMETER]})


def _known_rows(source: Source) -> NDArray[np.intp] | None:
    """Return where in the data the times of the series lie, or None if some are new."""
    known = source.layout["time"].get("known")
    if known is None:
        return None
    rows: NDArray[np.intp] = pd.Index(decode_array(known)).get_indexer(source.series.time_index)
    return rows if (rows >= 0).all() else None
