"""What of xarray data a series remembers beside its frames, as plain data in its grid.

Attributes lie in the grid's attributes under the names of channels and coordinates, where pictures
find units; structure, types and coordinates that are no axis lie in one string of JSON, which costs
nothing when Darts copies the metadata.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from darts_mim._optional import import_optional
from darts_mim.adapters.xarray.axes import is_calendar

KEY: Final = "xarray"
"""Where it lies in the attributes of a grid."""

LAYOUT: Final = "layout"
RESERVED: Final = ("time", "global", KEY)
"""Names in the attributes of a grid that no channel can have."""

# attributes that xarray moves to the encoding, and that name other variables
_LINKS = ("grid_mapping", "bounds", "climatology", "cell_measures", "formula_terms")


def pack(layout: Mapping[str, Any]) -> dict[str, str]:
    """Write a layout as one string, the entry of a grid's attributes.

    Examples
    --------
    >>> unpack(pack({"form": "Dataset"}))
    {'form': 'Dataset'}
    """
    return {LAYOUT: json.dumps(layout)}


def unpack(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Read a layout; one without entries if there is none."""
    layout: dict[str, Any] = json.loads(attributes.get(LAYOUT, "{}"))
    return layout


def plain_attributes(attributes: Mapping[Any, Any], name: str) -> tuple[dict[str, Any], Any]:
    """Turn attributes into plain data, and the NumPy types that some had.

    Raises
    ------
    TypeError
        If an attribute is neither number, string, nor a list or array of them.

    Examples
    --------
    >>> plain_attributes({"valid_range": np.array([0, 9], np.int16), "units": "K"}, "t")
    ({'valid_range': [0, 9], 'units': 'K'}, {'valid_range': '<i2'})
    """
    plain, types = {}, {}
    for key, value in attributes.items():
        if isinstance(value, np.ndarray | np.generic):
            kind = value.dtype.kind
            is_text = kind == "O" and all(isinstance(v, str) for v in np.ravel(value))
            if kind not in "fiubUT" and not is_text:
                raise TypeError(
                    f"`data` has an attribute {key!r} of {name!r} of dtype {value.dtype}, "
                    f"{value!r:.60}; expected numbers or strings: write it as one, or drop it"
                )
            types[key] = "O" if kind in "OT" else value.dtype.str
            value = value.tolist()
        elif not _is_plain(value):
            raise TypeError(
                f"`data` has an attribute {key!r} of {name!r} of type {type(value).__name__}, "
                f"{value!r:.60}; expected numbers or strings: write it as one, or drop it"
            )
        plain[key] = value
    return plain, types


def typed_attributes(plain: Mapping[str, Any], types: Mapping[str, str]) -> dict[str, Any]:
    """Give attributes the NumPy types they had, where their values still fit.

    Examples
    --------
    >>> typed_attributes({"valid_range": [0, 9], "units": "K"}, {"valid_range": "<i2"})
    {'valid_range': array([0, 9], dtype=int16), 'units': 'K'}
    """
    typed = dict(plain)
    for key, dtype in types.items():
        if key not in typed:
            continue
        given = np.asarray(typed[key], dtype=object)
        if all(isinstance(v, str) == (np.dtype(dtype).kind in "UO") for v in given.flat):
            array = given.astype(dtype)
            typed[key] = array if isinstance(typed[key], list) else array[()]
    return typed


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_plain(each) for key, each in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | bool | int | float)


def links_of(variable: xr.Variable | xr.DataArray) -> dict[str, str]:
    """Return what xarray keeps beside the attributes and names other variables."""
    return {key: str(variable.encoding[key]) for key in _LINKS if key in variable.encoding}


def linked_names(data: xr.Dataset) -> set[str]:
    """Return the names of variables that others name, as their grid mapping or bounds."""
    names: set[str] = set()
    for variable in data.variables.values():
        for key in _LINKS:
            text = str(variable.attrs.get(key, variable.encoding.get(key, "")))
            names.update(part.rstrip(":") for part in text.split())
    return names & {str(name) for name in data.variables}


def encode_variable(data: xr.Dataset, name: str) -> dict[str, Any]:
    """Encode a variable or coordinate that is not a field, with all of its values."""
    variable = data[name].variable
    attributes, types = plain_attributes(variable.attrs, name)
    return {
        "name": name,
        "dims": [str(dim) for dim in variable.dims],
        "values": encode_array(data[name]),
        "attributes": attributes,
        "types": types,
        "links": links_of(variable),
        "is_coordinate": name in data.coords,
    }


def encode_array(array: xr.DataArray) -> dict[str, Any]:
    """Encode values of any type that a coordinate has.

    Raises
    ------
    TypeError
        If they are objects other than strings and dates.
    """
    values = array.to_numpy()
    encoded: dict[str, Any] = {"shape": list(values.shape)}
    flat = values.ravel()
    if values.dtype.kind in "fiubcMmS":
        packed = zlib.compress(np.ascontiguousarray(values).tobytes())
        return {
            **encoded,
            "dtype": values.dtype.str,
            "bytes": base64.b64encode(packed).decode("ascii"),
        }
    if values.dtype.kind in "UTO" and all(isinstance(value, str) for value in flat):
        dtype = values.dtype.str if values.dtype.kind == "U" else "O"
        return {**encoded, "dtype": dtype, "list": flat.tolist()}
    if is_calendar(xr.DataArray(flat)):
        return {
            **encoded,
            "calendar": flat[0].calendar,
            "list": [date.isoformat() for date in flat],
        }
    raise TypeError(
        f"`data` has values in {array.name!r} that cannot be kept, such as {flat[0]!r} of type "
        f"{type(flat[0]).__name__}; drop it with `data.drop_vars({array.name!r})`, or turn it "
        "into numbers, dates or strings; a multi-index with `data.reset_index`"
    )


def decode_array(encoded: Mapping[str, Any]) -> NDArray[Any]:
    """Decode what `encode_array` returned.

    Examples
    --------
    >>> decode_array(encode_array(xr.DataArray([[1.5, 2.5]])))
    array([[1.5, 2.5]])
    """
    shape = tuple(encoded["shape"])
    if "bytes" in encoded:
        buffer = bytearray(zlib.decompress(base64.b64decode(encoded["bytes"])))
        return np.frombuffer(buffer, encoded["dtype"]).reshape(shape)
    if "calendar" in encoded:
        import_optional("cftime", extra="xarray")
        dates = [
            xr.date_range(text, periods=1, calendar=encoded["calendar"], use_cftime=True)[0]
            for text in encoded["list"]
        ]
        values = np.empty(len(dates), dtype=object)
        values[:] = dates
        return values.reshape(shape)
    return np.array(encoded["list"], dtype=encoded["dtype"]).reshape(shape)
