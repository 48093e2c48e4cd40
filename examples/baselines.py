"""Simple models to compare with, and the errors of any of them on clips."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from darts import TimeSeries
from darts.models import GlobalNaiveSeasonal, NLinearModel
from darts.models.forecasting.forecasting_model import GlobalForecastingModel
from darts_mim.metrics.protocols import Protocol


def persistence(horizon: int) -> GlobalForecastingModel:
    """Return the model that repeats the last frame it saw."""
    return GlobalNaiveSeasonal(
        input_chunk_length=1, output_chunk_length=horizon
    )


def linear_baseline(
    context: int, horizon: int, n_batches: int, seed: int
) -> NLinearModel:
    """Return a Darts model that forecasts each pixel linearly from its own past.

    Its weights are shared by all pixels, so that it takes any number of them.
    """
    return NLinearModel(
        input_chunk_length=context,
        output_chunk_length=horizon,
        shared_weights=True,
        batch_size=8,
        n_epochs=1,
        random_state=seed,
        pl_trainer_kwargs={
            "limit_train_batches": n_batches,
            "enable_model_summary": False,
            "enable_progress_bar": False,
        },
    )


def score(
    model: GlobalForecastingModel,
    test: Sequence[TimeSeries],
    context: int,
    protocol: Protocol,
) -> pd.DataFrame:
    """Backtest a model on clips: the frames after the context against the truth.

    Parameters
    ----------
    model
        A fitted model.
    test
        Clips of equal length.
    context
        Number of frames that the model is shown.
    protocol
        What to compute.

    Returns
    -------
    pandas.DataFrame
        The protocol's table: a row for each frame of the horizon, and their mean.
    """
    errors = model.backtest(
        test,
        start=context,
        start_format="position",
        forecast_horizon=len(test[0]) - context,
        retrain=False,
        last_points_only=False,
        **protocol,
    )
    return protocol.table(errors)
