"""Curves: errors over the horizon, and open gates over time.

Legend: F forecasts, T frames of a forecast.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

import numpy as np
import numpy.typing as npt
from darts import TimeSeries
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from darts_mim.diagnostics import GateSaturation
from darts_mim.plotting.colours import CURVES
from darts_mim.plotting.figures import NotebookFigure
from darts_mim.plotting.scene import step_name
from darts_mim.series import parameter_names

Errors: TypeAlias = npt.ArrayLike | Sequence[npt.NDArray[Any]]
Forecasts: TypeAlias = TimeSeries | Sequence[TimeSeries]

# grey that is seen on a light and on a dark background
_SHADE: Final[dict[str, Any]] = {"color": "0.5", "alpha": 0.2, "linewidth": 0.0}
_GATES: Final[Mapping[str, str]] = {
    "f": "ST-LSTM, f",
    "T / C": "MIM, T / C",
    "": "no MIM-S, no gate",
}


def plot_horizon_error(
    errors: Mapping[str, Errors | Forecasts],
    actual: Forecasts | None = None,
    *,
    metric: Callable[..., Any] | None = None,
    spread: tuple[float, float] | None = (0.1, 0.9),
    ylabel: str | None = None,
    title: str | None = None,
    from_zero: bool = True,
    ax: Axes | None = None,
) -> Figure:
    """Draw how an error grows over the frames of the forecast, a curve for each model.

    Parameters
    ----------
    errors
        The errors of each model, by its name: of shape (T,), an error per frame, as ``backtest``
        returns with a metric of ``darts_mim.metrics``; or (F, T), a row for each forecast, as it
        returns with ``reduction=None``; or a list of such arrays, one for each series. With
        `actual` and `metric`, the forecasts of each model instead; of quantiles the median is
        compared. Horizons may differ between models. NaN and infinity, such as the PSNR of equal
        frames, are left out of mean and band.
    actual
        The series to compare forecasts with: one for all of them, or one for each.
    metric
        The metric of ``darts_mim.metrics`` to compute from forecasts.
    spread
        Quantiles of the errors of several forecasts, between which a band is drawn; ``None`` for no
        band.
    ylabel
        Label of the error, with its unit; by default the name of the metric.
    title
        Title of the axes.
    from_zero
        Whether the axis begins at 0. Switch it off for scores such as SSIM and PSNR.
    ax
        Axes to draw in, in a figure of yours.

    Returns
    -------
    matplotlib.figure.Figure
        A figure of one axes, with a line for each model, or that of `ax`; the first frame of the
        forecast is number 1.

    Raises
    ------
    TypeError
        If `errors` is not a mapping, or holds forecasts without `actual` and `metric`.
    ValueError
        If an error is not of shape (T,) or (F, T), or forecasts of one model differ in length.

    Examples
    --------
    >>> figure = plot_horizon_error({"MIM": [1.0, 2.0], "persistence": [3.0, 5.0]}, ylabel="MSE")
    >>> [line.get_label() for line in figure.axes[0].lines]
    ['MIM', 'persistence']

    Compute the errors from forecasts, with their spread:

    >>> from darts_mim import frame_mae, frames_to_series
    >>> actual = frames_to_series(np.random.default_rng(0).random((9, 1, 4, 6)))
    >>> forecasts = [actual[i : i + 3] * 0.9 for i in range(6)]
    >>> figure = plot_horizon_error({"MIM": forecasts}, actual, metric=frame_mae)
    >>> figure.axes[0].get_ylabel()
    'MAE'
    """
    if not isinstance(errors, Mapping):
        raise TypeError(
            "`errors` must map the name of each model to its errors, got "
            f"{type(errors).__name__}; pass for example {{'MIM': errors}}"
        )
    tables = {name: _checked_table(name, each, actual, metric) for name, each in errors.items()}
    ax = ax or NotebookFigure(figsize=(6.4, 3.8), layout="constrained").add_subplot()
    ax.set_prop_cycle(CURVES)
    for name, table in tables.items():
        frames, is_known = np.arange(1, table.shape[1] + 1), ~np.ma.getmaskarray(table).all(axis=0)
        (line,) = ax.plot(frames, table.mean(axis=0).filled(np.nan), markersize=5, label=name)
        if spread is not None and len(table) > 1:
            band = np.full((2, len(frames)), np.nan)
            band[:, is_known] = np.nanquantile(table[:, is_known].filled(np.nan), spread, axis=0)
            ax.fill_between(frames, *band, color=line.get_color(), alpha=0.15, linewidth=0.0)
    if spread is not None and any(len(table) > 1 for table in tables.values()):
        low, high = (f"{100.0 * level:.4g}" for level in spread)
        ax.fill_between([], [], label=f"{low} to {high} % of forecasts", **_SHADE)
    ax.legend()
    metric_name = getattr(metric, "__name__", "error")
    if metric_name.startswith("frame_"):
        metric_name = metric_name.removeprefix("frame_").upper()
    ax.set(xlabel="frame of the forecast", ylabel=ylabel or metric_name)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.set_xlim(0.5, float(ax.dataLim.x1) + 0.5)
    ax.margins(y=0.1)
    ax.autoscale(axis="y")  # anew, for axes that hold curves already
    if from_zero:
        ax.set_ylim(bottom=0.0)
    return _dressed(ax, title)


def plot_gates(
    saturation: GateSaturation, *, title: str | None = None, ax: Axes | None = None
) -> Figure:
    """Draw the share of open forget gates over the steps of a forecast, a curve for each layer.

    A step is named by the frame that it reads, counted from ``t``, the last one of the context. The
    steps of the context have a grey background. There is no point where a layer has no gate to
    count, as in MIM blocks at the first step.

    Parameters
    ----------
    saturation
        The result of ``darts_mim.diagnostics.gate_saturation``.
    title
        Title of the axes.
    ax
        Axes to draw in, in a figure of yours.

    Returns
    -------
    matplotlib.figure.Figure
        A figure of one axes, with a line for each layer, or that of `ax`.

    Examples
    --------
    >>> import pandas as pd
    >>> from darts_mim.diagnostics import GateSaturation
    >>> shares = pd.DataFrame({1: [0.9, 0.8, 0.8], 2: [float("nan"), 0.6, 0.5]}, index=[-1, 0, 1])
    >>> figure = plot_gates(GateSaturation(shares, ("f", "T / C"), threshold=0.9))
    >>> [line.get_label() for line in figure.axes[0].lines]
    ['layer 1 (ST-LSTM, f)', 'layer 2 (MIM, T / C)']
    """
    outside: dict[str, Any] = {}
    if ax is None:
        ax = NotebookFigure(figsize=(7.2, 3.6), layout="constrained").add_subplot()
        outside = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}  # the curves fill the axes
    steps = saturation.shares.index.to_numpy()
    ax.set_prop_cycle(CURVES)
    for layer, gate in zip(saturation.shares, saturation.gates, strict=True):
        label = f"layer {layer} ({_GATES[gate]})"
        ax.plot(steps, saturation.shares[layer].to_numpy(), markersize=5, label=label)
    ax.axvspan(steps[0] - 0.5, 0.5, zorder=0, **_SHADE)
    ax.set(
        xlim=(steps[0] - 0.5, steps[-1] + 0.5),
        ylim=(-0.02, 1.02),
        xlabel="frame that the step reads (grey: context)",
        ylabel=f"gates above {saturation.threshold:g}",
    )
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda step, _: step_name(round(step))))
    ax.yaxis.set_major_formatter(PercentFormatter(xmax=1.0))
    ax.legend(fontsize="small", **outside)
    return _dressed(ax, title)


def _checked_table(
    name: str,
    given: Errors | Forecasts,
    actual: Forecasts | None,
    metric: Callable[..., Any] | None,
) -> np.ma.MaskedArray[Any, np.dtype[np.float64]]:
    """Return the errors of a model, (F, T), masked where they are not finite."""
    parts: Any = given if isinstance(given, list | tuple) else [given]
    if len(parts) and isinstance(parts[0], TimeSeries):
        if actual is None or metric is None:
            raise TypeError(
                f"`errors[{name!r}]` holds forecasts, which need `actual` and `metric`, such as "
                "metric=darts_mim.frame_mse; or pass the errors that `backtest` returns"
            )
        truths = [actual] * len(parts) if isinstance(actual, TimeSeries) else list(actual)
        parts = [np.atleast_1d(each) for each in metric(truths, [_median(each) for each in parts])]
    rows = [np.asarray(part, dtype=np.float64) for part in parts]
    if any(row.ndim == 0 for row in rows):
        rows = [np.array(rows)]  # a list of numbers, an error per frame
    lengths = {row.shape[-1] for row in rows}
    if len(lengths) != 1 or not all(row.ndim in (1, 2) and row.size for row in rows):
        raise ValueError(
            f"`errors[{name!r}]` must be an error per frame, (T,), or a row of them for each "
            f"forecast, (F, T), with one T, got shapes {[row.shape for row in rows]}; take one "
            "metric of them, and give each horizon a name of its own"
        )
    return np.ma.masked_invalid(np.concatenate([np.atleast_2d(row) for row in rows]))


def _median(forecast: TimeSeries) -> TimeSeries:
    """Return the median of a forecast that holds quantiles, any other as it is."""
    names = parameter_names(forecast)
    if len(names) < 2 or "q0.500" not in names:
        return forecast  # the metric refuses parameters
    return forecast[forecast.components[names.index("q0.500") :: len(names)].tolist()]


def _dressed(ax: Axes, title: str | None) -> Figure:
    """Finish axes and return their figure."""
    if title is not None:
        ax.set_title(title)
    ax.grid(axis="y", color="0.5", alpha=0.3)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    return cast(Figure, ax.figure)
