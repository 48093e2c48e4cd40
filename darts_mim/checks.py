"""Checks of arguments, shared by all modules, and of the parts of a grid.

Letters for shapes: C channels, H height (rows), W width (columns).
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from numbers import Integral, Real
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray


def counted(count: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def checked_integer(name: str, value: Any, least: int = 1) -> int:
    """Return an integer of any kind as a plain one.

    Raises
    ------
    TypeError
        If it is no integer.
    ValueError
        If it is less than ``least``.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(
            f"`{name}` must be an integer of at least {least}, got {value!r} of type "
            f"{type(value).__name__}; give a whole number"
        )
    if value < least:
        raise ValueError(f"`{name}` must be at least {least}, got {value}; give a larger number")
    return int(value)


def checked_number(name: str, value: Any, low: float = -math.inf, high: float = math.inf) -> float:
    """Return a finite number of any kind as a plain one.

    Raises
    ------
    TypeError
        If it is no number.
    ValueError
        If it is not finite, or not within ``low`` and ``high``.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(
            f"`{name}` must be a number, got {value!r} of type {type(value).__name__}; give a float"
        )
    number = float(value)
    if not (math.isfinite(number) and low <= number <= high):
        raise ValueError(f"`{name}` must be finite and in [{low:g}, {high:g}], got {number}")
    return number


def checked_flag(name: str, value: Any) -> bool:
    """Return a truth value of any kind as a plain one.

    Raises
    ------
    TypeError
        If it is none.
    """
    # NumPy's booleans, too, equal Python's; numbers other than 0 and 1 do not
    if isinstance(value, str) or value not in (True, False):
        raise TypeError(f"`{name}` must be True or False, got {value!r}")
    return bool(value)


def checked_float_type(dtype: DTypeLike) -> np.dtype[Any]:
    """Return a floating type in the byte order of this machine.

    Raises
    ------
    TypeError
        If it is not floating.
    """
    target = np.dtype(dtype).newbyteorder("=")
    if target.kind != "f":
        raise TypeError(
            f"`dtype` must be floating, because series hold floats, got {target}; pass np.float32 "
            "or np.float64"
        )
    return target


def checked_floats(name: str, values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return numbers in a floating type that holds them; themselves if they have it already.

    Raises
    ------
    ValueError
        If there are integers that it does not hold exactly, or floats that it does not hold.
    """
    if values.dtype == dtype:
        return values
    exact = 2 ** (np.finfo(dtype).nmant + 1)
    bounds = (values.min(initial=0), values.max(initial=0)) if values.dtype.kind in "iu" else ()
    try:
        if any(abs(int(bound)) > exact for bound in bounds):
            raise FloatingPointError
        with np.errstate(over="raise"):
            return np.array(values, dtype=dtype, order="C")
    except FloatingPointError as error:
        raise ValueError(
            f"`{name}` hold integers beyond {exact}, up to which {dtype} is exact, or values "
            f"beyond {np.finfo(dtype).max:g}, its largest; pass dtype=np.float64, or scale them "
            "first"
        ) from error


def checked_names(names: Any, channels: int) -> tuple[str, ...]:
    """Return a unique name for each channel."""
    if names is None:
        return tuple(f"channel_{channel}" for channel in range(channels))
    names = [names] if isinstance(names, str) else list(names)
    if not all(isinstance(name, str) and name for name in names):
        raise TypeError(
            f"`channel_names` must be strings that are not empty, got {names!r}; "
            "pass for example [str(name) for name in names]"
        )
    if len(names) != channels or len(set(names)) != channels:
        raise ValueError(
            f"`channel_names` must be a unique name for each of {counted(channels, 'channel')}, "
            f"got {len(names)}: {names!r}; check the names, and which axis holds the channels"
        )
    return tuple(str(name) for name in names)


def checked_coordinates(
    coordinates: Any, height: int, width: int
) -> Mapping[str, NDArray[np.float64]] | None:
    """Return the coordinates of the rows (H,) and of the columns (W,), read-only."""
    if coordinates is None:
        return None
    if not isinstance(coordinates, Mapping) or len(coordinates) != 2:
        raise ValueError(
            f"`coordinates` must map two names to values, rows then columns, got "
            f'{coordinates!r:.120}; pass for example {{"lat": latitudes, "lon": longitudes}}'
        )
    held: dict[str, NDArray[np.float64]] = {}
    for (name, given), size in zip(coordinates.items(), (height, width), strict=True):
        values = np.asarray(given)
        are_finite = values.dtype.kind in "iuf" and np.isfinite(values).all()
        if values.shape != (size,) or not are_finite:
            raise ValueError(
                f"`coordinates[{name!r}]` must be {size} finite numbers, got {given!r:.80} of "
                f"shape {values.shape}; the first entry is for the rows, the second for the columns"
            )
        held[str(name)] = values.astype(np.float64)
        held[str(name)].flags.writeable = False
    return MappingProxyType(held)


def checked_mask(mask: ArrayLike | None, height: int, width: int) -> NDArray[np.bool_] | None:
    """Return the mask (H, W), read-only."""
    if mask is None:
        return None
    held = np.array(mask)
    if held.dtype != np.bool_:
        raise TypeError(
            f"`mask` must be boolean, True where the grid is observed, got dtype {held.dtype}; "
            "compare first, for example `mask > 0`"
        )
    if held.shape != (height, width):
        raise ValueError(
            f"`mask` must have the shape of a frame without its channels, ({height}, {width}), "
            f"got {held.shape}; pass one mask for all frames and channels"
        )
    if not held.any():
        raise ValueError(
            "`mask` must be True in at least one cell, got none; it is True where the grid is "
            "observed: pass `~mask` if yours marks missing cells"
        )
    held.flags.writeable = False
    return held


def unpacked_mask(text: str, height: int, width: int) -> NDArray[np.bool_]:
    """Read the mask (H, W) from the text that a grid's metadata hold."""
    bits = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    if len(bits) != -(-height * width // 8):
        raise ValueError(f"its mask holds {len(bits)} bytes, which is no {height}x{width} mask")
    return np.unpackbits(bits, count=height * width).reshape(height, width).astype(np.bool_)


def checked_attributes(attributes: Any) -> Mapping[str, Mapping[str, Any]] | None:
    """Return a copy of attributes by name as plain data, as JSON holds them."""
    if attributes is None:
        return None
    items = attributes.items() if isinstance(attributes, Mapping) else [(attributes, None)]
    if not all(isinstance(name, str) and isinstance(given, Mapping) for name, given in items):
        raise TypeError(
            f"`attributes` must map names to mappings, got {type(attributes).__name__} "
            f'{attributes!r:.80}; name channels or coordinates, "time" or "global", as in '
            '{"sst": {"units": "degC"}}'
        )
    plain = json.loads(json.dumps(attributes, default=_as_plain))
    return MappingProxyType({name: MappingProxyType(given) for name, given in plain.items()})


def _as_plain(value: Any) -> Any:
    """Return a mapping or a value of NumPy as an object that JSON can hold."""
    if isinstance(value, Mapping):
        return dict(value)
    # dates would become nanoseconds
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind not in "mM":
        return value.tolist()
    raise TypeError(
        f"`attributes` must be plain data (numbers, strings, lists and mappings of them), got "
        f"{value!r:.80} of type {type(value).__name__}; write it as a string"
    )
