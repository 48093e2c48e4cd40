"""Colour scales: how values become colours, and which colours distinguish models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from cycler import cycler
from matplotlib import colormaps
from matplotlib.colors import Colormap, Normalize, TwoSlopeNorm

Floats: TypeAlias = npt.NDArray[np.floating[Any]]

# Okabe and Ito's colours, which colour-blind readers can tell apart; without their yellow and
# black, which fade on a light and on a dark background.
_PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "0.5")
CONTEXT_COLOUR, FORECAST_COLOUR = _PALETTE[:2]
CURVES: Final = cycler(linestyle=["-", "--", ":"]) * (
    cycler(color=_PALETTE) + cycler(marker=["o", "s", "^", "D", "v", "P", "X"])
)
DEFAULT_CMAP: Final = "viridis"  # perceptually uniform, safe for colour-blind readers


@dataclass(frozen=True, eq=False)
class ColourScale:
    """A colour map and the values along it.

    Parameters
    ----------
    cmap
        The colour map. Its colour bar has arrows at the ends that values exceed.
    norm
        From values to the map.
    label
        The meaning of the values, with their unit.
    ticks
        Where the colour bar is labelled; empty for round values.
    """

    cmap: Colormap
    norm: Normalize
    label: str
    ticks: tuple[float, ...] = ()


def value_scale(
    known: Sequence[Floats],
    shown: Sequence[Floats],
    limits: tuple[float | None, float | None],
    cmap: str | Colormap,
    label: str,
) -> ColourScale:
    """Scale by the known values, so that a wild forecast does not flatten them.

    The ends of the colour bar that shown values exceed get an arrow.
    """
    lowest, highest = range_of(known)
    low = lowest if limits[0] is None else limits[0]
    high = highest + (low == highest) if limits[1] is None else limits[1]
    if not low < high:
        raise ValueError(
            f"the range of colours is empty, {low:g} to {high:g}: `vmin` must be below `vmax`, and "
            "`difference_vmax` positive"
        )
    lowest, highest = range_of(shown)
    colours = colormaps.get_cmap(cmap)  # a copy; unknown names are refused
    ends: Any = ("neither", "min", "max", "both")[(lowest < low) + 2 * (highest > high)]
    colours.colorbar_extend = ends
    return ColourScale(colours, Normalize(low, high), label)


def difference_scale(
    differences: Sequence[Floats], vmax: float | None, label: str, *, signed: bool
) -> ColourScale:
    """Scale absolute differences from 0, signed ones from -`vmax`, to `vmax`.

    The default is the largest difference. White is a signed difference of 0.
    """
    lowest, highest = range_of(differences)
    high = (max(-lowest, highest) or 1.0) if vmax is None else vmax
    cmap, low = ("RdBu_r", -high) if signed else ("magma", 0.0)
    return value_scale(differences, differences, (low, high), cmap, label)


def share_scale(expected: float, label: str) -> ColourScale:
    """Scale shares from 0 to 1; white is the expected one."""
    norm = TwoSlopeNorm(expected, 0.0, 1.0)
    return ColourScale(colormaps["RdBu"], norm, label, (0.0, expected, 1.0))


def range_of(frames: Sequence[Floats]) -> tuple[float, float]:
    """Return the smallest and the largest finite value."""
    values = np.concatenate([each.ravel() for each in frames])
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        raise ValueError(
            "the series must hold a finite value in the channel to draw, got none at the times "
            "that they share; choose other frames or another channel"
        )
    return float(finite.min()), float(finite.max())
