"""How errors grow over the horizon.

Legend: F forecasts, T frames of a forecast.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
from darts import TimeSeries
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from darts_mim.plotting.colours import MARKERS, PALETTE
from darts_mim.plotting.distributions import without_quantiles
from darts_mim.plotting.figures import NotebookFigure

Errors: TypeAlias = npt.ArrayLike | Sequence[npt.NDArray[Any]]
Forecasts: TypeAlias = TimeSeries | Sequence[TimeSeries]


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
        For each model's name its error per frame, shape (T,), such as ``backtest`` gives with a
        metric of ``darts_mim.metrics``; or that of each forecast, (F, T), such as it gives with
        ``reduction=None``, of several series as a list. Or, with `actual` and `metric`, the
        model's forecasts; of quantiles as components the median counts. Horizons may differ. NaN,
        and infinity such as the PSNR of equal frames, are left out of means and of the band, and
        leave a gap where there is nothing else.
    actual
        With forecasts, what came: for all of them, or a series for each.
    metric
        With forecasts, the metric of ``darts_mim.metrics`` to compute.
    spread
        Quantiles between which the band around the mean of several forecasts lies; ``None`` for no
        band.
    ylabel
        What the error is, with its unit; by default the name of the metric.
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
        If `errors` is no mapping, or forecasts are given without `actual` and `metric`.
    ValueError
        If there is no model, `spread` is no pair of quantiles, an error is not of shape (T,) or
        (F, T) with F and T at least 1, or forecasts of one model differ in length.

    Examples
    --------
    >>> figure = plot_horizon_error({"MIM": [1.0, 2.0], "persistence": [3.0, 5.0]}, ylabel="MSE")
    >>> [line.get_label() for line in figure.axes[0].lines]
    ['MIM', 'persistence']

    From forecasts, with their spread:

    >>> from darts_mim import frame_mae, frames_to_series
    >>> actual = frames_to_series(np.random.default_rng(0).random((9, 1, 4, 6)))
    >>> forecasts = [actual[i : i + 3] * 0.9 for i in range(6)]
    >>> figure = plot_horizon_error({"MIM": forecasts}, actual, metric=frame_mae)
    >>> figure.axes[0].get_ylabel()
    'MAE'
    """
    if not isinstance(errors, Mapping):
        raise TypeError(
            f"`errors` must be a mapping from a model's name to its errors, got "
            f"{type(errors).__name__}; pass for example {{'MIM': errors}}"
        )
    if not errors:
        raise ValueError("`errors` must hold at least one model, got none; pass {name: error}")
    is_pair = np.shape(cast(Any, spread)) == (2,)
    if spread is not None and not (is_pair and 0.0 <= spread[0] < spread[1] <= 1.0):
        raise ValueError(
            f"`spread` must be two quantiles (low, high) with 0 <= low < high <= 1, got {spread}"
        )
    rows = {name: _checked_rows(name, each, actual, metric) for name, each in errors.items()}
    if ax is None:
        ax = NotebookFigure(figsize=(6.4, 3.8), layout="constrained").add_subplot()
    has_band = False
    styles = itertools.cycle(zip(PALETTE, MARKERS, strict=True))
    for (name, values), (colour, marker) in zip(rows.items(), styles, strict=False):
        frames = np.arange(1, values.shape[1] + 1)
        mean = np.ma.masked_invalid(values).mean(axis=0).filled(np.nan)
        ax.plot(frames, mean, color=colour, marker=marker, markersize=5, label=name)
        if spread is not None and len(values) > 1:
            ax.fill_between(frames, *_quantiles(values, spread), color=colour, alpha=0.15, lw=0)
            has_band = True
    _dress(ax, ylabel or _metric_name(metric), title, from_zero=from_zero)
    handles = list(ax.get_legend_handles_labels()[0])
    if spread is not None and has_band:
        low, high = (f"{100.0 * level:.4g}" for level in spread)
        handles.append(Patch(color="0.85", label=f"{low} to {high} % of forecasts"))
    ax.legend(handles=handles, frameon=False)
    return cast(Figure, ax.figure)


def _checked_rows(
    name: str,
    given: Errors | Forecasts,
    actual: Forecasts | None,
    metric: Callable[..., Any] | None,
) -> npt.NDArray[np.float64]:
    """Return the errors of a model, (F, T)."""
    if _holds_series(given):
        return _compute(name, cast(Forecasts, given), actual, metric)
    if isinstance(given, list | tuple):
        given = _joined(name, given)
    values = np.asarray(given, dtype=np.float64)
    if values.ndim not in (1, 2) or values.size == 0:
        raise ValueError(
            f"`errors[{name!r}]` must have the shape (T,), a value per frame, or (F, T), a row "
            f"for each forecast, got {values.shape}; take one metric of them"
        )
    return np.atleast_2d(values)


def _joined(name: str, given: Sequence[Any]) -> npt.NDArray[np.float64]:
    """Join the errors of several forecasts, or of several series (F, T) each."""
    parts = [np.asarray(each, dtype=np.float64) for each in given]
    lengths = {part.shape[-1] for part in parts if part.ndim}
    if len({min(part.ndim, 1) for part in parts}) > 1 or len(lengths) > 1:
        raise ValueError(
            f"`errors[{name!r}]` must have equally many frames in all forecasts, got "
            f"{' and '.join(map(str, sorted(lengths)))}; give each horizon a name of its own"
        )
    if any(part.ndim == 2 for part in parts):
        return np.concatenate([np.atleast_2d(part) for part in parts])
    return np.array(parts, dtype=np.float64)


def _holds_series(given: Any) -> bool:
    is_group = isinstance(given, Sequence) and len(given) > 0
    return isinstance(given[0] if is_group else given, TimeSeries)


def _compute(
    name: str,
    forecasts: Forecasts,
    actual: Forecasts | None,
    metric: Callable[..., Any] | None,
) -> npt.NDArray[np.float64]:
    """Return the errors of forecasts, (F, T)."""
    if actual is None or metric is None:
        raise TypeError(
            f"`errors[{name!r}]` holds forecasts, which need `actual` and `metric`, for instance "
            f"metric=darts_mim.frame_mse; or pass the errors that `backtest` returns"
        )
    forecasts = [forecasts] if isinstance(forecasts, TimeSeries) else list(forecasts)
    truths = [actual] * len(forecasts) if isinstance(actual, TimeSeries) else list(actual)
    if len(truths) != len(forecasts):
        raise ValueError(
            f"`actual` must be one series for all of the {len(forecasts)} forecasts of {name!r} or "
            f"as many, got {len(truths)}; repeat a series for each of its forecasts"
        )
    medians = [without_quantiles(forecast) for forecast in forecasts]
    found = [np.atleast_1d(each) for each in metric(truths, medians)]
    lengths = {len(each) for each in found}
    if len(lengths) > 1:
        raise ValueError(
            f"the forecasts of {name!r} must have equally many frames that `actual` has too, got "
            f"{min(lengths)} to {max(lengths)}; leave out those that reach beyond it"
        )
    return np.stack(found).astype(np.float64)


def _quantiles(
    values: npt.NDArray[np.float64], levels: tuple[float, float]
) -> npt.NDArray[np.float64]:
    """Return quantiles (2, T) over the forecasts that have a value."""
    found = np.full((2, values.shape[1]), np.nan)
    for frame, column in enumerate(values.T):
        if len(known := column[np.isfinite(column)]):
            found[:, frame] = np.quantile(known, levels)
    return found


def _metric_name(metric: Callable[..., Any] | None) -> str:
    name = getattr(metric, "__name__", "error")
    return name.removeprefix("frame_").upper() if name.startswith("frame_") else name


def _dress(ax: Axes, ylabel: str, title: str | None, *, from_zero: bool) -> None:
    ax.set(xlabel="frame of the forecast", ylabel=ylabel)
    if title is not None:
        ax.set_title(title)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.margins(y=0.1)
    ax.autoscale(axis="y")  # anew, for axes that hold curves already
    if from_zero:
        ax.set_ylim(bottom=0.0)
    ax.grid(axis="y", color="0.9")
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
