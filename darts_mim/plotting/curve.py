"""How an error grows over the horizon."""

import itertools
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from darts_mim.plotting.colours import PALETTE

_MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def plot_error_curve(
    errors: Mapping[str, npt.ArrayLike],
    *,
    ylabel: str = "error",
    title: str | None = None,
    from_zero: bool = True,
) -> Figure:
    """Draw how an error grows over the frames of the forecast, a curve for each model.

    Parameters
    ----------
    errors
        For each model's name its error per frame, shape (T,), such as ``backtest`` gives with a
        metric of ``darts_mim.metrics``. Horizons may differ. NaN leaves a gap.
    ylabel
        What the error is, with its unit.
    title
        Title of the figure.
    from_zero
        Whether the axis begins at 0. Switch it off for scores such as SSIM and PSNR.

    Returns
    -------
    matplotlib.figure.Figure
        One axes, a line for each model; the first frame of the forecast is number 1.

    Raises
    ------
    ValueError
        If there is no model, or an error is not of shape (T,) with T at least 1.

    Examples
    --------
    >>> figure = plot_error_curve({"MIM": [1.0, 2.0], "persistence": [3.0, 5.0]}, ylabel="MSE")
    >>> [line.get_label() for line in figure.axes[0].lines]
    ['MIM', 'persistence']
    """
    if not errors:
        raise ValueError("`errors` must hold at least one model, got none; pass {name: error}")
    figure = Figure(figsize=(7.0, 4.0), layout="constrained")
    ax = figure.add_subplot()
    styles = itertools.cycle(zip(PALETTE, _MARKERS, strict=True))
    for (name, error), (colour, marker) in zip(errors.items(), styles, strict=False):
        curve = np.asarray(error, dtype=np.float64)
        if curve.ndim != 1 or len(curve) == 0:
            raise ValueError(
                f"`errors[{name!r}]` must have shape (T,), a value per frame, got {curve.shape}; "
                f"average it over series and forecasts first"
            )
        frames = np.arange(1, len(curve) + 1)
        ax.plot(frames, curve, color=colour, marker=marker, markersize=5, label=name)
    ax.set(xlabel="frame of the forecast", ylabel=ylabel, title=title)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.margins(y=0.1)
    if from_zero:
        ax.set_ylim(bottom=0.0)
    ax.grid(axis="y", color="0.9")
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
    return figure
