"""What in xarray data is a field, and what is remembered of the rest.

Letters for shapes: C channels, H height (rows), W width (columns).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from darts_mim.adapters.xarray.axes import Axes, check_dims, described
from darts_mim.adapters.xarray.frames import Field
from darts_mim.adapters.xarray.layout import RESERVED, linked_names
from darts_mim.checks import counted

logger = logging.getLogger(__name__)

_ENCODED = ("_FillValue", "missing_value", "scale_factor", "add_offset")
_UNNAMED = "the values"


def as_dataset(data: Any) -> tuple[xr.Dataset, dict[str, Any]]:
    """Return a Dataset, and what the data were.

    Raises
    ------
    TypeError
        If the data are neither DataArray nor Dataset, or some name is no string.
    """
    if not isinstance(data, xr.Dataset | xr.DataArray):
        raise TypeError(
            f"`data` must be an xarray DataArray or Dataset, got {type(data).__name__}; open files "
            "with `xarray.open_dataset`, and turn arrays into series with `frames_to_series`"
        )
    origin: dict[str, Any] = {"form": type(data).__name__}
    if isinstance(data, xr.DataArray):
        origin["name"] = data.name
        is_free = isinstance(data.name, str) and data.name not in data.coords
        data = data.to_dataset(name=data.name if is_free else _UNNAMED)
    names = [*data.variables, *data.dims, *([origin["name"]] if origin.get("name") else [])]
    wrong = [name for name in names if not isinstance(name, str)]
    if wrong:
        raise TypeError(
            f"`data` must have strings as names of variables and dimensions, got {wrong[0]!r} of "
            f"type {type(wrong[0]).__name__}; use `data.rename`"
        )
    return data, origin


def field_names(data: xr.Dataset, axes: Axes, static: Sequence[str]) -> list[str]:
    """Return the names of the variables that become channels, in their order.

    Raises
    ------
    ValueError
        If there are none, or some that are neither channels nor known to belong to them.
    """
    needed = {axes.time, axes.y, axes.x}
    linked = {name for name in linked_names(data) if not needed <= set(data[name].dims)}
    names = [str(name) for name in data.data_vars if name not in linked | set(static)]
    others = [name for name in names if not needed <= set(data[name].dims)]
    if others:
        constant = [name for name in others if set(data[name].dims) == {axes.y, axes.x}]
        listed = ", ".join(f"{name!r} {data[name].dims}" for name in others)
        raise ValueError(
            f"`data` has variables that are no fields along {axes.time!r}, {axes.y!r} and "
            f"{axes.x!r}: {listed}; select those to take, such as data[['sst']], or leave these "
            f"out, data.drop_vars({others})"
            + (f". What does not change with time may be `static={constant}`" if constant else "")
        )
    if not names:
        raise ValueError(
            "`data` has no variable to make channels of; pass a Dataset with a variable along "
            f"time, y and x, got {described(data.sizes)}"
        )
    return names


def make_fields(data: xr.Dataset, axes: Axes, names: Sequence[str]) -> list[Field]:
    """Return the variables that become channels, with their dimensions in the order of frames.

    Raises
    ------
    TypeError
        If some hold no real numbers.
    ValueError
        If some are empty, not decoded, or have other dimensions than the axes, or than each other.
    """
    places = {axes.time: 0, axes.sample: 1, axes.channel: 2, axes.y: 3, axes.x: 4}
    places |= {} if axes.parameter is None else {axes.parameter: 5}
    fields, first = [], 0
    for name in names:
        variable = data[name].variable
        check_dims(name, variable, axes)
        _check_values(name, variable)
        dims = [dim for dim in axes.order if dim in variable.dims]
        count = variable.sizes[axes.channel] if axes.channel in dims else 1
        own_axes = tuple(places[dim] for dim in dims)
        channels = slice(first, first + count)
        fields.append(Field(repr(name), variable.transpose(*dims), own_axes, channels))
        first += count
    for dim in (axes.sample, axes.parameter):
        having = [name for name in names if dim in data[name].dims]
        if having and len(having) < len(names):
            lacking = next(name for name in names if name not in having)
            raise ValueError(
                f"`data` has the dimension {dim!r} in {having[0]!r}, but not in {lacking!r}; make "
                "series of them one by one, data[['name']]"
            )
    return fields


def channel_names(data: xr.Dataset, axes: Axes, names: Sequence[str]) -> list[list[str]]:
    """Return the names of the channels that each variable becomes.

    Raises
    ------
    ValueError
        If one has a name that means something else, or two have the same.
    """
    single = len(names) == 1
    channels = []
    for name in names:
        if axes.channel is None or axes.channel not in data[name].dims:
            channels.append(["channel_0" if name == _UNNAMED else name])
            continue
        labels = [str(label) for label in data[axes.channel].to_numpy()]
        if axes.channel not in data.coords:
            labels = [f"{axes.channel}_{label}" for label in labels]
        channels.append(labels if single else [f"{name}_{label}" for label in labels])
    flat = [channel for each in channels for channel in each]
    doubled = [channel for channel in flat if flat.count(channel) > 1]
    if doubled:
        raise ValueError(
            f"`data` would have several channels {doubled[0]!r}; give the entries of "
            f"{axes.channel!r} different names, such as "
            f"data.assign_coords({axes.channel}=range({data.sizes[axes.channel]}))"
        )
    taken = {*RESERVED, *(name for name in axes.coordinates.values() if name), *axes.order}
    for channel in flat:
        if channel in taken:
            raise ValueError(
                f"`data` would have a channel {channel!r}, which is the name of something else; "
                "rename the variable with `data.rename`, or the entry of its channel dimension"
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
        If one is not there, lies along other dimensions than rows and columns, or is not finite.
    """
    fields = {}
    for name in names:
        if name not in data.variables or set(data[name].dims) != {axes.y, axes.x}:
            got = f"one along {data[name].dims}" if name in data.variables else "nothing"
            raise ValueError(
                f"`static` must name variables along {axes.y!r} and {axes.x!r}, got {name!r}, "
                f"which is {got}; choose one entry of other dimensions with `data.isel`"
            )
        _check_values(name, data[name].variable)
        field = data[name].transpose(axes.y, axes.x).to_numpy()
        bad = int(np.sum(~np.isfinite(field)))
        if bad:
            raise ValueError(
                f"`static` names {name!r}, which has NaN or infinity in {bad} cells, but models "
                f"read static fields everywhere; fill them, for example with "
                f"data.assign({name}=data[{name!r}].fillna(0))"
            )
        fields[name] = field
    return fields


def hidden_cells(observed: NDArray[np.bool_], channels: Sequence[str]) -> NDArray[np.bool_] | None:
    """Return the mask (H, W) of cells that have values in every channel, or None if all have.

    Raises
    ------
    ValueError
        If no cell has.
    """
    mask: NDArray[np.bool_] = np.logical_and.reduce(observed, axis=0)
    if mask.all():
        return None
    if not mask.any():
        empty = [name for name, cells in zip(channels, observed, strict=True) if not cells.any()]
        which = f"channel {empty[0]!r} has no value at all" if empty else "no cell has all channels"
        raise ValueError(
            f"`mask=True` hides cells that some channel never has a value in, but {which}; leave "
            "the channel out, or pass mask=False"
        )
    partly = observed.any(axis=0) & ~mask
    if partly.any():
        logger.warning(
            "`mask=True` hides %s in all channels because some channel never has a value "
            "there, though others have: a grid has one mask. Make a series of each channel, or "
            "pass mask=False, to keep their values.",
            counted(int(partly.sum()), "cell"),
        )
    return mask


def _check_values(name: str, variable: xr.Variable) -> None:
    undecoded = [key for key in _ENCODED if key in variable.attrs]
    if undecoded:
        raise ValueError(
            f"`data` has packed or marked values in {name!r}, as its attribute {undecoded[0]!r} "
            "says; decode them with `xr.decode_cf(data)`, or open the file without "
            "`mask_and_scale=False`"
        )
    if variable.dtype.kind not in "fiub":
        raise TypeError(
            f"`data` must have real numbers in its fields, got dtype {variable.dtype} in {name!r}; "
            "convert it, for example `abs(data)` or `data.astype('float32')`, or drop it"
        )
    if 0 in variable.shape:
        raise ValueError(
            f"`data` is empty: {name!r} has {described(variable.sizes)}; every dimension needs at "
            "least one entry"
        )
