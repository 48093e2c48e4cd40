"""The cells of a grid on the axes of a picture.

Legend: T time, H height (rows), W width (columns).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.ticker import FuncFormatter, MaxNLocator

from darts_mim.grid import Grid
from darts_mim.plotting.colours import ColourScale, Floats

_FLATTEST, _STEEPEST = 0.25, 4.0  # height by width of a frame: a sliver shows nothing
_EDGE = 0.08  # of an axis: a tick label nearer to its end would meet the next frame's
_TICKS: dict[str, Any] = {"labelsize": "x-small", "length": 2.0, "width": 0.5, "pad": 1.5}
# A cell without a value. No colour of any map is hatched, and the hatching shows on every ground.
_MISSING: dict[str, Any] = {"facecolor": "none", "edgecolor": "0.6", "hatch": "//////", "lw": 0.0}
_SHORT_UNITS = {"degrees_north": "°N", "degrees_east": "°E", "degC": "°C"}


def label_of(grid: Grid, name: str) -> str:
    """Return the label of a channel or a coordinate, with the common units in short."""
    label, units = grid.label(name), str(grid.attributes_of(name).get("units"))
    return label.replace(f"[{units}]", f"[{_SHORT_UNITS.get(units, units)}]")


@dataclass(frozen=True, eq=False)
class _Side:
    """The cells along one axis of a picture.

    Parameters
    ----------
    edges
        Positions of the cells' edges, in the order of the cells.
    label
        The coordinate and its unit; empty without one.
    names
        The coordinate of each cell, where its position is its number instead.
    in_degrees
        Whether the positions are angles.
    is_reversed
        Whether positions grow to the left, or downwards.
    """

    edges: Floats
    label: str = ""
    names: Floats | None = None
    in_degrees: bool = False
    is_reversed: bool = False

    @property
    def limits(self) -> tuple[float, float]:
        """The ends of the axis, from the left or from the bottom."""
        low, high = sorted((float(self.edges[0]), float(self.edges[-1])))
        return (high, low) if self.is_reversed else (low, high)

    @property
    def extent(self) -> float:
        """The length of the axis."""
        return float(abs(self.edges[-1] - self.edges[0]))

    def label_ticks(self, axis: Any) -> None:
        """Put ticks on an axis, if it has a coordinate."""
        if not self.label:
            return
        is_wide_angle = self.in_degrees and self.extent > 60.0
        axis.set_major_locator(
            _InnerTicks(
                "auto",
                steps=[1, 1.5, 3, 4.5, 6, 9, 10] if is_wide_angle else [1, 2, 2.5, 5, 10],
                integer=self.names is not None,
                min_n_ticks=2 if axis.axis_name == "y" else 1,
            )
        )
        if self.names is not None:
            axis.set_major_formatter(FuncFormatter(partial(_name, self.names)))
        axis.set_tick_params(**_TICKS)


class _InnerTicks(MaxNLocator):
    """Round values, as many as there is room for, that keep away from the ends of the axis."""

    def tick_values(self, vmin: float, vmax: float) -> Any:
        ticks = np.asarray(super().tick_values(vmin, vmax))
        low, high = sorted((vmin, vmax))
        margin = _EDGE * (high - low)
        return ticks[(ticks >= low + margin) & (ticks <= high - margin)]


def _name(names: Floats, position: float, _: int) -> str:
    return f"{names[round(position)]:g}"


def _side(grid: Grid, number: int) -> _Side:
    """Lay out the rows (0) or columns (1) of a grid."""
    counted = np.arange(grid.shape[1 + number] + 1.0) - 0.5
    if grid.coordinates is None:
        return _Side(counted, is_reversed=number == 0)  # the first row is at the top
    name, centres = list(grid.coordinates.items())[number]
    steps = np.diff(centres)
    if len(steps) == 0 or not ((steps > 0).all() or (steps < 0).all()):
        # such as longitudes that pass 360: the cells stay in their order
        return _Side(counted, label_of(grid, name), centres, is_reversed=number == 0)
    padded = np.concatenate([[centres[0] - steps[0]], centres, [centres[-1] + steps[-1]]])
    attributes = grid.attributes_of(name)
    return _Side(
        (padded[1:] + padded[:-1]) / 2.0,
        label_of(grid, name),
        in_degrees=str(attributes.get("units", "")).startswith("degree"),
        is_reversed=number == 0 and attributes.get("positive") == "down",
    )


class GridMap:
    """The rows and columns of a grid on the axes of a picture.

    Coordinates grow upwards and to the right, as on a map; rows with the attribute
    ``"positive": "down"`` grow downwards. Cells reach half-way to their neighbours. Without
    coordinates, the first row is at the top.
    """

    def __init__(self, grid: Grid) -> None:
        self.rows, self.columns = _side(grid, 0), _side(grid, 1)

    @property
    def ratio(self) -> float:
        """Height of a frame by its width: equal scales for angles, else square cells."""
        if self.rows.in_degrees and self.columns.in_degrees:
            ratio = self.rows.extent / self.columns.extent
        else:
            ratio = (len(self.rows.edges) - 1) / (len(self.columns.edges) - 1)
        return min(max(ratio, _FLATTEST), _STEEPEST)

    def draw(self, ax: Axes, frame: Floats, scale: ColourScale | None) -> QuadMesh:
        """Draw a frame (H, W), or without a scale its colours (H, W, 3), on axes without ticks.

        A cell without a value is hatched.
        """
        colours: dict[str, Any] = {} if scale is None else {"cmap": scale.cmap, "norm": scale.norm}
        ax.patch.set(**_MISSING)
        ax.spines[:].set(color="0.4", linewidth=0.5)
        mesh = ax.pcolormesh(
            self.columns.edges, self.rows.edges, cells_of(frame), rasterized=True, **colours
        )
        ax.set(xlim=self.columns.limits, ylim=self.rows.limits, xticks=[], yticks=[])
        return mesh


def cells_of(frame: Floats) -> npt.NDArray[Any]:
    """Return a frame as ``QuadMesh.set_array`` takes it: missing values masked or transparent."""
    if frame.ndim == 2:
        return np.ma.masked_invalid(frame)
    is_seen = np.isfinite(frame).all(axis=-1, keepdims=True)
    return np.concatenate([np.where(is_seen, np.clip(frame, 0.0, 1.0), 0.0), is_seen], axis=-1)
