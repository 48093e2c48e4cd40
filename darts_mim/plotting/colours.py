"""How values become colours, and which colours tell models apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize, TwoSlopeNorm
from matplotlib.ticker import Locator, MaxNLocator

# The colours of Okabe and Ito, which the colour-blind tell apart too; their yellow fades on white.
PALETTE: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X")
# A cell without a value: hatched, so that it is no colour of any map.
BLANK: Final[dict[str, Any]] = {
    "facecolor": "white",
    "edgecolor": "0.8",
    "hatch": "//////",
    "linewidth": 0.0,
}

Extend: TypeAlias = Literal["neither", "min", "max", "both"]
# Whether there are values (below, above) the scale: the ends of its bar that get an arrow.
_EXTEND: dict[tuple[bool, bool], Extend] = {
    (False, False): "neither",
    (True, False): "min",
    (False, True): "max",
    (True, True): "both",
}
# Perceptually uniform, and told apart by the colour-blind; so are the two ends of the last.
DEFAULT_CMAP: Final = "viridis"
_SIZE_CMAP, _WIDTH_CMAP, _SIGNED_CMAP = "magma", "cividis", "RdBu_r"


@dataclass(frozen=True)
class ColourScale:
    """A colour map, how values run along it, and the ends beyond which there are values.

    Parameters
    ----------
    cmap
        Name of matplotlib's colour map.
    norm
        From values to the map.
    extend
        The ends of the colour bar that get an arrow.
    label
        What the values are, with their unit.
    """

    cmap: str
    norm: Normalize
    extend: Extend
    label: str

    @classmethod
    def of_values(
        cls,
        known: npt.NDArray[np.floating[Any]],
        shown: npt.NDArray[np.floating[Any]],
        vmin: float | None,
        vmax: float | None,
        cmap: str,
        label: str,
    ) -> ColourScale:
        """Scale by the values known, so that a wild forecast does not flatten them.

        Arrows say where those shown go beyond.
        """
        if cmap not in colormaps:
            raise ValueError(
                f"`cmap` must name a colour map of matplotlib, got {cmap!r}; use for instance "
                f'"viridis" or "gray"'
            )
        lowest, highest = _finite_range(known, "what is to be drawn")
        if lowest == highest:
            highest += 1.0
        low, high = lowest if vmin is None else vmin, highest if vmax is None else vmax
        if not low < high:
            raise ValueError(
                f"`vmin` must be below `vmax`, got {low} and {high}; set both, or neither for the "
                f"range of the values"
            )
        bottom, top = _finite_range(shown, "what is to be drawn")
        return cls(cmap, Normalize(low, high), _EXTEND[bottom < low, top > high], label)

    @classmethod
    def of_difference(
        cls,
        differences: npt.NDArray[np.floating[Any]],
        vmax: float | None,
        label: str,
        *,
        signed: bool,
    ) -> ColourScale:
        """Scale differences from 0, or with a sign from -`vmax`, to `vmax`: by default the largest.

        Where differences have a sign, white is none.
        """
        lowest, highest = _finite_range(differences, "truth and forecast, both at a time,")
        largest = max(-lowest, highest) if signed else highest
        high = (largest or 1.0) if vmax is None else vmax
        if not high > 0.0:
            raise ValueError(
                f"`difference_vmax` must be positive, got {high}; leave it out for the largest "
                f"difference"
            )
        norm = Normalize(-high if signed else 0.0, high)
        extend = _EXTEND[signed and lowest < -high, highest > high]
        return cls(_SIGNED_CMAP if signed else _SIZE_CMAP, norm, extend, label)

    @classmethod
    def of_width(cls, widths: npt.NDArray[np.floating[Any]], label: str) -> ColourScale:
        """Scale the widths of intervals from 0 to the largest one."""
        _, widest = _finite_range(widths, "the forecast's interval")
        return cls(_WIDTH_CMAP, Normalize(0.0, widest or 1.0), "neither", label)

    @classmethod
    def of_share(cls, expected: float, label: str) -> ColourScale:
        """Scale shares from 0 to 1 around the one expected, which is white."""
        return cls("RdBu", TwoSlopeNorm(expected, 0.0, 1.0), "neither", label)

    @property
    def colormap(self) -> Colormap:
        """The colour map, in which what is no value has no colour."""
        return colormaps[self.cmap].with_extremes(bad=(0.0, 0.0, 0.0, 0.0))

    @property
    def ticks(self) -> Locator | list[float]:
        """Where a colour bar is labelled."""
        if isinstance(self.norm, TwoSlopeNorm):
            return [0.0, self.norm.vcenter, 1.0]
        return MaxNLocator(4, steps=[1, 2, 2.5, 5, 10])

    @property
    def mappable(self) -> ScalarMappable:
        """What a colour bar is made of."""
        return ScalarMappable(self.norm, self.colormap)


def _finite_range(values: npt.NDArray[np.floating[Any]], what: str) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        raise ValueError(
            f"{what} must hold a finite value in the channel to draw, got none; choose other "
            f"frames or another channel"
        )
    return float(finite.min()), float(finite.max())
