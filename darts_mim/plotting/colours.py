"""How values become colours, and which colours tell models apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure

from darts_mim.plotting.scene import Scene

# The colours of Okabe and Ito, which the colour-blind tell apart too; their yellow fades on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

Extend: TypeAlias = Literal["neither", "min", "max", "both"]
# Whether there are values (below, above) the scale: the ends of its bar that get an arrow.
_EXTEND: dict[tuple[bool, bool], Extend] = {
    (False, False): "neither",
    (True, False): "min",
    (False, True): "max",
    (True, True): "both",
}
_DIFFERENCE_CMAP = "magma"
_MISSING_COLOUR = "0.85"
_BAR_DISTANCE = 0.1  # inches


@dataclass(frozen=True)
class ColourScale:
    """A colour map, the values of its ends, and the ends beyond which there are values."""

    cmap: str
    vmin: float
    vmax: float
    extend: Extend

    @classmethod
    def of_values(
        cls, scene: Scene, vmin: float | None, vmax: float | None, cmap: str
    ) -> "ColourScale":
        """Scale frames by context and truth, so that a wild forecast does not flatten them."""
        if cmap not in colormaps:
            raise ValueError(
                f"`cmap` must name a colour map of matplotlib, got {cmap!r}; use for instance "
                f'"gray" or "viridis"'
            )
        known = np.concatenate([scene.context, scene.truth])
        lowest, highest = _finite_range(known, "`history` and `actual`")
        if lowest == highest:
            highest += 1.0
        low, high = lowest if vmin is None else vmin, highest if vmax is None else vmax
        if not low < high:
            raise ValueError(
                f"`vmin` must be below `vmax`, got {low} and {high}; set both, or neither for the "
                f"range of the values"
            )
        bottom, top = _finite_range(np.concatenate([known, scene.forecast]), "the series")
        return cls(cmap, low, high, _EXTEND[bottom < low, top > high])

    @classmethod
    def of_difference(cls, scene: Scene, vmax: float | None) -> "ColourScale":
        """Scale the absolute difference from 0 to `vmax`, by default the largest one."""
        _, largest = _finite_range(scene.difference, "`actual` and `forecast`, both at a time,")
        high = (largest or 1.0) if vmax is None else vmax
        if not high > 0.0:
            raise ValueError(
                f"`difference_vmax` must be positive, got {high}; leave it out for the largest "
                f"difference"
            )
        return cls(_DIFFERENCE_CMAP, 0.0, high, _EXTEND[False, largest > high])

    def draw(
        self,
        ax: Axes,
        frame: npt.NDArray[np.floating[Any]],
        extent: tuple[float, float, float, float] | None = None,
    ) -> None:
        """Draw a frame (H, W), a square for each cell; a cell without a value is grey."""
        ax.imshow(frame, self._colormap, self._norm, extent=extent, interpolation="nearest")

    def add_bar(self, figure: Figure, axes: Sequence[Axes], aspect: float, label: str = "") -> None:
        """Put a colour bar beside the axes, `aspect` times as long as it is wide."""
        bar = figure.colorbar(
            ScalarMappable(self._norm, self._colormap),
            ax=axes,
            extend=self.extend,
            label=label,
            aspect=aspect,
            pad=_BAR_DISTANCE / figure.get_figwidth(),
        )
        bar.outline.set(edgecolor="0.5", linewidth=0.5)

    @property
    def _colormap(self) -> Colormap:
        return colormaps[self.cmap].with_extremes(bad=_MISSING_COLOUR)

    @property
    def _norm(self) -> Normalize:
        return Normalize(self.vmin, self.vmax)


def _finite_range(values: npt.NDArray[np.floating[Any]], names: str) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        raise ValueError(
            f"{names} must hold a finite value in the channel to draw, got none; choose other "
            f"frames or another channel"
        )
    return float(finite.min()), float(finite.max())
