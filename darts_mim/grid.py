"""The grid of a series: how channels, rows and columns map to a series' components.

Letters for shapes: C channels, H height (rows), W width (columns), N = C*H*W components.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from numbers import Integral
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from darts import TimeSeries

METADATA_KEY: Final = "grid"
"""Where the grid lies in ``TimeSeries.metadata``."""


class _Array(Protocol):
    """What arrays and tensors have in common and a grid needs of them."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def reshape(self, shape: tuple[int, ...], /) -> Any: ...


ArrayT = TypeVar("ArrayT", bound=_Array)


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Grid:
    """Describe the frames that a series holds: their sizes, names, coordinates and observed cells.

    A grid is a value: it cannot be changed, two grids with the same content are equal, and it
    travels with its series as plain data in ``series.metadata["grid"]``.

    Parameters
    ----------
    channels : int
        Number of channels C, at least 1.
    height : int
        Number of rows H, at least 1.
    width : int
        Number of columns W, at least 1.
    channel_names : sequence of str, optional
        One name per channel. Default: ``"channel_0"``, ``"channel_1"``, ...
    coordinates : mapping of str to array_like, optional
        Exactly two entries, in this order: the coordinate of the rows (H finite numbers) and that
        of the columns (W finite numbers), such as ``{"lat": ..., "lon": ...}``. Held as float64.
    mask : array_like of bool, optional
        Shape (H, W), True where the grid is observed. Default: no mask, all of it is.

    Raises
    ------
    TypeError
        If a size is no integer, a name no string, a coordinate no number, or the mask not boolean.
    ValueError
        If a size is below 1, names are doubled or not one per channel, or the shape of the
        coordinates or of the mask does not fit the grid.

    Examples
    --------
    >>> grid = Grid(channels=2, height=16, width=12, channel_names=["inflow", "outflow"])
    >>> print(grid)
    Grid of 2 channels (inflow, outflow) x 16 rows x 12 columns
    >>> grid.shape, grid.n_components
    ((2, 16, 12), 384)
    >>> grid.component_names[0], grid.component_names[-1]
    ('inflow_0_0', 'outflow_15_11')
    >>> grid == Grid.from_metadata(grid.to_metadata())
    True
    """

    channels: int
    height: int
    width: int
    channel_names: tuple[str, ...]
    coordinates: Mapping[str, NDArray[np.float64]] | None
    mask: NDArray[np.bool_] | None

    # Written out, because arguments are wider than what is held: any sequence and array-like fits.
    def __init__(
        self,
        channels: int,
        height: int,
        width: int,
        channel_names: Sequence[str] | None = None,
        coordinates: Mapping[str, ArrayLike] | None = None,
        mask: ArrayLike | None = None,
    ) -> None:
        shape = (
            _checked_size("channels", channels),
            _checked_size("height", height),
            _checked_size("width", width),
        )
        held = {
            **dict(zip(("channels", "height", "width"), shape, strict=True)),
            "channel_names": _checked_names(channel_names, shape[0]),
            "coordinates": _checked_coordinates(coordinates, *shape[1:]),
            "mask": _checked_mask(mask, *shape[1:]),
        }
        for name, value in held.items():
            object.__setattr__(self, name, value)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of a frame, (C, H, W)."""
        return self.channels, self.height, self.width

    @property
    def n_components(self) -> int:
        """The number of components of a series on this grid, N = C*H*W."""
        return self.channels * self.height * self.width

    @property
    def component_names(self) -> list[str]:
        """The N names of the components, ``"<channel>_<row>_<column>"``, in their order."""
        return list(_component_index(self.channel_names, self.height, self.width))

    def to_frames(self, values: ArrayT) -> ArrayT:
        """Unfold the components of a series into frames.

        Parameters
        ----------
        values : numpy.ndarray or torch.Tensor
            Shape (..., N).

        Returns
        -------
        numpy.ndarray or torch.Tensor
            Shape (..., C, H, W); a view of `values`.

        Raises
        ------
        ValueError
            If the last axis does not hold N components.

        Examples
        --------
        >>> Grid(channels=2, height=3, width=4).to_frames(np.zeros((10, 24))).shape
        (10, 2, 3, 4)
        """
        if tuple(values.shape[-1:]) != (self.n_components,):
            raise ValueError(
                f"`values` of shape {tuple(values.shape)} do not fit the grid: expected "
                f"(..., {self.n_components}), the components of {self}; move the components to "
                "the last axis, or use the grid that these values belong to"
            )
        frames: ArrayT = values.reshape((*values.shape[:-1], *self.shape))
        return frames

    def to_components(self, frames: ArrayT) -> ArrayT:
        """Fold frames into the components of a series.

        Parameters
        ----------
        frames : numpy.ndarray or torch.Tensor
            Shape (..., C, H, W).

        Returns
        -------
        numpy.ndarray or torch.Tensor
            Shape (..., N); a view of `frames` where their memory layout permits.

        Raises
        ------
        ValueError
            If the last three axes are not (C, H, W).

        Examples
        --------
        >>> Grid(channels=2, height=3, width=4).to_components(np.zeros((10, 2, 3, 4))).shape
        (10, 24)
        """
        if tuple(frames.shape[-3:]) != self.shape:
            raise ValueError(
                f"`frames` of shape {tuple(frames.shape)} do not fit the grid: expected "
                f"(..., {self.channels}, {self.height}, {self.width}), the frames of {self}; move "
                "channels, rows and columns to the last three axes, in this order"
            )
        values: ArrayT = frames.reshape((*frames.shape[:-3], self.n_components))
        return values

    def to_metadata(self) -> dict[str, Any]:
        """Encode the grid as plain data for ``TimeSeries.metadata["grid"]``.

        Returns
        -------
        dict
            Numbers, strings and lists alone, so that it survives JSON. The mask is one short string
            (its bits, in base64), which costs nothing when Darts copies the metadata.

        Examples
        --------
        >>> Grid(channels=1, height=2, width=3, mask=[[True, True, False]] * 2).to_metadata()
        {'channels': 1, 'height': 2, 'width': 3, 'channel_names': ['channel_0'], 'mask': '2A=='}
        """
        metadata: dict[str, Any] = {
            "channels": self.channels,
            "height": self.height,
            "width": self.width,
            "channel_names": list(self.channel_names),
        }
        if self.coordinates is not None:
            metadata["coordinates"] = {k: v.tolist() for k, v in self.coordinates.items()}
        if self.mask is not None:
            metadata["mask"] = base64.b64encode(np.packbits(self.mask).tobytes()).decode("ascii")
        return metadata

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> Grid:
        """Decode what `to_metadata` returned.

        Parameters
        ----------
        metadata : mapping
            The plain data of a grid.

        Returns
        -------
        Grid
            The grid, equal to the one encoded.

        Raises
        ------
        ValueError
            If `metadata` is not the plain data of a grid.

        Examples
        --------
        >>> print(Grid.from_metadata({"channels": 1, "height": 2, "width": 3}))
        Grid of 1 channel (channel_0) x 2 rows x 3 columns
        """
        try:
            if not isinstance(metadata, Mapping):
                raise TypeError(f"it is no mapping but {type(metadata).__name__}")
            arguments = dict(metadata)
            if arguments.get("mask") is not None:
                shape = (arguments["height"], arguments["width"])
                arguments["mask"] = _unpacked_mask(arguments["mask"], *shape)
            return cls(**arguments)
        except (TypeError, ValueError, KeyError) as error:
            raise ValueError(
                f"`metadata` is not the plain data of a grid, {metadata!r:.120}: {error}; expected "
                f"what `Grid.to_metadata()` returns; if the key {METADATA_KEY!r} of your series' "
                "metadata holds something else, give that another key"
            ) from error

    @classmethod
    def from_series(cls, series: TimeSeries) -> Grid | None:
        """Read the grid that a series carries in its metadata.

        Parameters
        ----------
        series : darts.TimeSeries
            Any series.

        Returns
        -------
        Grid or None
            None if the series carries no grid.

        Raises
        ------
        ValueError
            If the series no longer holds the grid's components, all of them and in their order, as
            after selecting or stacking components. Renamed components are accepted.

        Examples
        --------
        >>> from darts import TimeSeries
        >>> series = TimeSeries.from_values(np.zeros((10, 6)))
        >>> Grid.from_series(series) is None
        True
        >>> grid = Grid(channels=1, height=2, width=3)
        >>> print(Grid.from_series(series.with_metadata({"grid": grid.to_metadata()})))
        Grid of 1 channel (channel_0) x 2 rows x 3 columns
        """
        metadata = series.metadata or {}
        if METADATA_KEY not in metadata:
            return None
        grid = cls.from_metadata(metadata[METADATA_KEY])
        names = _component_index(grid.channel_names, grid.height, grid.width)
        if series.n_components != grid.n_components:
            raise ValueError(
                f"`series` has {series.n_components} components, but its metadata describe {grid} "
                f"with {grid.n_components}; components were selected, stacked or aggregated. Cut "
                "or join the frames instead and make a new series of them, or drop the grid with "
                f"`series.with_metadata({{}})` to use the components without one"
            )
        if not names.equals(series.components) and set(names) == set(series.components):
            raise ValueError(
                "`series` holds the components of its grid in another order, so its frames would "
                f"be scrambled; expected them to start with {names[0]!r}, got "
                f"{series.components[0]!r}; restore the order with `series[grid.component_names]`"
            )
        return grid

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Grid):
            return NotImplemented
        same_axes = list(self.coordinates or ()) == list(other.coordinates or ())
        return same_axes and self.to_metadata() == other.to_metadata()

    def __hash__(self) -> int:
        return hash((self.shape, self.channel_names, tuple(self.coordinates or ())))

    def __repr__(self) -> str:
        names = ", ".join(self.channel_names[:3]) + (", ..." if self.channels > 3 else "")
        sizes = (
            _counted(self.channels, "channel") + f" ({names})",
            _counted(self.height, "row"),
            _counted(self.width, "column"),
        )
        parts = ["Grid of " + " x ".join(sizes)]
        for name, values in (self.coordinates or {}).items():
            parts.append(f"{name} {values[0]:g} to {values[-1]:g}")
        if self.mask is not None:
            parts.append(f"{self.mask.sum()} of {self.mask.size} cells observed")
        return ", ".join(parts)

    def __copy__(self) -> Grid:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Grid:
        return self

    # Pickled as plain data through the constructor: no array type to trust when a model is loaded,
    # and what is unpickled is read-only again.
    def __reduce__(self) -> tuple[type[Grid], tuple[Any, ...]]:
        coordinates = self.coordinates and {k: v.tolist() for k, v in self.coordinates.items()}
        mask = None if self.mask is None else self.mask.tolist()
        return Grid, (*self.shape, self.channel_names, coordinates, mask)


def grid_of(series: TimeSeries) -> Grid:
    """Return the grid of a series; without one it is 1x1, with a channel for each component.

    Parameters
    ----------
    series : darts.TimeSeries
        Any series.

    Returns
    -------
    Grid
        What `Grid.from_series` reads, or a grid of one cell.

    Raises
    ------
    ValueError
        As `Grid.from_series` does.

    Examples
    --------
    >>> from darts import TimeSeries
    >>> print(grid_of(TimeSeries.from_values(np.zeros((10, 2)))))
    Grid of 2 channels (channel_0, channel_1) x 1 row x 1 column
    """
    return Grid.from_series(series) or Grid(series.n_components, 1, 1)


@lru_cache(maxsize=8)
def _component_index(channel_names: tuple[str, ...], height: int, width: int) -> pd.Index[str]:
    """Name the components in the order of `Grid.to_components`.

    The names are unique whatever the channels are called: read from the right, a name is a column,
    a row and a channel in one way only.
    """
    cells = [f"_{row}_{column}" for row in range(height) for column in range(width)]
    return pd.Index([name + cell for name in channel_names for cell in cells])


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _checked_size(name: str, size: object) -> int:
    if isinstance(size, bool) or not isinstance(size, Integral):
        raise TypeError(
            f"`{name}` must be an integer, got {size!r} of type {type(size).__name__}; "
            "pass a whole number of at least 1"
        )
    if size < 1:
        raise ValueError(f"`{name}={size}` must be at least 1; pass the size of one frame")
    return int(size)


def _checked_names(names: Any, channels: int) -> tuple[str, ...]:
    if names is None:
        return tuple(f"channel_{channel}" for channel in range(channels))
    if isinstance(names, str):
        raise TypeError(
            f"`channel_names` must be a sequence of strings, got the single string {names!r}; "
            f"pass [{names!r}]"
        )
    names = tuple(names)
    if not all(isinstance(name, str) and name for name in names):
        raise TypeError(
            f"`channel_names` must be strings that are not empty, got {list(names)!r}; "
            "pass for example [str(name) for name in names]"
        )
    if len(names) != channels:
        raise ValueError(
            f"`channel_names` must hold one name for each of {_counted(channels, 'channel')}, got "
            f"{len(names)}: {list(names)!r}; check the names, and which axis holds the channels"
        )
    if len(set(names)) != channels:
        doubled = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(
            f"`channel_names` must be unique, got {doubled} more than once; rename the channels"
        )
    return tuple(str(name) for name in names)


def _checked_coordinates(
    coordinates: Any, height: int, width: int
) -> Mapping[str, NDArray[np.float64]] | None:
    if coordinates is None:
        return None
    if not isinstance(coordinates, Mapping) or not all(isinstance(key, str) for key in coordinates):
        raise TypeError(
            f"`coordinates` must map two names to values, got {coordinates!r:.120}; pass for "
            'example {"lat": latitudes, "lon": longitudes}'
        )
    if len(coordinates) != 2:
        raise ValueError(
            f"`coordinates` must have exactly two entries, rows then columns, got "
            f"{list(coordinates)}; leave out others, or put them into the series' metadata"
        )
    held: dict[str, NDArray[np.float64]] = {}
    for (name, given), axis, size in zip(
        coordinates.items(), ("rows", "columns"), (height, width), strict=True
    ):
        values = np.asarray(given)
        if not (
            np.issubdtype(values.dtype, np.integer) or np.issubdtype(values.dtype, np.floating)
        ):
            raise TypeError(
                f"`coordinates[{name!r}]` must be numbers, got dtype {values.dtype}; number the "
                f"{axis}, or leave the coordinates out"
            )
        if values.shape != (size,):
            raise ValueError(
                f"`coordinates[{name!r}]` must give the {axis}: expected shape ({size},), got "
                f"{values.shape}; the first entry is for the rows, the second for the columns"
            )
        if not np.isfinite(values).all():
            raise ValueError(
                f"`coordinates[{name!r}]` must be finite, got NaN or infinity; number the {axis}, "
                "or leave the coordinates out"
            )
        held[name] = values.astype(np.float64)
        held[name].flags.writeable = False
    return MappingProxyType(held)


def _checked_mask(mask: ArrayLike | None, height: int, width: int) -> NDArray[np.bool_] | None:
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
            "observed: pass `~mask` if yours marks what is missing"
        )
    held.flags.writeable = False
    return held


def _unpacked_mask(text: str, height: int, width: int) -> NDArray[np.bool_]:
    try:
        bits = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    except binascii.Error as error:
        raise ValueError(f"its mask is not base64 text ({error})") from error
    if len(bits) != -(-height * width // 8):
        raise ValueError(f"its mask holds {len(bits)} bytes, which is no {height}x{width} mask")
    return np.unpackbits(bits, count=height * width).reshape(height, width).astype(np.bool_)
