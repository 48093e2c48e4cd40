"""Which variables of xarray data become channels, static covariates and the mask.

Letters for shapes: C channels, H height (rows), W width (columns).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from darts_mim.adapters.xarray.axes import Axes
from darts_mim.checks import counted

logger = logging.getLogger(__name__)

UNNAMED = "the values"
"""The variable of a DataArray without a name, in a Dataset."""

RESERVED = ("time", "global", "xarray")
"""Names in the attributes of a grid that no channel can have."""

# how variables name others, in attributes that xarray moves to the encoding
_OF_PLACES = ("grid_mapping", "cell_measures")
LINKS = (*_OF_PLACES, "bounds", "climatology", "formula_terms")

# attributes of packed or marked values; rioxarray leaves these with values that it has decoded
_HARMLESS = {"scale_factor": 1, "add_offset": 0, "_FillValue": np.nan, "missing_value": np.nan}


def linked_names(data: xr.Dataset, variables: Sequence[Any], keys: Sequence[str]) -> set[str]:
    """Return the names of variables that others name, such as their grid mapping or bounds."""
    names: set[str] = set()
    for variable in variables:
        links = {**data[variable].encoding, **data[variable].attrs}
        for key in keys:
            names.update(str(links.get(key, "")).replace(":", " ").split())
    return names & {str(name) for name in data.variables}


def names_of_places(data: xr.Dataset, axes: Axes) -> set[str]:
    """Return the names of variables that belong to the grid, even if they have a time."""
    of_axes = [name for role in "yx" if (name := axes.coordinates[role])]
    return linked_names(data, list(data.variables), _OF_PLACES) | linked_names(
        data, of_axes, ["bounds"]
    )


def field_names(data: xr.Dataset, axes: Axes, static: Sequence[str]) -> list[str]:
    """Return the names of the variables that become channels, in their order.

    Raises
    ------
    TypeError
        If one holds no real numbers.
    ValueError
        If there is none, or one is empty, not decoded, or has a dimension that is no axis; or if
        there are variables that are neither channels nor belong to some.
    """
    needed, known = {axes.time, axes.y, axes.x}, set(axes.order)
    linked = linked_names(data, list(data.variables), LINKS)
    beside = {name for name in linked if not needed <= set(data[name].dims)}
    beside |= names_of_places(data, axes) | set(static)
    names = [str(name) for name in data.data_vars if name not in beside]
    wrong = {n: data[n].dims for n in names if not needed <= set(data[n].dims) <= known}
    if wrong or not names:
        raise ValueError(
            f"`data` must have variables along {axes.time!r}, {axes.y!r} and {axes.x!r} alone, got "
            f"{wrong}; select fields, such as data[['sst']], or entries, data.isel(level=0); name "
            "a further dimension in `channel` or `sample`, and variables that do not change with "
            "time in `static`"
        )
    for name in names:
        _check_values(name, data[name])
    return names


def channel_names(data: xr.Dataset, axes: Axes, names: Sequence[str]) -> dict[str, list[str]]:
    """Return the names of the channels that each variable becomes.

    Raises
    ------
    ValueError
        If two have the same name, or one has a name that is taken.
    """
    channels = {}
    for name in names:
        if axes.channel is None or axes.channel not in data[name].dims:
            channels[name] = ["channel_0" if name == UNNAMED else name]
            continue
        labels = [str(label) for label in data[axes.channel].to_numpy()]
        if axes.channel not in data.coords:
            labels = [f"{axes.channel}_{label}" for label in labels]
        channels[name] = labels if len(names) == 1 else [f"{name}_{label}" for label in labels]
    flat = [channel for own in channels.values() for channel in own]
    taken = {*RESERVED, *axes.coordinates.values(), *axes.order}
    wrong = [name for name in flat if name in taken or flat.count(name) > 1]
    if wrong:
        raise ValueError(
            f"`data` would have a channel {wrong[0]!r}, a name that is taken; rename the variable "
            f"with `data.rename`, or number the entries of its `channel` dimension with "
            "`data.assign_coords`"
        )
    return channels


def read_static(
    data: xr.Dataset, axes: Axes, names: Sequence[str]
) -> dict[str, NDArray[np.floating[Any]]]:
    """Return the fields (H, W) that do not change with time.

    Raises
    ------
    TypeError
        If one holds no real numbers.
    ValueError
        If one is missing, or lies along other dimensions than rows and columns.
    """
    fields = {}
    for name in names:
        if name not in data.variables or set(data[name].dims) != {axes.y, axes.x}:
            raise ValueError(
                f"`static` must name variables along {axes.y!r} and {axes.x!r}, got {name!r}; "
                "choose one entry of other dimensions with `data.isel`"
            )
        _check_values(name, data[name])
        fields[name] = data[name].transpose(axes.y, axes.x).to_numpy()
    return fields


def read_mask(given: Any, observed: NDArray[np.bool_], axes: Axes) -> NDArray[np.bool_] | None:
    """Return the mask (H, W), which the grid checks, or None without one."""
    if isinstance(given, xr.DataArray):
        given = given.transpose(axes.y, axes.x)
    if np.ndim(given):
        return np.asarray(given)
    mask = np.asarray(observed.all(axis=0))
    if not given or mask.all():
        return None
    partly = int((observed.any(axis=0) & ~mask).sum())
    if partly:
        logger.warning(
            "`mask=True` hides %s in all channels because some channel never has a value there: a "
            "grid has one mask. Make a series of each channel, or pass mask=False, to keep more.",
            counted(partly, "cell"),
        )
    return mask


def _check_values(name: str, variable: xr.DataArray) -> None:
    undecoded = [
        key
        for key, harmless in _HARMLESS.items()
        if not np.array_equal(np.ravel(variable.attrs.get(key, harmless)), [harmless], True)
    ]
    if undecoded:
        raise ValueError(
            f"`data` has packed or marked values in {name!r}, as its attribute {undecoded[0]!r} "
            "says; decode them with `xr.decode_cf(data)`"
        )
    if variable.dtype.kind not in "fiub":
        raise TypeError(
            f"`data` must have real numbers in its fields, got dtype {variable.dtype} in {name!r}; "
            "convert it, for example `data.astype('float32')`, or drop it"
        )
    if 0 in variable.shape:
        raise ValueError(f"`data` is empty: {name!r} has {dict(variable.sizes)}; select other data")
