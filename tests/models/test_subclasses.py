"""A subclass with a constructor of its own works wherever a model does."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from darts.utils.serialization import safe_globals

from darts_mim import ConvLSTMModel, Grid, MIMModel, STResNetModel, frame_mse
from tests.models.small_models import GRID, TRAINER, make_series, weights

OPTIONS: dict[str, Any] = {"n_epochs": 1, "random_state": 0, "pl_trainer_kwargs": TRAINER}


class SquareMIM(MIMModel):
    """Fixes options of the network and of Darts, and has one of its own."""

    def __init__(self, input_chunk_length: int, width: int = 3, **kwargs: Any) -> None:
        super().__init__(
            input_chunk_length,
            2,
            hidden_channels=(width, width),
            kernel_size=3,
            patch_size=2,
            batch_size=4,
            **kwargs,
        )


class ClosedConvLSTM(ConvLSTMModel):
    """Takes nothing but an option that means something else in the base."""

    def __init__(self, hidden_channels: int = 4) -> None:
        super().__init__(3, 2, hidden_channels=(hidden_channels,), kernel_size=3, **OPTIONS)


class ClosedSTResNet(STResNetModel):
    def __init__(self, seed: int = 0) -> None:
        options = {**OPTIONS, "random_state": seed}
        super().__init__(3, 2, period=0, trend=0, hidden_channels=4, residual_units=1, **options)


def make_square(**options: Any) -> SquareMIM:
    return SquareMIM(3, **{**OPTIONS, **options})


MAKERS: list[Any] = [make_square, ClosedConvLSTM, ClosedSTResNet]


@pytest.mark.parametrize("make", MAKERS)
def test_a_subclass_is_fitted_copied_saved_and_summarised(make: Any, tmp_path: Path) -> None:
    series, path = make_series(), str(tmp_path / "model.pt")
    model = make()
    size = model.summary(GRID).parameters
    copy = model.untrained_model()
    model.fit(series)
    assert model.summary().parameters == size == weights(model).numel()
    assert torch.equal(weights(copy.fit(series)), weights(model))
    assert not model.untrained_model().model_created
    model.save(path)
    with safe_globals([type(model)]):
        loaded = type(model).load(path)
        other = make()
        other.load_weights(path)
    for each in (loaded, other):
        np.testing.assert_array_equal(
            each.predict(3, series).values(), model.predict(3, series).values()
        )
    forecasts = make().historical_forecasts(series, start=-3, forecast_horizon=2, retrain=True)
    assert len(forecasts) == 2


def test_options_that_a_subclass_fixes_reach_the_model() -> None:
    model = make_square(width=4)
    assert model.batch_size == 4
    assert model.network_options["hidden_channels"] == (4, 4)
    assert model.model_params["width"] == 4
    assert model.model_params["hidden_channels"] == (4, 4)
    assert dict(model.untrained_model().model_params) == dict(model.model_params)
    assert ClosedConvLSTM(5).model_params["hidden_channels"] == 5


def test_gridsearch_finds_an_option_of_a_subclass() -> None:
    series = make_series()
    options = {"input_chunk_length": [3], "width": [2, 3], **{k: [v] for k, v in OPTIONS.items()}}
    best, found, _ = SquareMIM.gridsearch(
        options, series[:8], val_series=series[8:], metric=lambda *each: frame_mse(*each).mean()
    )
    assert best.network_options["hidden_channels"] == (found["width"],) * 2


def test_a_signature_shows_all_options() -> None:
    shown = inspect.signature(MIMModel).parameters
    assert list(shown)[:4] == [
        "input_chunk_length",
        "output_chunk_length",
        "output_chunk_shift",
        "nonstationary_unit",
    ]
    assert shown["kernel_size"].default == 5
    assert {"grid", "scheduled_sampling", "likelihood", "batch_size"} < set(shown)
    assert not {"self", "kwargs", "train_sample_shape"} & set(shown)
    assert list(inspect.signature(ClosedConvLSTM).parameters) == ["hidden_channels"]
    MIMModel(3, 2, 1)
    with pytest.raises(ValueError, match=r"no args/kwargs `\['hidden_size'\]`"):
        make_square(hidden_size=4)


def test_a_model_says_its_options() -> None:
    model = make_square(grid=Grid(2, 5, 6))
    assert "layer_norm=True" in repr(model)
    assert "layer_norm" not in str(model)
    assert "kernel_size=3" in str(model)
