"""What users of Darts' torch models do, done with MIMModel: the rest of the menu of test_mim.py."""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from darts import TimeSeries

from darts_mim import Grid, MIMModel, ScheduledSampling, frame_mse, series_to_frames
from tests.models.small_models import (
    GRID,
    TRAINER,
    logged,
    make_frames,
    make_model,
    make_series,
    to_series,
    values,
    weights,
)


@pytest.fixture
def fitted(small_fitted: MIMModel) -> MIMModel:
    return small_fitted


def assert_close(actual: TimeSeries, expected: TimeSeries | np.ndarray) -> None:
    """Compare forecasts: the same to rounding, at the same times, on the same grid."""
    if isinstance(expected, TimeSeries):
        assert actual.time_index.equals(expected.time_index)
        expected = values(expected)
    assert Grid.from_series(actual) == GRID
    np.testing.assert_allclose(values(actual), expected, rtol=0, atol=1e-6)


def windows(series: TimeSeries) -> Iterator[tuple[TimeSeries, TimeSeries]]:
    """Cut a series into all pairs of an input and an output chunk."""
    for i in range(len(series) - 4):
        yield series[i : i + 3], series[i + 3 : i + 5]


# --- times --------------------------------------------------------------------------------------


def test_a_shifted_output_chunk_keeps_its_distance(tmp_path: Path) -> None:
    series = make_series(freq="2h")
    model = make_model(output_chunk_shift=2).fit(series)
    model.save(str(tmp_path / "model.pt"))
    unshifted = make_model()
    unshifted.load_weights(str(tmp_path / "model.pt"))
    assert_close(model.predict(n=2), unshifted.predict(n=4, series=series)[2:])
    rolled = {
        optimized: model.historical_forecasts(
            series,
            forecast_horizon=2,
            retrain=False,
            last_points_only=False,
            enable_optimization=optimized,
        )
        for optimized in (True, False)
    }
    assert len(rolled[True]) == len(rolled[False]) == 12 - 3 - 2 - 2 + 1
    for i, (fast, slow) in enumerate(zip(*rolled.values(), strict=True)):
        assert fast.start_time() == series.time_index[3 + 2 + i]
        assert_close(fast, slow)
        assert_close(fast, model.predict(n=2, series=series[i : i + 3]))
    errors = model.backtest(series, historical_forecasts=rolled[True], metric=frame_mse)
    by_hand = [(values(f) - values(series.slice_intersect(f))) ** 2 for f in rolled[True]]
    np.testing.assert_allclose(errors, np.mean(by_hand, axis=(0, 2, 3)), rtol=1e-5)


# --- backtests ----------------------------------------------------------------------------------


@pytest.mark.parametrize("optimized", [True, False])
@pytest.mark.parametrize("last_points_only", [True, False])
def test_the_grid_survives_every_way_to_historical_forecasts(
    fitted: MIMModel, optimized: bool, last_points_only: bool
) -> None:
    forecasts = fitted.historical_forecasts(
        make_series(seed=5),
        forecast_horizon=4,
        retrain=False,
        last_points_only=last_points_only,
        enable_optimization=optimized,
        overlap_end=True,
    )
    listed = [forecasts] if last_points_only else forecasts
    assert all(Grid.from_series(forecast) == GRID for forecast in listed)
    assert_close(listed[-1][-1:], fitted.predict(n=4, series=make_series(seed=5))[-1:])


# --- training -----------------------------------------------------------------------------------


def test_the_best_epoch_is_loaded_after_training(tmp_path: Path) -> None:
    train = make_series() * 0 + 1
    val = -train  # learning one means forgetting the other
    model = make_model(
        damped_persistence=False,  # which needs no training on constants
        n_epochs=3,
        optimizer_kwargs={"lr": 0.03},
        model_name="best",
        work_dir=str(tmp_path),
        save_checkpoints=True,
    ).fit(train, val_series=val, load_best=True)
    best, last = (
        MIMModel.load_from_checkpoint("best", str(tmp_path), best=best) for best in (True, False)
    )
    assert torch.equal(weights(model), weights(best))
    assert not torch.equal(weights(model), weights(last))
    scores = [frame_mse(val, each.predict(n=2, series=val[:3])).mean() for each in (model, last)]
    assert scores[0] < scores[1]

    for is_best, expected in ((True, best), (False, last)):
        other = make_model(random_state=9, damped_persistence=False)
        other.load_weights_from_checkpoint("best", str(tmp_path), best=is_best)
        assert torch.equal(weights(other), weights(expected))
        assert_close(other.predict(n=5, series=train), expected.predict(n=5, series=train))


# --- tuners and searches ------------------------------------------------------------------------


def test_a_learning_rate_is_found_and_weights_stay() -> None:
    series = make_series()
    search: dict[str, Any] = {"num_training": 15, "early_stop_threshold": None, "epochs": 8}
    model = make_model()
    found = model.lr_find(series, **search)
    assert 1e-8 < found.suggestion() < 1
    assert len(found.results["loss"]) == 15
    model.fit(series)
    before, forecast = weights(model), model.predict(n=5)
    model.lr_find(series, **search)
    assert torch.equal(weights(model), before)
    assert_close(model.predict(n=5), forecast)
    assert not list(Path().glob(".lr_find*"))


@pytest.mark.parametrize("n_fits", [0, 1])
def test_a_search_for_the_batch_size_changes_nothing_else(n_fits: int) -> None:
    series = make_series()
    searched, plain = make_model(), make_model()
    for _ in range(n_fits):
        searched.fit(series)
        plain.fit(series)
    size = searched.scale_batch_size(series, max_trials=2, steps_per_trial=1, update_model=False)
    assert size == 4
    assert searched.batch_size == searched.model_params["batch_size"] == 4
    if n_fits:
        assert torch.equal(weights(searched), weights(plain))
    assert torch.equal(weights(searched.fit(series)), weights(plain.fit(series)))


# --- fine-tuning, copies, files -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("choice", "moves_bottom", "moves_rest"),
    [
        ({"freeze": ["network.bottom.*"]}, False, True),
        ({"unfreeze": ["network.bottom.*"]}, True, False),
        (True, True, True),
        (False, False, False),
    ],
)
def test_finetuning_moves_the_chosen_weights_and_no_others(
    tmp_path: Path, fitted: MIMModel, choice: Any, moves_bottom: bool, moves_rest: bool
) -> None:
    fitted.save(str(tmp_path / "model.pt"))
    options: dict[str, Any] = {"optimizer_cls": torch.optim.SGD, "optimizer_kwargs": {"lr": 0.1}}
    tuned = []
    for finetuning in (choice, None):
        model = make_model(enable_finetuning=finetuning, batch_size=99, **options)
        model.load_weights(str(tmp_path / "model.pt"))
        tuned.append(dict(model.fit(make_series(seed=1)).model.named_parameters()))
    before = dict(fitted.model.named_parameters())
    for name, weight in tuned[0].items():
        moves = moves_bottom if name.startswith("network.bottom.") else moves_rest
        # what moves goes where it would if everything moved
        torch.testing.assert_close(weight, tuned[1][name] if moves else before[name])
        assert not torch.equal(before[name], tuned[1][name])


def test_reset_model_forgets_the_weights_and_the_grid() -> None:
    model = make_model().fit(make_series())
    model.reset_model()
    assert model.model is None
    other = to_series(make_frames()[..., :4])
    assert series_to_frames(model.fit(other).predict(n=2)).shape == (2, 2, 5, 4)


def test_an_untrained_model_and_a_copy_train_like_the_original() -> None:
    sampling = ScheduledSampling.linear(steps=3)
    model = make_model(grid=GRID, scheduled_sampling=sampling, forget_bias=0.5)
    copies = [deepcopy(model), model.untrained_model(), MIMModel(**model.model_params)]
    expected = weights(model.fit(make_series()))
    copies.append(model.untrained_model())
    for copy in copies:
        assert copy.model is None
        assert dict(copy.model_params) == dict(model.model_params)
        assert copy.grid == GRID
        assert torch.equal(weights(copy.fit(make_series())), expected)


def test_a_save_without_a_path_says_what_it_is(fitted: MIMModel) -> None:
    fitted.save()
    (path,) = Path().glob("MIMModel_*.pt")
    assert_close(MIMModel.load(str(path)).predict(n=5), fitted.predict(n=5))


def test_a_clean_save_leaves_the_training_series_and_the_trainer_out(tmp_path: Path) -> None:
    model = make_model(trainer={"max_steps": 2}).fit(make_series())
    model.save(str(tmp_path / "model.pt"), clean=True)
    loaded = MIMModel.load(
        str(tmp_path / "model.pt"), pl_trainer_kwargs={**TRAINER, "logger": False}
    )
    assert loaded.training_series is None
    assert "max_steps" not in loaded.trainer_params
    with pytest.raises(ValueError, match="`clean=True`"):
        loaded.predict(n=2)
    series = make_series(9, seed=4)
    assert_close(loaded.predict(n=5, series=series), model.predict(n=5, series=series))
    assert loaded.fit(series).predict(n=2).start_time() == series.end_time() + series.freq


def test_gains_for_each_component_fit_no_other_grid(tmp_path: Path) -> None:
    path = str(tmp_path / "model.pt")
    other = Grid(2, 3, 4)
    for norm in (True, {"affine": False}):
        make_model(use_reversible_instance_norm=norm).fit(make_series()).save(path)
        model = make_model(use_reversible_instance_norm=norm, grid=other)
        if norm is True:
            with pytest.raises(ValueError, match=r"found grid\.height=3, should be grid.height=5"):
                model.load_weights(path)
        else:
            model.load_weights(path)
            assert model.grid == other


def test_a_loaded_model_trains_and_is_judged_by_its_own_loss(tmp_path: Path) -> None:
    series = (make_series() * 10).astype(np.float32)  # so that squares are far from errors
    options: dict[str, Any] = {"loss_fn": torch.nn.L1Loss(), "optimizer_kwargs": {"lr": 0.0}}
    make_model(**options).fit(series).save(str(tmp_path / "model.pt"))
    model = MIMModel.load(str(tmp_path / "model.pt")).fit(series, val_series=series)
    found = logged(model)
    histories, truths = zip(*windows(series), strict=True)
    forecasts = model.predict(n=2, series=histories)
    error = [np.abs(values(f) - values(t)) for f, t in zip(forecasts, truths, strict=True)]
    assert found["val_loss"] == pytest.approx(np.mean(error), rel=1e-5)
    # over the frames of the context as well, which are no harder to forecast
    assert found["train_loss"] == pytest.approx(np.mean(error), rel=0.1)


def test_weights_of_another_network_are_refused(tmp_path: Path, fitted: MIMModel) -> None:
    fitted.save(str(tmp_path / "model.pt"))
    with pytest.raises(ValueError, match=r"found hidden_channels=\(4, 4\), should be .*\(4, 3\)"):
        make_model(hidden_channels=(4, 4)).load_weights(str(tmp_path / "model.pt"))


def test_training_on_loaded_weights_follows_random_state(tmp_path: Path, fitted: MIMModel) -> None:
    fitted.save(str(tmp_path / "model.pt"))
    tuned = []
    for random_state in (1, 1, 2):
        model = make_model(random_state=random_state)
        model.load_weights(str(tmp_path / "model.pt"))
        tuned.append(weights(model.fit(make_series(seed=1))))
    assert torch.equal(tuned[0], tuned[1])
    assert not torch.equal(tuned[0], tuned[2])


# --- precision ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("precision", "dtype", "tolerance"),
    [
        ("64-true", np.float64, 1e-5),
        ("bf16-mixed", np.float32, 0.05),
        ("bf16-true", np.float32, 0.2),
    ],
)
def test_any_precision_gives_forecasts_near_those_of_float32(
    fitted: MIMModel, precision: str, dtype: type, tolerance: float
) -> None:
    series = make_series()
    model = make_model(trainer={"precision": precision}).fit(series, val_series=series)
    forecast = model.predict(n=5)
    assert forecast.dtype == dtype
    np.testing.assert_allclose(
        values(forecast), values(fitted.predict(n=5)), rtol=0, atol=tolerance
    )
