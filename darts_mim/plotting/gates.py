"""How far gates are open, over time and by layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from darts_mim.diagnostics import GateSaturation
from darts_mim.plotting.colours import MARKERS, PALETTE
from darts_mim.plotting.figures import NotebookFigure
from darts_mim.plotting.scene import step_name

_GATES: Final[Mapping[str, str]] = {
    "f": "ST-LSTM, f",
    "T / C": "MIM, T / C",
    "": "no MIM-S, no gate",
}


def plot_gates(
    saturation: GateSaturation, *, title: str | None = None, ax: Axes | None = None
) -> Figure:
    """Draw how many of a model's forget gates are open, a curve for each layer, step by step.

    Steps are named by the frame that they read, counted from ``t``, the last one of the context,
    whose steps have a grey ground. A step at which a layer has nothing to count, as MIM blocks at
    the first, has no point.

    Parameters
    ----------
    saturation
        What ``darts_mim.diagnostics.gate_saturation`` returned.
    title
        Title of the axes.
    ax
        Axes to draw in, in a figure of yours: two models side by side, for instance.

    Returns
    -------
    matplotlib.figure.Figure
        A figure of one axes, with a line for each layer, or that of `ax`.

    Raises
    ------
    TypeError
        If `saturation` is something else.

    Examples
    --------
    >>> import pandas as pd
    >>> from darts_mim.diagnostics import GateSaturation
    >>> shares = pd.DataFrame({1: [0.9, 0.8, 0.8], 2: [float("nan"), 0.6, 0.5]}, index=[-1, 0, 1])
    >>> figure = plot_gates(GateSaturation(shares, ("f", "T / C"), threshold=0.9))
    >>> [line.get_label() for line in figure.axes[0].lines]
    ['layer 1 (ST-LSTM, f)', 'layer 2 (MIM, T / C)']
    """
    if not isinstance(saturation, GateSaturation):
        raise TypeError(
            f"`saturation` must be a GateSaturation, got {type(saturation).__name__}; pass "
            "`gate_saturation(model, series)`"
        )
    if ax is None:
        ax = NotebookFigure(figsize=(6.4, 3.8), layout="constrained").add_subplot()
    steps = saturation.shares.index.to_numpy()
    for i, (layer, gate) in enumerate(zip(saturation.shares, saturation.gates, strict=True)):
        ax.plot(
            steps,
            saturation.shares[layer].to_numpy(),
            color=PALETTE[i % len(PALETTE)],
            marker=MARKERS[i % len(MARKERS)],
            markersize=5,
            label=f"layer {layer} ({_GATES[gate]})",
        )
    ax.axvspan(steps[0] - 0.5, 0.5, color="0.95", zorder=0)
    ax.set(
        xlim=(steps[0] - 0.5, steps[-1] + 0.5),
        ylim=(-0.02, 1.02),
        xlabel="frame that the step reads (grey: context)",
        ylabel=f"gates above {saturation.threshold:g}",
    )
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda step, _: step_name(round(step))))
    ax.yaxis.set_major_formatter(PercentFormatter(xmax=1.0))
    ax.grid(axis="y", color="0.85")
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    if title is not None:
        ax.set_title(title)
    ax.legend(frameon=False, fontsize="small")
    return cast(Figure, ax.figure)
