"""The colours of a scene: one scale for all frames, one for all differences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from darts_mim.plotting.colours import ColourScale
from darts_mim.plotting.distributions import Floats
from darts_mim.plotting.scene import Scene, value_label, with_unit


class Scales(NamedTuple):
    """The scale of the frames, if they are no colours, and of the differences, if there are any."""

    values: ColourScale | None
    differences: ColourScale | None

    @classmethod
    def of(
        cls,
        scene: Scene,
        differences: Mapping[str, Floats],
        *,
        signed: bool,
        vmin: float | None,
        vmax: float | None,
        difference_vmax: float | None,
        cmap: str,
        label: str | None,
    ) -> Scales:
        """Scale the frames and the differences of a scene; ``plot_frames`` says how."""
        what = "forecast \N{MINUS SIGN} truth"
        values = of_differences = None
        if scene.channel is not None:
            label = label or value_label(scene.grid, scene.channel)
            values = ColourScale.of_values(scene.known, scene.shown, vmin, vmax, cmap, label)
        if differences:
            of_differences = ColourScale.of_difference(
                np.concatenate([each.ravel() for each in differences.values()]),
                difference_vmax,
                with_unit(what if signed else f"|{what}|", scene.grid, scene.channel),
                signed=signed,
            )
        return cls(values, of_differences)
