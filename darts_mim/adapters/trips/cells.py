"""The cells of a grid that places fall into.

Letters for shapes: H height (rows), W width (columns), P places.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from pandas.api.types import is_bool_dtype, is_complex_dtype, is_numeric_dtype

from darts_mim.grid import Grid

EDGES_KEY: Final = "edges"
"""The attribute in which a coordinate keeps the edges of its cells."""

Cells = NDArray[np.intp]
OUTSIDE: Final = -1


def checked_cells(grid: Grid | Mapping[str, ArrayLike]) -> Grid:
    """Return a grid of one channel whose coordinates, if it has any, keep the edges of its cells.

    Parameters
    ----------
    grid
        A grid, or the H+1 edges of its rows and the W+1 edges of its columns.
    """
    if isinstance(grid, Grid):
        attributes = {k: dict(v) for k, v in (grid.attributes or {}).items()}
        for name, centres in (grid.coordinates or {}).items():
            kept = grid.attributes_of(name).get(EDGES_KEY)
            known = {**attributes.get(name, {}), EDGES_KEY: _edges_of(name, centres, kept)}
            attributes[name] = known
        return grid.evolve(channels=1, channel_names=None, attributes=attributes)
    if not isinstance(grid, Mapping):
        raise TypeError(
            f"`grid` must be a Grid or a mapping of edges, got {type(grid).__name__}; pass for "
            'example Grid(1, 32, 24) or {"lat": edges of the rows, "lon": edges of the columns}'
        )
    if len(grid) != 2:
        raise ValueError(
            f"`grid` must hold the edges of the rows, then of the columns, got {list(grid)}; pass "
            'for example {"lat": [...], "lon": [...]}'
        )
    edges = {name: _checked_edges(f"grid[{name!r}]", values) for name, values in grid.items()}
    height, width = (len(values) - 1 for values in edges.values())
    return Grid(
        1,
        height,
        width,
        coordinates={name: (values[1:] + values[:-1]) / 2 for name, values in edges.items()},
        attributes={name: {EDGES_KEY: values} for name, values in edges.items()},
    )


def cells_of_places(table: pd.DataFrame, columns: tuple[str, ...], grid: Grid) -> Cells:
    """Return the number of the cell, counted along the rows, of each place (P,), or `OUTSIDE`.

    Parameters
    ----------
    table
        Places without missing values.
    columns
        The column of the numbers of cells; or those of the row and of the column of the cell if the
        grid has no coordinates, and of the two coordinates if it has.
    grid
        As from `checked_cells`.
    """
    sizes = grid.shape[1:]
    if len(columns) == 1:
        number = _whole_numbers(table, columns[0])
        return np.where((number >= 0) & (number < sizes[0] * sizes[1]), number, OUTSIDE)
    if grid.coordinates is None:
        row, column = (_whole_numbers(table, name) for name in columns)
    else:
        row, column = (
            _between(_numbers(table, name), np.array(grid.attributes_of(axis)[EDGES_KEY]))
            for name, axis in zip(columns, grid.coordinates, strict=True)
        )
    is_inside = (row >= 0) & (row < sizes[0]) & (column >= 0) & (column < sizes[1])
    return np.where(is_inside, row * sizes[1] + column, OUTSIDE)


def _between(values: NDArray[np.float64], edges: NDArray[np.float64]) -> Cells:
    """Find the edges around each value; one on an edge is above it, if there is a cell."""
    descends = edges[0] > edges[-1]
    rising = edges[::-1] if descends else edges
    cells = np.searchsorted(rising, values, side="right") - 1
    last = len(edges) - 2
    cells[values == rising[-1]] = last
    inside = (cells >= 0) & (cells <= last)
    return np.where(inside, last - cells if descends else cells, OUTSIDE)


def _edges_of(name: str, centres: NDArray[np.float64], kept: Any) -> NDArray[np.float64]:
    """Return the edges that a coordinate keeps, or those halfway between the centres of cells."""
    if kept is not None:
        edges = _checked_edges(f"grid.attributes[{name!r}]['{EDGES_KEY}']", kept)
        if len(edges) == len(centres) + 1:
            return edges
        raise ValueError(
            f"`grid` must have {len(centres) + 1} edges for the {len(centres)} cells along "
            f"{name!r}, got {len(edges)} in its attributes; leave out that attribute"
        )
    if len(centres) == 1:
        raise ValueError(
            f"`grid` has a single cell along {name!r}, whose edges its centre does not tell; pass "
            'the edges instead, {"lat": [...], "lon": [...]}'
        )
    half = np.diff(centres) / 2
    edges = np.concatenate([centres[:1] - half[0], centres[:-1] + half, centres[-1:] + half[-1]])
    return _checked_edges(f"grid.coordinates[{name!r}]", edges)


def _checked_edges(argument: str, given: ArrayLike) -> NDArray[np.float64]:
    edges = np.asarray(given)
    if edges.dtype.kind not in "fiu":
        raise TypeError(f"`{argument}` must be numbers, got dtype {edges.dtype}; pass the edges")
    edges = edges.astype(np.float64)
    if edges.ndim != 1 or len(edges) < 2 or not np.isfinite(edges).all():
        raise ValueError(
            f"`{argument}` must be at least two finite numbers, got shape {edges.shape}; pass one "
            "edge more than there are cells"
        )
    steps = np.diff(edges)
    if not ((steps > 0).all() or (steps < 0).all()):
        raise ValueError(
            f"`{argument}` must rise or fall strictly, got steps from {steps.min():g} to "
            f"{steps.max():g}; put the cells in order"
        )
    return edges


def _numbers(table: pd.DataFrame, name: str) -> NDArray[np.float64]:
    column = table[name]
    if not is_numeric_dtype(column) or is_bool_dtype(column) or is_complex_dtype(column):
        raise TypeError(
            f"`trips[{name!r}]` must be real numbers, got dtype {column.dtype}; convert it with "
            "`pd.to_numeric`"
        )
    return column.to_numpy(np.float64)


def _whole_numbers(table: pd.DataFrame, name: str) -> Cells:
    numbers = _numbers(table, name)
    is_whole = (np.floor(numbers) == numbers) & np.isfinite(numbers)
    if not is_whole.all():
        raise ValueError(
            f"`trips[{name!r}]` must number cells from 0, got {numbers[~is_whole][0]:g}; if these "
            "are coordinates, pass a grid that has some"
        )
    return numbers.astype(np.intp)
