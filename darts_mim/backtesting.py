"""Backtests that keep the errors and drop the forecasts.

Letters for shapes: W windows, that is forecasts; T frames of a forecast.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any, Literal, TypeAlias, cast

import numpy as np
import pandas as pd
from darts import TimeSeries
from darts.dataprocessing import Pipeline
from darts.models.forecasting.forecasting_model import ForecastingModel
from darts.models.forecasting.torch_forecasting_model import TorchForecastingModel
from darts.typing import TimeSeriesLike

# Darts offers no other way to ask which windows a backtest has.
from darts.utils.historical_forecasts.optimized_historical_forecasts_torch import (
    _create_dataset_bounds,
)
from darts.utils.historical_forecasts.utils import _general_checks_start
from darts.utils.ts_utils import series2seq
from numpy.typing import NDArray

from darts_mim.checks import checked_integer
from darts_mim.series import rebuild_series

__all__ = ["stream_backtest"]

Metric: TypeAlias = Callable[..., Any]
Errors: TypeAlias = float | NDArray[np.floating[Any]]


def stream_backtest(
    model: ForecastingModel,
    series: TimeSeriesLike,
    *,
    forecast_horizon: int,
    metric: Metric | list[Metric],
    metric_kwargs: dict[str, Any] | list[dict[str, Any]] | None = None,
    past_covariates: TimeSeriesLike | None = None,
    future_covariates: TimeSeriesLike | None = None,
    start: pd.Timestamp | float | int | None = None,
    start_format: Literal["position", "value"] = "value",
    stride: int = 1,
    reduction: Callable[..., Any] | None = np.nanmean,
    data_transformers: dict[str, Any] | None = None,
    windows_per_part: int = 64,
    num_samples: int = 1,
    predict_likelihood_parameters: bool = False,
    predict_kwargs: dict[str, Any] | None = None,
    random_state: int | None = None,
    retrain: Literal[False] = False,
    last_points_only: Literal[False] = False,
    verbose: bool = False,
    show_warnings: bool = True,
) -> Errors | list[Errors]:
    """Backtest a model like `model.backtest`, without holding all forecasts in memory.

    The result is that of ``model.backtest(series, ..., retrain=False, last_points_only=False)``,
    which holds every forecast of every series before it computes the first error. Here the windows
    are taken in parts: a part is forecast, reduced to its errors, and dropped.

    A part reads its frames where they lie: a series that maps a file stays out of memory.

    Parameters
    ----------
    model : darts.models.forecasting.forecasting_model.ForecastingModel
        A fitted model of this package, or any other of Darts' models that forecasts series it was
        not fitted on.
    series : TimeSeries or sequence of TimeSeries
        The series to forecast and to compare the forecasts with.
    forecast_horizon : int
        The number of frames T of each forecast.
    metric : callable or list of callable
        Metrics of this package or of Darts.
    metric_kwargs : dict or list of dict, optional
        Arguments of the metrics: for all of them, or a dictionary for each. No `series_reduction`,
        which would reduce parts one by one: reduce with `reduction`.
    past_covariates, future_covariates : TimeSeries or sequence of TimeSeries, optional
        Handed to Darts whole, with every part.
    start, start_format, stride
        Which windows to forecast, as in Darts' `backtest`; ``start="end"`` has nothing to compare.
    reduction : callable, optional
        Over the errors of all windows, with the argument `axis`; None returns those of each window.
    data_transformers : dict, optional
        Fitted transformers or pipelines by ``"series"``, ``"past_covariates"`` and
        ``"future_covariates"``, as in Darts' `backtest`: errors are in the units of `series`.
        Transformed series are held in memory as a whole.
    windows_per_part : int
        Forecasts held at a time. A multiple of the batch size makes the batches of a series those
        of Darts' `backtest`, and the result equal to its last digit.
    num_samples, predict_likelihood_parameters, predict_kwargs, verbose, show_warnings
        As in Darts' `backtest`.
    random_state : int, optional
        Seed of stochastic forecasts in the first part; the next part has the next number. Samples
        are those of Darts' `backtest` if there is just one part.
    retrain, last_points_only : bool
        False, and accepted so that arguments for Darts' `backtest` can be passed as they are.

    Returns
    -------
    float or numpy.ndarray or list
        For a metric with a value for each frame (T,), and (T, metrics) for several of them; with
        ``reduction=None`` (W, T) and (W, T, metrics). For a metric with one value without the axis
        T. A list, with an entry for each series, for a sequence of series.

    Raises
    ------
    TypeError
        If an argument is one of Darts' `backtest` that parts cannot honour, such as
        `historical_forecasts` or `overlap_end`, or an integer is none.
    ValueError
        If the model is not fitted, no window fits into a series, or an argument is out of range.

    Examples
    --------
    >>> from darts.models import GlobalNaiveDrift
    >>> from darts_mim import frame_mse, frames_to_series
    >>> series = frames_to_series(np.random.default_rng(0).random((40, 1, 4, 6)))
    >>> model = GlobalNaiveDrift(
    ...     input_chunk_length=2, output_chunk_length=3, pl_trainer_kwargs={"accelerator": "cpu"}
    ... ).fit(series)
    >>> arguments = {"forecast_horizon": 3, "metric": frame_mse, "retrain": False}
    >>> errors = stream_backtest(model, series, windows_per_part=16, **arguments)
    >>> errors.shape
    (3,)
    >>> np.allclose(errors, model.backtest(series, **arguments))
    True
    """
    if retrain or last_points_only or isinstance(start, str):
        raise ValueError(
            "`retrain` and `last_points_only` must be False and `start` a position or a time, got "
            f"{retrain!r}, {last_points_only!r} and {start!r}; for others use `model.backtest`"
        )
    metrics, metric_options = _checked_metrics(metric, metric_kwargs)
    size = checked_integer("windows_per_part", windows_per_part)
    horizon = checked_integer("forecast_horizon", forecast_horizon)
    stride = checked_integer("stride", stride)
    window: dict[str, Any] = {"forecast_horizon": horizon, "stride": stride, "overlap_end": False}
    pipelines = _pipelines(data_transformers or {})
    batch = cast(Sequence[TimeSeries], series2seq(series))
    target = _transformed(pipelines.get("series"), batch)
    past = _transformed(pipelines.get("past_covariates"), past_covariates)
    future = _transformed(pipelines.get("future_covariates"), future_covariates)
    chosen = {**window, "start": start, "start_format": start_format}
    _general_checks_start(model, target, SimpleNamespace(**chosen), is_conformal=False)
    bounds, _ = _create_dataset_bounds(
        model, target, past, future, show_warnings=show_warnings, **chosen
    )
    windows = [range(first, last + 1, stride) for first, last in bounds.tolist()]
    reach = model.output_chunk_shift + horizon
    options = dict(predict_kwargs or {})
    errors: list[list[NDArray[Any]]] = [[] for _ in batch]
    for number, (index, part) in enumerate(_parts(windows, size)):
        # unlike a slice of a series, this copies no values
        end, whole = part[-1] + reach, target[index]
        values = whole.all_values(copy=False)[:end]
        forecasts: Any = model.historical_forecasts(
            rebuild_series(whole, times=whole.time_index[:end], values=values),
            past_covariates=past and past[index],
            future_covariates=future and future[index],
            **window,
            start=part[0],
            start_format="position",
            retrain=False,
            last_points_only=False,
            num_samples=num_samples,
            predict_likelihood_parameters=predict_likelihood_parameters,
            predict_kwargs=options,
            random_state=None if random_state is None else random_state + number,
            verbose=verbose,
            show_warnings=show_warnings and number == 0,
        )
        if len(forecasts) != len(part):
            raise ValueError(
                f"`model`, a {type(model).__name__}, made {len(forecasts)} forecasts where "
                f"{len(part)} were asked for: it chooses its windows in its own way; use "
                "`model.backtest`"
            )
        if "series" in pipelines and pipelines["series"].invertible:
            # nested as Darts does it, so that each series has its own parameters
            nested = [forecasts if i == index else [] for i in range(len(batch))]
            forecasts = pipelines["series"].inverse_transform(nested, insample=target)[index]
            del nested
        errors[index].append(_errors(metrics, metric_options, batch[index], forecasts))
        del forecasts  # before those of the next part are made
        if isinstance(model, TorchForecastingModel):
            # A trainer holds its last predictions, and lies in a reference cycle: a new one for
            # each part would keep forecasts until Python looks for cycles.
            options.setdefault("trainer", model.trainer)
    results = [_reduced(np.concatenate(parts, axis=1), reduction) for parts in errors]
    return results[0] if isinstance(series, TimeSeries) else results


def _checked_metrics(metric: Any, metric_kwargs: Any) -> tuple[list[Metric], list[dict[str, Any]]]:
    """Return the metrics, and the arguments of each."""
    metrics = metric if isinstance(metric, list) else [metric]
    options = metric_kwargs or {}
    options = options if isinstance(options, list) else [options] * len(metrics)
    if len(options) != len(metrics) or any(each.get("series_reduction") for each in options):
        raise ValueError(
            f"`metric_kwargs` must be one dictionary, or one for each of the {len(metrics)} "
            f"metrics, without `series_reduction`, got {metric_kwargs!r:.200}; reduce over all "
            "windows with `reduction`"
        )
    return metrics, options


def _pipelines(data_transformers: dict[str, Any]) -> dict[str, Pipeline]:
    """Return the transformers as pipelines, by the name of the series that they transform."""
    known = ("series", "past_covariates", "future_covariates")
    if not set(data_transformers) <= set(known):
        raise ValueError(
            f"`data_transformers` must have keys among {known}, got {list(data_transformers)}"
        )
    return {
        name: each if isinstance(each, Pipeline) else Pipeline([each])
        for name, each in data_transformers.items()
    }


def _transformed(pipeline: Pipeline | None, series: TimeSeriesLike | None) -> Any:
    """Return a list of series, transformed by a fitted pipeline."""
    batch: Any = series2seq(series)
    return batch if pipeline is None or batch is None else pipeline.transform(batch)


def _parts(windows: list[range], size: int) -> Iterator[tuple[int, range]]:
    """Yield the index of a series and up to `size` of its windows, in order."""
    for index, of_series in enumerate(windows):
        for begin in range(0, len(of_series), size):
            yield index, of_series[begin : begin + size]


def _errors(
    metrics: list[Metric],
    options: list[dict[str, Any]],
    series: TimeSeries,
    forecasts: Sequence[TimeSeries],
) -> NDArray[Any]:
    """Compute the errors (metrics, W, ...) as Darts' `backtest` does.

    Not by it: a local class of that function keeps the forecasts in a reference cycle.
    """
    actual = [series] * len(forecasts)
    errors = []
    for metric, given in zip(metrics, options, strict=True):
        # for scaled metrics, which read the frames before each forecast
        is_scaled = "insample" in inspect.signature(metric).parameters
        scale = {"insample": actual} if is_scaled else {}
        errors.append(metric(actual, forecasts, **{**given, **scale}))
    return np.array(errors)


def _reduced(errors: NDArray[Any], reduction: Callable[..., Any] | None) -> Errors:
    """Reduce errors (metrics, W, ...), and bring metrics to the end."""
    reduced = errors if reduction is None else reduction(errors, axis=1)
    return cast(Errors, reduced[0] if len(errors) == 1 else np.moveaxis(reduced, 0, -1))
