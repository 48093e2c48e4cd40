"""Trained weights of an earlier version give the forecasts that they gave then.

``tests/data/forecasts_0.1.0.dev0.npz`` holds frames, weights and forecasts of commit e488cb3.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from darts import TimeSeries
from darts.utils.likelihood_models.torch import QuantileRegression

from darts_mim import (
    ConvLSTMModel,
    MIMModel,
    PredRNNModel,
    PredRNNPlusPlusModel,
    STResNetModel,
    frames_to_series,
)

STORED = np.load(Path(__file__).parents[1] / "data" / "forecasts_0.1.0.dev0.npz")
RECURRENT: dict[str, Any] = {
    "hidden_channels": (4, 3),
    "kernel_size": 3,
    "patch_size": 2,
    "damped_persistence": False,  # which came later
}
MODELS: dict[str, tuple[Any, dict[str, Any]]] = {
    "mim": (MIMModel, RECURRENT),
    "mim_no_n": (MIMModel, {**RECURRENT, "nonstationary_unit": False}),
    "mim_no_s": (MIMModel, {**RECURRENT, "stationary_unit": False}),
    "mim_quantiles": (MIMModel, {**RECURRENT, "likelihood": QuantileRegression([0.1, 0.5, 0.9])}),
    "mim_covariates": (MIMModel, RECURRENT),
    "predrnn": (PredRNNModel, RECURRENT),
    "predrnn_pp": (PredRNNPlusPlusModel, RECURRENT),
    "convlstm": (ConvLSTMModel, RECURRENT),
    "st_resnet": (
        STResNetModel,
        {"trend": 0, "period": 0, "hidden_channels": 4, "residual_units": 1},
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_stored_weights_give_the_stored_forecast(name: str) -> None:
    kind, options = MODELS[name]
    model = kind(
        input_chunk_length=4,
        output_chunk_length=3,
        n_epochs=1,
        batch_size=4,
        random_state=0,
        pl_trainer_kwargs={
            "accelerator": "cpu",
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "logger": False,
            "enable_checkpointing": False,
            "max_steps": 1,
        },
        **options,
    )
    series = frames_to_series(STORED["frames"], start="2024-01-01", freq="30min")
    others = {}
    if name == "mim_covariates":
        times = pd.date_range("2024-01-01", periods=60, freq="30min")
        others["future_covariates"] = TimeSeries.from_times_and_values(times, STORED["covariate"])
    expected = STORED[f"{name}/forecast"]
    model.fit(series, **others)
    prefix = f"{name}/weights/"
    weights = {
        key.removeprefix(prefix): torch.from_numpy(STORED[key])
        for key in STORED.files
        if key.startswith(prefix)
    }
    model.model.load_state_dict(weights)
    forecast = model.predict(
        len(expected),
        series=series,
        predict_likelihood_parameters=name == "mim_quantiles",
        **others,
    )
    # relative to the largest value, since kernels differ in rounding from one processor to another
    difference = np.abs(forecast.values() - expected).max() / np.abs(expected).max()
    assert difference < 1e-5
