"""How the cells of a grid lie on the axes of a picture.

Legend: T time, H height (rows), W width (columns).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from darts_mim.grid import Grid
from darts_mim.plotting.colours import BLANK, ColourScale

Floats: TypeAlias = npt.NDArray[np.floating[Any]]
Picture: TypeAlias = AxesImage | QuadMesh

_FLATTEST, _STEEPEST = 0.25, 4.0  # height by width of a frame: a sliver shows nothing
_TOLERANCE = 0.05  # of a cell: coordinates in float32, or with four digits, are regular
_EDGE = 0.06  # of an axis: no tick label where it would meet the next frame's
_DEGREES = (1.0, 1.2, 1.5, 2.0, 3.0, 4.5, 6.0, 9.0, 10.0)
_LETTER, _LINE, _SPACE = 0.065, 0.12, 0.1  # inches that a small letter and a small line need


@dataclass(frozen=True, eq=False)
class Side:
    """The cells of a grid along one axis of a picture.

    Parameters
    ----------
    edges
        Positions of the cells' edges, in the order of the cells.
    limits
        The positions between which the axis runs, from the left or the bottom.
    label
        What the axis is of, with its unit; empty where there is no coordinate.
    names
        What is written at the middle of each cell, where positions are not the coordinate.
    in_degrees
        Whether the positions are angles.
    """

    edges: Floats
    limits: tuple[float, float]
    label: str = ""
    names: Floats | None = None
    in_degrees: bool = False

    @classmethod
    def of(cls, grid: Grid, name: str, *, is_rows: bool) -> Side:
        """Lay a coordinate out: it grows upwards and to the right, as on a map.

        The edges lie half-way between the cells' coordinates. Where these go up and down, such as
        longitudes that pass 360, the cells stay in their order.
        """
        centres = cast(Any, grid.coordinates)[name]
        attributes, label = grid.attributes_of(name), grid.label(name)
        in_degrees = str(attributes.get("units", "")).startswith("degree")
        steps = np.diff(centres)
        if len(centres) == 1 or not ((steps > 0).all() or (steps < 0).all()):
            counted = cls.counted(len(centres), is_rows=is_rows)
            return cls(counted.edges, counted.limits, label, centres)
        edges = _edges(centres)
        low, high = sorted((float(edges[0]), float(edges[-1])))
        is_down = is_rows and attributes.get("positive") == "down"
        limits = (high, low) if is_down else (low, high)
        return cls(edges, limits, label, in_degrees=in_degrees)

    @classmethod
    def counted(cls, size: int, *, is_rows: bool) -> Side:
        """Count the cells; the first row is at the top."""
        limits = (float(size), 0.0) if is_rows else (0.0, float(size))
        return cls(np.arange(size + 1.0), limits)

    @property
    def is_regular(self) -> bool:
        """Whether all cells are alike in size."""
        regular = np.linspace(self.edges[0], self.edges[-1], len(self.edges))
        step = abs(regular[1] - regular[0])
        return bool((np.abs(self.edges - regular) <= _TOLERANCE * step).all())

    @property
    def extent(self) -> float:
        """The length of the axis."""
        return abs(self.limits[1] - self.limits[0])

    def ticks(self, inches: float, *, is_rows: bool) -> tuple[Floats, list[str]]:
        """Choose ticks, as many as their labels leave room for on an axis of a length."""
        for n_bins in range(min(6, int(inches / _LINE) + 1), 0, -1):
            positions, names = self._round_ticks(n_bins)
            longest = max(map(len, names), default=0)
            size = _LINE if is_rows else longest * _LETTER + _SPACE
            between = np.diff(positions).min(initial=self.extent) / self.extent * inches
            if names and size <= between:
                return positions, names
        return np.empty(0), []

    def _round_ticks(self, n_bins: int) -> tuple[Floats, list[str]]:
        if self.names is not None:
            cells = np.linspace(0, len(self.names) - 1, n_bins + 1).round().astype(int)[1:-1]
            cells = np.unique(cells)
            return cells + 0.5, [_written(value) for value in self.names[cells]]
        low, high = sorted(self.limits)
        margin = _EDGE * (high - low)
        is_wide_angle = self.in_degrees and high - low > 60.0
        steps = list(_DEGREES) if is_wide_angle else [1.0, 2.0, 2.5, 5.0, 10.0]
        values = np.asarray(MaxNLocator(n_bins, steps=steps, min_n_ticks=1).tick_values(low, high))
        values = values[(values >= low + margin) & (values <= high - margin)]
        return values, [_written(value) for value in values]


@dataclass(frozen=True, eq=False)
class GridMap:
    """The rows and columns of a grid on the axes of a picture."""

    rows: Side
    columns: Side

    @classmethod
    def of(cls, grid: Grid) -> GridMap:
        """Lay out a grid by its coordinates, or without them row by row from the top."""
        if grid.coordinates is None:
            return cls(
                Side.counted(grid.height, is_rows=True), Side.counted(grid.width, is_rows=False)
            )
        y, x = grid.coordinates
        return cls(Side.of(grid, y, is_rows=True), Side.of(grid, x, is_rows=False))

    @property
    def ratio(self) -> float:
        """Height of a frame by its width: equal scales for angles, else square cells."""
        if self.rows.in_degrees and self.columns.in_degrees:
            ratio = self.rows.extent / self.columns.extent
        else:
            ratio = (len(self.rows.edges) - 1) / (len(self.columns.edges) - 1)
        return min(max(ratio, _FLATTEST), _STEEPEST)

    def draw(self, ax: Axes, frame: Floats, scale: ColourScale | None) -> Picture:
        """Draw a frame (H, W), or without a scale its colours (H, W, 3), on axes without ticks.

        A cell without a value is left blank.
        """
        ax.patch.set(**BLANK)
        ax.set(xlim=self.columns.limits, ylim=self.rows.limits, xticks=[], yticks=[])
        ax.spines[:].set(color="0.4", linewidth=0.5)
        options: dict[str, Any] = {}
        if scale is not None:
            options = {"cmap": scale.colormap, "norm": scale.norm}
        x, y = self.columns.edges, self.rows.edges
        cells = _cells(frame)
        if not (self.columns.is_regular and self.rows.is_regular):
            return ax.pcolormesh(x, y, cells, rasterized=True, **options)
        extent = (float(x[0]), float(x[-1]), float(y[-1]), float(y[0]))
        return ax.imshow(
            cells, extent=extent, origin="upper", interpolation="nearest", aspect="auto", **options
        )

    def label_rows(self, ax: Axes, inches: float) -> None:
        """Put ticks on the vertical axis, if there is a coordinate."""
        if self.rows.label:
            ax.set_yticks(*self.rows.ticks(inches, is_rows=True))
            ax.tick_params("y", labelsize="x-small", length=2.0, width=0.5, pad=1.5)

    def label_columns(self, ax: Axes, inches: float) -> None:
        """Put ticks on the horizontal axis, if there is a coordinate."""
        if self.columns.label:
            ax.set_xticks(*self.columns.ticks(inches, is_rows=False))
            ax.tick_params("x", labelsize="x-small", length=2.0, width=0.5, pad=1.5)


def redraw(picture: Picture, frame: Floats) -> None:
    """Let a picture that `GridMap.draw` drew show another frame."""
    cells = _cells(frame)
    if isinstance(picture, AxesImage):
        picture.set_data(cells)
    else:
        picture.set_array(cells)


def _cells(frame: Floats) -> npt.NDArray[Any]:
    """Return values with those that are none masked, or colours with an opacity."""
    if frame.ndim == 2:
        return np.ma.masked_invalid(frame)
    is_seen = np.isfinite(frame).all(axis=-1, keepdims=True)
    return np.concatenate([np.where(is_seen, np.clip(frame, 0.0, 1.0), 0.0), is_seen], axis=-1)


def _edges(centres: Floats) -> Floats:
    between = (centres[1:] + centres[:-1]) / 2.0
    return np.concatenate(
        [[2.0 * centres[0] - between[0]], between, [2.0 * centres[-1] - between[-1]]]
    )


def _written(value: float) -> str:
    return f"{value + 0.0:.10g}".replace("-", "\N{MINUS SIGN}")
