"""The grid of a series: how channels, rows and columns map to a series' components.

Letters for shapes: C channels, H height (rows), W width (columns), N = C*H*W components.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from darts_mim.checks import (
    checked_attributes,
    checked_coordinates,
    checked_integer,
    checked_mask,
    checked_names,
    counted,
    unpacked_mask,
)

if TYPE_CHECKING:
    import torch
    from darts import TimeSeries

METADATA_KEY: Final = "grid"
"""Where the grid lies in ``TimeSeries.metadata``."""

_SAME_PLACE = 1e-5  # of the largest coordinate: float32 may change that much


ArrayT = TypeVar("ArrayT", NDArray[Any], "torch.Tensor")


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
    attributes : mapping of str to mapping, optional
        Plain data that describe a channel or a coordinate (under its name), the times (under
        ``"time"``) or all (under ``"global"``), in the words of the CF conventions: ``"units"``,
        ``"long_name"``, ... They describe and do not decide: two grids that differ in nothing else
        are equal.

    Raises
    ------
    TypeError
        If a size is no integer, a name no string, a coordinate no number, the mask not boolean, or
        the attributes are no plain data.
    ValueError
        If a size is below 1, names are not unique or not one per channel, or the shape of the
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
    attributes: Mapping[str, Mapping[str, Any]] | None

    # Written out, because the arguments may be of more types than the fields.
    def __init__(
        self,
        channels: int,
        height: int,
        width: int,
        channel_names: Sequence[str] | None = None,
        coordinates: Mapping[str, ArrayLike] | None = None,
        mask: ArrayLike | None = None,
        attributes: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        shape = (
            checked_integer("channels", channels),
            checked_integer("height", height),
            checked_integer("width", width),
        )
        held = (
            *shape,
            checked_names(channel_names, shape[0]),
            checked_coordinates(coordinates, *shape[1:]),
            checked_mask(mask, *shape[1:]),
            checked_attributes(attributes),
        )
        for field, value in zip(fields(self), held, strict=True):
            object.__setattr__(self, field.name, value)

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

    def attributes_of(self, name: str) -> Mapping[str, Any]:
        """Return the attributes of a channel, a coordinate, ``"time"`` or ``"global"``.

        Parameters
        ----------
        name : str
            Name of the object that they describe.

        Returns
        -------
        mapping
            Empty if there are none.

        Examples
        --------
        >>> grid = Grid(1, 2, 3, ["sst"], attributes={"sst": {"units": "degC"}})
        >>> dict(grid.attributes_of("sst")), dict(grid.attributes_of("time"))
        ({'units': 'degC'}, {})
        """
        return (self.attributes or {}).get(name, {})

    def label(self, name: str) -> str:
        """Name a channel or a coordinate with its unit, as on the axis of a picture.

        Parameters
        ----------
        name : str
            Name of the channel or the coordinate.

        Returns
        -------
        str
            The attribute ``"long_name"``, else (or where it is empty) the name; the attribute
            ``"units"`` in brackets.

        Examples
        --------
        >>> grid = Grid(1, 2, 3, ["sst"], attributes={"sst": {"units": "degC"}})
        >>> grid.label("sst"), grid.label("lat")
        ('sst [degC]', 'lat')
        """
        attributes = self.attributes_of(name)
        units = attributes.get("units")
        return f"{attributes.get('long_name') or name}" + (f" [{units}]" if units else "")

    def evolve(self, **changes: Any) -> Grid:
        """Return a grid that differs in some of the constructor's arguments.

        Parameters
        ----------
        **changes
            The arguments that differ.

        Returns
        -------
        Grid
            The other grid.

        Examples
        --------
        >>> print(Grid(channels=2, height=16, width=12).evolve(height=8))
        Grid of 2 channels (channel_0, channel_1) x 8 rows x 12 columns
        """
        return replace(self, **changes)

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
        self._check_shape("values", values, (self.n_components,))
        return values.reshape((*values.shape[:-1], *self.shape))

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
        self._check_shape("frames", frames, self.shape)
        return frames.reshape((*frames.shape[:-3], self.n_components))

    def _check_shape(self, name: str, array: Any, last: tuple[int, ...]) -> None:
        if tuple(array.shape[-len(last) :]) != last:
            raise ValueError(
                f"`{name}` of shape {tuple(array.shape)} do not fit the grid: expected (..., "
                f"{', '.join(map(str, last))}) for {self}; move these axes to the end, in this "
                "order, or use the grid that the data belong to"
            )

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
        if self.attributes is not None:
            metadata["attributes"] = {k: deepcopy(dict(v)) for k, v in self.attributes.items()}
        return metadata

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> Grid:
        """Make a grid of the plain data that `to_metadata` returns.

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
        TypeError, ValueError
            If `metadata` is not the plain data of a grid.

        Examples
        --------
        >>> print(Grid.from_metadata({"channels": 1, "height": 2, "width": 3}))
        Grid of 1 channel (channel_0) x 2 rows x 3 columns
        """
        arguments = dict(metadata)
        if arguments.get("mask") is not None:
            shape = (arguments["height"], arguments["width"])
            arguments["mask"] = unpacked_mask(arguments["mask"], *shape)
        return cls(**arguments)

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
        expected = stated_components(series)
        if expected is None:
            return None
        if series.n_components != expected:
            raise ValueError(
                f"`series` has {series.n_components} components, but the grid in its metadata has "
                f"{expected}: components were selected, stacked or aggregated, or the series holds "
                "likelihood parameters. Select cells of the frames and make a new series of them, "
                "forecast samples instead of parameters, or drop the grid with "
                "`series.with_metadata({})`"
            )
        grid = cls.from_metadata((series.metadata or {})[METADATA_KEY])
        names = _component_index(grid.channel_names, grid.height, grid.width)
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
        own, others = (grid.evolve(attributes=None).to_metadata() for grid in (self, other))
        return same_axes and own == others

    def __hash__(self) -> int:
        return hash((self.shape, self.channel_names, tuple(self.coordinates or ())))

    def __repr__(self) -> str:
        names = ", ".join(self.channel_names[:3]) + (", ..." if self.channels > 3 else "")
        cells = f"{counted(self.height, 'row')} x {counted(self.width, 'column')}"
        parts = [f"Grid of {counted(self.channels, 'channel')} ({names}) x {cells}"]
        for name, values in (self.coordinates or {}).items():
            parts.append(f"{name} {values[0]:g} to {values[-1]:g}")
        if self.mask is not None:
            parts.append(f"{self.mask.sum()} of {self.mask.size} cells observed")
        return ", ".join(parts)

    # Pickled as plain data through the constructor: no array type to trust when a model is loaded,
    # and the arrays are read-only again.
    def __reduce__(self) -> tuple[type[Grid], tuple[Any, ...]]:
        coordinates = self.coordinates and {k: v.tolist() for k, v in self.coordinates.items()}
        mask = None if self.mask is None else self.mask.tolist()
        attributes = self.to_metadata().get("attributes")
        return Grid, (*self.shape, self.channel_names, coordinates, mask, attributes)


def grid_of(series: TimeSeries) -> Grid:
    """Return the grid of a series; without one it is 1x1, with a channel for each component.

    Parameters
    ----------
    series : darts.TimeSeries
        Any series.

    Returns
    -------
    Grid
        The result of `Grid.from_series`, or a grid of one cell.

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


def stated_components(series: TimeSeries) -> int | None:
    """Return how many components the grid in a series' metadata has, before the grid is made.

    Parameters
    ----------
    series : darts.TimeSeries
        Any series.

    Returns
    -------
    int or None
        N, which the series itself need not have; None if the series carries no grid.

    Raises
    ------
    ValueError
        If the metadata are not the plain data of a grid.

    Examples
    --------
    >>> from darts import TimeSeries
    >>> series = TimeSeries.from_values(np.zeros((10, 6)))
    >>> grid = {"channels": 1, "height": 30_000, "width": 30_000}
    >>> stated_components(series.with_metadata({"grid": grid}))
    900000000
    """
    metadata = series.metadata or {}
    if METADATA_KEY not in metadata:
        return None
    stated = metadata[METADATA_KEY]
    try:
        return math.prod(
            checked_integer(name, stated[name]) for name in ("channels", "height", "width")
        )
    except (TypeError, ValueError, KeyError) as error:
        raise ValueError(
            f"`series` has {stated!r:.120} as {METADATA_KEY!r} in its metadata, which is not the "
            f"plain data of a grid ({error}); use another key for it"
        ) from error


def check_same_cells(grids: Mapping[str, Grid]) -> None:
    """Raise if grids of one shape that say where their cells are, or call their channels, differ.

    Parameters
    ----------
    grids : mapping of str to Grid
        The grids, by the names of the arguments they come from. Coordinates that agree to a
        hundred-thousandth of the largest, as after a way through float32, are the same; names that
        only number the channels say nothing.

    Raises
    ------
    ValueError
        If they differ.
    """
    for (first, expected), (name, got) in combinations(grids.items(), 2):
        own, others = expected.coordinates or {}, got.coordinates or {}
        for axis, here, there in zip(own, own.values(), others.values(), strict=False):
            if np.abs(here - there).max() > _SAME_PLACE * np.abs(here).max():
                raise ValueError(
                    f"`{name}` must lie on the cells of `{first}`, with {axis!r} from {here[0]:g} "
                    f"to {here[-1]:g}, got {there[0]:g} to {there[-1]:g}; flip, cut or regrid one"
                )
        called = {expected.channel_names, got.channel_names}
        if len(called) > 1 and checked_names(None, got.channels) not in called:
            raise ValueError(
                f"`{name}` must have the channels of `{first}`, "
                f"{', '.join(expected.channel_names)}, got {', '.join(got.channel_names)}; bring "
                "them into one order, or rename them"
            )


@lru_cache(maxsize=8)
def _component_index(channel_names: tuple[str, ...], height: int, width: int) -> pd.Index[str]:
    """Name the components in the order of `Grid.to_components`.

    The names are unique whatever the channels are called: read from the right, a name is a column,
    a row and a channel in one way only.
    """
    cells = [f"_{row}_{column}" for row in range(height) for column in range(width)]
    return pd.Index([name + cell for name in channel_names for cell in cells])
