"""What users of Darts' torch models do, done with MIMModel: the rest of the menu of test_mim.py."""

from collections.abc import Iterator
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
import torchmetrics
from darts import TimeSeries
from darts.ad import ForecastingAnomalyModel, NormScorer
from darts.metrics import mae, mase, rmse
from darts.models import (
    ConformalNaiveModel,
    NaiveEnsembleModel,
    NLinearModel,
    RegressionEnsembleModel,
)
from darts.utils.callbacks import TFMProgressBar
from darts.utils.data import SequentialTorchInferenceDataset
from pytorch_lightning.callbacks import EarlyStopping
from sklearn.linear_model import LinearRegression

from darts_mim import (
    Grid,
    MIMModel,
    ScheduledSampling,
    frame_mae,
    frame_mse,
    frames_to_series,
    protocol,
    series_to_frames,
)

LENGTH, CHANNELS, HEIGHT, WIDTH = 15, 2, 3, 4
GRID = Grid(CHANNELS, HEIGHT, WIDTH)
TRAINER = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
SIZES: dict[str, Any] = {
    "input_chunk_length": 3,
    "output_chunk_length": 2,
    "hidden_channels": (4, 3),
    "kernel_size": 3,
    "patch_size": 2,
    "batch_size": 4,
    "n_epochs": 1,
    "random_state": 0,
}


def make_series(length: int = LENGTH, seed: int = 0, **options: Any) -> TimeSeries:
    rng = np.random.default_rng(seed)
    frames = rng.random((length, CHANNELS, HEIGHT, WIDTH), dtype=np.float32)
    series = frames_to_series(frames, **options)
    assert isinstance(series, TimeSeries)
    return series


def make_model(trainer: dict[str, Any] | None = None, **options: Any) -> MIMModel:
    return MIMModel(**{**SIZES, **options}, pl_trainer_kwargs={**TRAINER, **(trainer or {})})


def make_linear(**options: Any) -> NLinearModel:
    return NLinearModel(3, 2, n_epochs=1, random_state=0, pl_trainer_kwargs=TRAINER, **options)


@pytest.fixture(scope="module")
def fitted() -> MIMModel:
    return make_model().fit(make_series())


def values(series: TimeSeries) -> np.ndarray:
    return series.all_values(copy=False)


def weights(model: MIMModel) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.model.parameters()])


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


class Notes(pl.Callback):
    """Note the learning rate and the first value of each sequence of each training batch."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.batches: list[list[float]] = []

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, *_: Any) -> None:
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])
        self.batches.append(batch.past_target[:, 0, 0].tolist())


# --- times --------------------------------------------------------------------------------------


@pytest.mark.parametrize("freq", ["30min", "D", "2D", "MS", "B", "W-WED"])
def test_forecasts_follow_the_dates_of_the_series(fitted: MIMModel, freq: str) -> None:
    dates = pd.date_range("2024-02-01", periods=LENGTH + 5, freq=freq)
    series = make_series(times=dates[:LENGTH])
    forecast = fitted.predict(n=5, series=series)
    assert forecast.time_index.equals(dates[-5:])
    rolled = fitted.historical_forecasts(series, forecast_horizon=2, stride=3, retrain=False)
    assert rolled.time_index.equals(dates[4:LENGTH:3])
    assert_close(forecast, values(fitted.predict(n=5)))


@pytest.mark.parametrize("freq", ["30min", "D", "2D", "MS", "B", "W-WED"])
def test_forecasts_from_a_date_are_measured_on_the_dates_they_share(
    fitted: MIMModel, freq: str
) -> None:
    series = make_series(times=pd.date_range("2024-02-01", periods=LENGTH, freq=freq))
    options: dict[str, Any] = {"forecast_horizon": 2, "retrain": False, "last_points_only": False}
    start = series.time_index[-4]
    forecasts = fitted.historical_forecasts(series, start=start, **options)
    assert [each.start_time() for each in forecasts] == list(series.time_index[-4:-1])
    truth = [values(series)[i : i + 2] for i in range(LENGTH - 4, LENGTH - 1)]
    expected = [
        np.mean((values(each) - actual) ** 2, axis=(1, 2))
        for each, actual in zip(forecasts, truth, strict=True)
    ]
    measured = [frame_mse(series, each) for each in forecasts]
    np.testing.assert_allclose(measured, expected, rtol=1e-5)
    error = fitted.backtest(series, start=start, metric=frame_mse, reduction=None, **options)
    np.testing.assert_allclose(error, expected, rtol=1e-5)


@pytest.mark.parametrize(("start", "step"), [(0, 1), (7, 2), (-5, 3)])
def test_forecasts_follow_the_integers_of_the_series(
    fitted: MIMModel, start: int, step: int
) -> None:
    series = make_series(start=start, freq=step)
    forecast = fitted.predict(n=5, series=series)
    end = start + LENGTH * step
    assert forecast.time_index.equals(pd.RangeIndex(end, end + 5 * step, step))
    assert_close(forecast, values(fitted.predict(n=5)))


# of pandas, whose inferred frequency Darts reads where a zone is dropped
@pytest.mark.filterwarnings("ignore:A future version of pandas will return a BaseOffset")
def test_a_time_zone_is_dropped_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    # over the night in which Berlin's clocks go forward
    zoned = pd.date_range("2024-03-31", periods=LENGTH, freq="h", tz="Europe/Berlin")
    plain = make_series()
    with pytest.raises(ValueError, match="frequency"):
        TimeSeries(zoned, values(plain), metadata=plain.metadata)
    caplog.clear()
    series = TimeSeries(zoned.tz_convert("UTC"), values(plain), metadata=plain.metadata)
    assert "tz information was removed" in caplog.text
    forecast = make_model(grid=GRID).fit(series).predict(n=2)
    assert forecast.start_time() == pd.Timestamp("2024-03-31 14:00")


def test_a_shifted_output_chunk_keeps_its_distance(tmp_path: Path) -> None:
    series = make_series(start=7, freq=2)
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
    assert len(rolled[True]) == len(rolled[False]) == LENGTH - 3 - 2 - 2 + 1
    for i, (fast, slow) in enumerate(zip(*rolled.values(), strict=True)):
        assert fast.start_time() == series.time_index[3 + 2 + i]
        assert_close(fast, slow)
        assert_close(fast, model.predict(n=2, series=series[i : i + 3]))
    errors = model.backtest(series, historical_forecasts=rolled[True], metric=frame_mse)
    by_hand = [(values(f) - values(series.slice_intersect(f))) ** 2 for f in rolled[True]]
    np.testing.assert_allclose(errors, np.mean(by_hand, axis=(0, 2, 3)), rtol=1e-5)


def test_a_shifted_output_chunk_cannot_be_rolled_on() -> None:
    model = make_model(output_chunk_shift=2).fit(make_series())
    message = r"auto-regression `\(n > output_chunk_length\)`"
    with pytest.raises(ValueError, match=message):
        model.predict(n=3)
    for roll in (model.historical_forecasts, model.backtest):
        with pytest.raises(ValueError, match=message):
            roll(make_series(), forecast_horizon=3, retrain=False)


# --- series -------------------------------------------------------------------------------------


def test_each_series_of_a_list_keeps_its_own_length_and_index() -> None:
    several = [
        make_series(3, 1, start="2020-01-01", freq="MS"),
        make_series(9, 2),
        make_series(12, 3, start=5, freq=2),
    ]
    model = make_model().fit(several[1:])
    forecasts = model.predict(
        n=5, series=several, batch_size=2, n_jobs=2, verbose=False, show_warnings=False
    )
    for forecast, series in zip(forecasts, several, strict=True):
        assert forecast.start_time() == series.end_time() + series.freq
        assert_close(forecast, model.predict(n=5, series=series))
    with pytest.raises(ValueError, match="fitting on multiple series"):
        model.predict(n=2)


def test_static_covariates_travel_with_forecasts() -> None:
    table = pd.DataFrame({"altitude": np.arange(GRID.n_components, dtype=np.float32)})
    series = make_series().with_static_covariates(table)
    forecast = make_model().fit(series).predict(n=3)
    np.testing.assert_array_equal(forecast.static_covariates, table)
    assert Grid.from_series(forecast) == GRID


def test_a_range_of_input_lengths_is_refused() -> None:
    with pytest.raises(TypeError, match=r"`input_chunk_length` must be an integer.*got \(2, 4\)"):
        make_model(input_chunk_length=(2, 4))


def test_predict_from_dataset_equals_predict(fitted: MIMModel) -> None:
    data = SequentialTorchInferenceDataset(
        make_series(), n=5, input_chunk_length=3, output_chunk_length=2
    )
    (forecast,) = fitted.predict_from_dataset(n=5, dataset=data)
    assert_close(forecast, fitted.predict(n=5))
    plain, _, starts = fitted.predict_from_dataset(n=5, dataset=data, values_only=True)
    np.testing.assert_array_equal(plain[0], values(forecast))
    assert starts == [LENGTH]


def test_a_forecast_is_the_same_with_any_random_state(fitted: MIMModel) -> None:
    forecasts = [values(fitted.predict(n=5, random_state=state)) for state in (None, 1, 2)]
    np.testing.assert_array_equal(forecasts[0], forecasts[1])
    np.testing.assert_array_equal(forecasts[0], forecasts[2])


# --- backtests ----------------------------------------------------------------------------------


def test_backtest_computes_darts_metrics_of_frames(fitted: MIMModel) -> None:
    series = make_series(14, 5)
    arguments: dict[str, Any] = {
        "start": 8,
        "forecast_horizon": 4,
        "retrain": False,
        "last_points_only": False,
    }
    scores = fitted.backtest(series, metric=[rmse, mae, mase], **arguments)
    forecasts = fitted.historical_forecasts(series, **arguments)
    by_hand = []
    for forecast in forecasts:
        true = values(series.slice_intersect(forecast))
        error = np.abs(values(forecast) - true)[..., 0]
        known = values(series[: forecast.start_time()])[..., 0]
        naive = np.abs(np.diff(known, axis=0)).mean(axis=0)
        by_hand.append(
            [np.sqrt((error**2).mean(0)).mean(), error.mean(), (error.mean(0) / naive).mean()]
        )
    np.testing.assert_allclose(scores, np.mean(by_hand, axis=0), rtol=1e-4)


def test_backtest_computes_the_figures_of_a_published_protocol(fitted: MIMModel) -> None:
    several = [make_series(12, 5), make_series(15, 6)]
    rules = protocol("traffic")
    arguments: dict[str, Any] = {"forecast_horizon": 4, "retrain": False, "last_points_only": False}
    table = rules.table(fitted.backtest(several, **arguments, **rules))
    squared = fitted.backtest(several, metric=frame_mse, **arguments)
    np.testing.assert_allclose(table["MSE"].to_numpy()[:-1], np.mean(squared, axis=0), rtol=1e-6)


def test_residuals_are_what_the_forecasts_miss(fitted: MIMModel) -> None:
    series = make_series(14, 5)
    arguments: dict[str, Any] = {"forecast_horizon": 2, "retrain": False}
    forecasts = fitted.historical_forecasts(series, **arguments)
    residuals = fitted.residuals(series, **arguments)
    expected = values(series.slice_intersect(forecasts)) - values(forecasts)
    assert residuals.time_index.equals(forecasts.time_index)
    assert_close(residuals, expected)
    by_frame = fitted.residuals(series, metric=frame_mae, **arguments)
    np.testing.assert_allclose(values(by_frame)[:, 0, 0], np.abs(expected).mean((1, 2)), rtol=1e-5)


@pytest.mark.parametrize("optimized", [True, False])
@pytest.mark.parametrize("last_points_only", [True, False])
def test_the_grid_survives_every_way_to_historical_forecasts(
    fitted: MIMModel, optimized: bool, last_points_only: bool
) -> None:
    forecasts = fitted.historical_forecasts(
        make_series(14, 5),
        forecast_horizon=4,
        retrain=False,
        last_points_only=last_points_only,
        enable_optimization=optimized,
        overlap_end=True,
    )
    listed = [forecasts] if last_points_only else forecasts
    assert all(Grid.from_series(forecast) == GRID for forecast in listed)
    assert listed[-1].end_time() == 14 + 3
    expected = fitted.predict(n=4, series=make_series(14, 5))
    np.testing.assert_allclose(values(listed[-1])[-1], values(expected)[-1], rtol=0, atol=1e-6)


# --- training -----------------------------------------------------------------------------------


def test_training_stops_early_on_the_validation_loss() -> None:
    stopper = EarlyStopping("val_loss", patience=1, min_delta=10.0)
    model = make_model(n_epochs=9, trainer={"callbacks": [stopper]})
    model.fit(make_series(), val_series=make_series(9, 1))
    assert model.epochs_trained == 2


def test_the_learning_rate_may_change_every_step() -> None:
    notes, options = Notes(), {"max_lr": 0.01, "total_steps": 6}
    make_model(
        n_epochs=2,
        lr_scheduler_cls=torch.optim.lr_scheduler.OneCycleLR,
        lr_scheduler_kwargs={**options, "interval": "step"},
        trainer={"callbacks": [notes]},
    ).fit(make_series())
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, **options)
    expected = []
    for _ in range(6):
        expected += scheduler.get_last_lr()
        optimizer.step()
        scheduler.step()
    assert notes.rates == pytest.approx(expected)


@pytest.mark.parametrize("monitor", ["val_loss", "train_loss"])
def test_the_learning_rate_may_follow_a_loss(monitor: str) -> None:
    notes = Notes()
    make_model(
        n_epochs=3,
        optimizer_kwargs={"lr": 1e-3},
        lr_scheduler_cls=torch.optim.lr_scheduler.ReduceLROnPlateau,
        # no loss improves by ten: each epoch but the first, which sets the best, halves the rate
        lr_scheduler_kwargs={
            "monitor": monitor,
            "patience": 0,
            "factor": 0.5,
            "threshold": 10.0,
            "threshold_mode": "abs",
        },
        trainer={"callbacks": [notes]},
    ).fit(make_series(), val_series=make_series(9, 1))
    assert notes.rates[::3] == [1e-3, 1e-3, 5e-4]


@pytest.mark.parametrize(
    ("metrics", "names"),
    [
        (torchmetrics.MeanAbsoluteError(), ["MeanAbsoluteError"]),
        (
            [torchmetrics.MeanAbsoluteError(), torchmetrics.MeanSquaredError()],
            ["MeanAbsoluteError", "MeanSquaredError"],
        ),
        (
            torchmetrics.MetricCollection(
                {"a": torchmetrics.MeanAbsoluteError(), "b": torchmetrics.MeanSquaredError()}
            ),
            ["a", "b"],
        ),
    ],
    ids=["single", "list", "collection"],
)
def test_validation_metrics_are_those_of_forecasts(metrics: Any, names: list[str]) -> None:
    val_series = [make_series(10, 1), make_series(6, 2)]
    model = make_model(torch_metrics=metrics).fit(make_series(), val_series=val_series)
    logged = {name: value.item() for name, value in model.trainer.logged_metrics.items()}
    # Darts repeats the samples of shorter series: here each of two three times
    pairs = [*windows(val_series[0]), *windows(val_series[1]), *2 * [*windows(val_series[1])]]
    histories, truths = zip(*pairs, strict=True)
    forecasts = model.predict(n=2, series=histories)
    error = np.array([values(f) - values(t) for f, t in zip(forecasts, truths, strict=True)])
    by_hand = [np.abs(error).mean(), np.square(error).mean()]
    assert logged["val_loss"] == pytest.approx(by_hand[1], rel=1e-5)
    for name, expected in zip(names, by_hand, strict=False):
        assert logged[f"val_{name}"] == pytest.approx(expected, rel=1e-5)


def rising_and_falling() -> tuple[TimeSeries, TimeSeries]:
    """Return series on which learning one means forgetting the other."""
    ones = make_series() * 0 + 1
    return ones, -ones


def test_the_best_epoch_is_loaded_after_training(tmp_path: Path) -> None:
    train, val = rising_and_falling()
    model = make_model(
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
        other = make_model(random_state=9)
        other.load_weights_from_checkpoint("best", str(tmp_path), best=is_best)
        assert torch.equal(weights(other), weights(expected))
        assert_close(other.predict(n=5, series=train), expected.predict(n=5, series=train))


def test_fit_takes_the_last_samples_at_a_stride() -> None:
    notes, series = Notes(), make_series()
    model = make_model(trainer={"callbacks": [notes]})
    model.fit(series, epochs=2, max_samples_per_ts=3, stride=2)
    assert [len(batch) for batch in notes.batches] == [3, 3]
    latest = values(series)[[LENGTH - 5, LENGTH - 7, LENGTH - 9], 0, 0]
    assert sorted(notes.batches[0]) == sorted(notes.batches[1]) == sorted(latest.tolist())


def test_a_second_fit_trains_on() -> None:
    train, _ = rising_and_falling()
    model = make_model(optimizer_kwargs={"lr": 0.03}).fit(train)
    errors = [frame_mse(train, model.predict(n=2, series=train[:3])).mean()]
    assert model.fit(train, epochs=8).epochs_trained == 8
    errors.append(frame_mse(train, model.predict(n=2, series=train[:3])).mean())
    assert errors[0] > 0.2 > 0.05 > errors[1], errors


def test_another_process_may_load_the_data() -> None:
    series, worker = make_series(), {"num_workers": 1}
    plain = make_model(n_epochs=2).fit(series, val_series=series)
    model = make_model(n_epochs=2)
    model.fit(series, val_series=series, dataloader_kwargs={**worker, "persistent_workers": True})
    assert torch.equal(weights(model), weights(plain))
    assert_close(model.predict(n=5, dataloader_kwargs=worker), plain.predict(n=5))


def test_the_data_loader_takes_dart_s_options() -> None:
    notes, series = Notes(), make_series()
    options = {"shuffle": False, "batch_size": 5, "drop_last": True}
    make_model(trainer={"callbacks": [notes]}).fit(series, dataloader_kwargs=options)
    # Darts counts samples from the end of a series
    first = values(series)[: LENGTH - 4, 0, 0].tolist()[::-1]
    assert notes.batches == [first[:5], first[5:10]]


# --- instance normalisation ---------------------------------------------------------------------


def test_instance_normalisation_without_gains_has_no_parameters() -> None:
    series = make_series()
    model, plain, affine = (
        make_model(use_reversible_instance_norm=norm).fit(series)
        for norm in ({"affine": False}, False, True)
    )
    sizes = [len(weights(each)) for each in (model, plain, affine)]
    assert sizes[0] == sizes[1] == sizes[2] - 2 * GRID.n_components
    shifted = model.predict(n=5, series=(series * 3 + 50).astype(np.float32))
    np.testing.assert_allclose(
        values(shifted), values(model.predict(n=5)) * 3 + 50, rtol=0, atol=2e-3
    )


# --- tuners and searches ------------------------------------------------------------------------


def test_a_learning_rate_is_found_and_weights_stay() -> None:
    series = make_series()
    search: dict[str, Any] = {
        "min_lr": 1e-6,
        "num_training": 15,
        "early_stop_threshold": None,
        "epochs": 5,
    }
    model = make_model()
    found = model.lr_find(series, **search)
    assert 1e-6 < found.suggestion() < 1
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
    assert searched.batch_size == searched.model_params["batch_size"] == SIZES["batch_size"]
    if n_fits:
        assert torch.equal(weights(searched), weights(plain))
    assert torch.equal(weights(searched.fit(series)), weights(plain.fit(series)))


def test_the_batch_size_found_is_used() -> None:
    notes, series = Notes(), make_series()
    model = make_model(trainer={"callbacks": [notes]})
    size = model.scale_batch_size(series, init_val=3, max_trials=2, steps_per_trial=1)
    assert size == model.batch_size == model.model_params["batch_size"] == 6
    notes.batches.clear()
    model.fit(series)
    assert [len(batch) for batch in notes.batches] == [6, 5]
    forecast = model.predict(n=5)
    several = [make_series(5 + i, i) for i in range(5)]
    found = model.scale_batch_size(several, method="predict", n=5, max_trials=1, steps_per_trial=1)
    assert found == model.batch_size
    assert_close(model.predict(n=5), forecast)


def grid_of_options() -> dict[str, list[Any]]:
    options = {name: [value] for name, value in SIZES.items()}
    return {**options, "hidden_channels": [(3, 2), (4, 3)], "pl_trainer_kwargs": [TRAINER]}


def test_gridsearch_finds_the_network_that_forecasts_best() -> None:
    series = make_series()
    train, val = series[:-4], series[-4:]
    metric = partial(frame_mse, time_reduction=np.mean)
    best, options, score = MIMModel.gridsearch(
        grid_of_options(), series=train, val_series=val, metric=metric
    )
    scores = {
        widths: metric(val, make_model(hidden_channels=widths).fit(train).predict(n=4))
        for widths in ((3, 2), (4, 3))
    }
    assert options["hidden_channels"] == min(scores, key=lambda widths: scores[widths])
    assert score == pytest.approx(min(scores.values()), rel=1e-5)
    assert best.model_params["hidden_channels"] == options["hidden_channels"]


def test_gridsearch_can_score_backtests() -> None:
    series = make_series()
    _, options, score = MIMModel.gridsearch(
        grid_of_options(),
        series=series,
        forecast_horizon=2,
        start=LENGTH - 3,
        use_fitted_values=False,
        metric=mae,
    )
    scores = {
        widths: make_model(hidden_channels=widths).backtest(
            series, forecast_horizon=2, start=LENGTH - 3, metric=mae
        )
        for widths in ((3, 2), (4, 3))
    }
    assert score == pytest.approx(min(scores.values()), rel=1e-5)
    assert scores[options["hidden_channels"]] == pytest.approx(score, rel=1e-5)


# --- fine-tuning, copies, files -----------------------------------------------------------------


def parameters(model: MIMModel) -> dict[str, torch.Tensor]:
    return {name: p.detach() for name, p in model.model.named_parameters()}


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
        tuned.append(parameters(model.fit(make_series(seed=1))))
    before = parameters(fitted)
    for name, weight in tuned[0].items():
        moves = moves_bottom if name.startswith("network.bottom.") else moves_rest
        # what moves goes where it would if everything moved
        torch.testing.assert_close(weight, tuned[1][name] if moves else before[name])
        assert not torch.equal(before[name], tuned[1][name])


def test_reset_model_forgets_the_weights_and_the_grid() -> None:
    model = make_model().fit(make_series())
    model.reset_model()
    assert model.model is None
    other = frames_to_series(np.random.default_rng(0).random((20, 1, 5, 6), dtype=np.float32))
    assert series_to_frames(model.fit(other).predict(n=2)).shape == (2, 1, 5, 6)


def test_an_untrained_model_and_a_copy_train_like_the_original() -> None:
    sampling = ScheduledSampling.linear(steps=3)
    model = make_model(grid=GRID, scheduled_sampling=sampling, forget_bias=0.5)
    copies = [deepcopy(model), model.untrained_model(), MIMModel(**model.model_params)]
    expected = weights(model.fit(make_series()))
    copies.append(model.untrained_model())
    for copy in copies:
        assert copy.model is None
        assert copy.model_params == model.model_params
        assert copy.grid == GRID
        assert torch.equal(weights(copy.fit(make_series())), expected)


def test_a_model_says_its_options() -> None:
    model = make_model(scheduled_sampling=ScheduledSampling.linear(steps=3))
    for name, value in {**SIZES, "scheduled_sampling": model.scheduled_sampling}.items():
        assert model.model_params[name] == value
        assert f"{name}={value!r}" in repr(model)
        assert f"{name}={value!r}" in str(model)
    assert "layer_norm=True" in repr(model)
    assert "layer_norm" not in str(model)


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
    series = make_series(9, 4)
    assert_close(loaded.predict(n=5, series=series), model.predict(n=5, series=series))
    assert loaded.fit(series).predict(n=2).start_time() == series.end_time() + 1


def test_a_model_moves_to_the_cpu() -> None:
    trainer = {"accelerator": "auto", "devices": 1}
    model = make_model(trainer=trainer).fit(make_series())
    forecast = model.predict(n=5)
    model.to_cpu()
    assert "devices" not in model.trainer_params
    np.testing.assert_allclose(values(model.predict(n=5)), values(forecast), rtol=0, atol=1e-4)
    assert next(model.model.parameters()).device.type == "cpu"


def test_weights_load_without_checks_where_the_grid_is_given(
    tmp_path: Path, fitted: MIMModel
) -> None:
    path = str(tmp_path / "model.pt")
    fitted.save(path)
    model = make_model(grid=GRID)
    model.load_weights(path, load_encoders=False, skip_checks=True)
    assert_close(model.predict(n=5, series=make_series()), fitted.predict(n=5))
    with pytest.raises(
        ValueError, match=r"`skip_checks=True`.*give it with `MIMModel\(grid=\.\.\.\)`"
    ):
        make_model().load_weights(path, load_encoders=False, skip_checks=True)


def test_gains_for_each_component_fit_no_other_grid(tmp_path: Path) -> None:
    path = str(tmp_path / "model.pt")
    other = Grid(CHANNELS, 5, 6)
    for norm in (True, {"affine": False}):
        make_model(use_reversible_instance_norm=norm).fit(make_series()).save(path)
        model = make_model(use_reversible_instance_norm=norm, grid=other)
        if norm is True:
            with pytest.raises(ValueError, match=r"train with.*{'affine': False}"):
                model.load_weights(path)
        else:
            model.load_weights(path)
            assert model.grid == other


def test_a_loaded_model_trains_and_is_judged_by_its_own_loss(tmp_path: Path) -> None:
    series = (make_series() * 10).astype(np.float32)  # so that squares are far from errors
    options: dict[str, Any] = {"loss_fn": torch.nn.L1Loss(), "optimizer_kwargs": {"lr": 0.0}}
    make_model(**options).fit(series).save(str(tmp_path / "model.pt"))
    model = MIMModel.load(str(tmp_path / "model.pt")).fit(series, val_series=series)
    logged = {name: value.item() for name, value in model.trainer.logged_metrics.items()}
    histories, truths = zip(*windows(series), strict=True)
    forecasts = model.predict(n=2, series=histories)
    error = [np.abs(values(f) - values(t)) for f, t in zip(forecasts, truths, strict=True)]
    assert logged["val_loss"] == pytest.approx(np.mean(error), rel=1e-5)
    # over the frames of the context as well, which are no harder to forecast
    assert logged["train_loss"] == pytest.approx(np.mean(error), rel=0.1)


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


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_series_sets_the_precision(dtype: type, fitted: MIMModel) -> None:
    model = make_model().fit(make_series().astype(dtype))
    forecast = model.predict(n=5)
    assert forecast.dtype == dtype
    assert all(
        p.dtype == torch.from_numpy(np.zeros(1, dtype)).dtype for p in model.model.parameters()
    )
    np.testing.assert_allclose(values(forecast), values(fitted.predict(n=5)), rtol=0, atol=1e-5)


def test_a_series_of_more_precision_than_the_model_s_is_refused(fitted: MIMModel) -> None:
    with pytest.raises(ValueError, match=r"float64.*trained on float32.*astype\(np\.float32\)"):
        fitted.predict(n=2, series=make_series().astype(np.float64))


@pytest.mark.parametrize(
    ("precision", "dtype", "tolerance"),
    [
        ("32-true", np.float32, 0),
        ("64-true", np.float64, 1e-5),
        ("bf16-mixed", np.float32, 0.05),
        ("16-mixed", np.float32, 0.05),
        ("bf16-true", np.float32, 0.2),
    ],
)
# Lightning says that a CPU computes 16-mixed in bfloat16
@pytest.mark.filterwarnings("ignore:You passed .*16-mixed.* not supported on CPU:UserWarning")
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


# --- models made of models ----------------------------------------------------------------------


def test_an_ensemble_averages_its_members() -> None:
    several = [make_series(), make_series(12, 3)]
    ensemble = NaiveEnsembleModel([make_model(), make_linear()], show_warnings=False).fit(several)
    members = [make_model().fit(several), make_linear().fit(several)]
    forecasts = ensemble.predict(n=5, series=several)
    for forecast, series in zip(forecasts, several, strict=True):
        expected = [values(member.predict(n=5, series=series)) for member in members]
        assert_close(forecast, np.mean(expected, axis=0))
    curve = ensemble.backtest(
        several[1], forecast_horizon=4, retrain=False, last_points_only=False, metric=frame_mse
    )
    assert curve.shape == (4,)


def test_a_regression_learns_to_combine_its_members() -> None:
    series = make_series()
    members = [make_model(random_state=state).fit(series) for state in (0, 1)]
    ensemble = RegressionEnsembleModel(
        members, regression_train_n_points=6, train_forecasting_models=False, show_warnings=False
    ).fit(series)

    def stacked(n: int, history: TimeSeries) -> np.ndarray:
        forecasts = [values(member.predict(n=n, series=history))[..., 0] for member in members]
        return np.concatenate(forecasts, axis=1)

    regression = LinearRegression(fit_intercept=False).fit(
        stacked(6, series[:-6]), values(series[-6:])[..., 0]
    )
    expected = regression.predict(stacked(5, series))[..., None]
    forecast = ensemble.predict(n=5)
    assert Grid.from_series(forecast) == GRID
    np.testing.assert_allclose(values(forecast), expected, rtol=0, atol=1e-3)


def test_conformal_intervals_have_the_width_of_past_errors(fitted: MIMModel) -> None:
    series = make_series(30, 4)
    model = ConformalNaiveModel(fitted, quantiles=[0.1, 0.5, 0.9], cal_length=12)
    past = fitted.historical_forecasts(series, forecast_horizon=1, retrain=False)
    errors = np.abs(values(series.slice_intersect(past)) - values(past))[-12:, :, 0]
    width = np.sort(errors, axis=0)[10]  # the 11th of 12: Darts' rank is ceil(0.8 * (12 + 1))
    centre = values(fitted.predict(n=1, series=series))[0, :, 0]
    quantiles = model.predict(n=1, series=series, predict_likelihood_parameters=True)
    low, middle, high = values(quantiles)[0, :, 0].reshape(GRID.n_components, 3).T
    np.testing.assert_allclose(middle, centre, rtol=0, atol=1e-6)
    np.testing.assert_allclose(low, centre - width, rtol=0, atol=1e-5)
    np.testing.assert_allclose(high, centre + width, rtol=0, atol=1e-5)


def test_conformal_samples_are_frames(fitted: MIMModel) -> None:
    series = make_series(30, 4)
    model = ConformalNaiveModel(fitted, quantiles=[0.1, 0.5, 0.9], cal_length=12)
    samples = model.predict(n=5, series=series, num_samples=7)
    assert Grid.from_series(samples) == GRID
    assert series_to_frames(samples).shape == (5, CHANNELS, HEIGHT, WIDTH, 7)
    curve = model.backtest(
        series, forecast_horizon=4, last_points_only=False, metric=frame_mse, num_samples=7
    )
    assert curve.shape == (4,)
    assert (curve > 0).all()


def test_anomaly_scores_are_the_norms_of_errors() -> None:
    train, series = make_series(), make_series(12, 1)
    detector = ForecastingAnomalyModel(model=make_model(), scorer=NormScorer())
    detector.fit(train, allow_model_training=True)
    scores, forecasts = detector.score(series, return_model_prediction=True)
    expected = make_model().fit(train).historical_forecasts(series, retrain=False)
    assert_close(forecasts, expected)
    error = values(series.slice_intersect(expected)) - values(expected)
    np.testing.assert_allclose(
        values(scores)[:, 0, 0], np.linalg.norm(error[..., 0], axis=1), rtol=1e-5
    )


# --- logging ------------------------------------------------------------------------------------


def test_tensorboard_gets_the_losses_and_the_options(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX", reason="log_tensorboard needs tensorboard or tensorboardX")
    make_model(
        log_tensorboard=True,
        model_name="logged",
        work_dir=str(tmp_path),
        scheduled_sampling=ScheduledSampling.linear(steps=5),
        torch_metrics=torchmetrics.MeanAbsoluteError(),
        trainer={"log_every_n_steps": 1},
    ).fit(make_series(), val_series=make_series(9, 1))
    logs = tmp_path / "logged" / "logs"
    events = b"".join(file.read_bytes() for file in logs.glob("events*"))
    for name in (b"train_loss", b"val_loss", b"val_MeanAbsoluteError"):
        assert name in events
    options = (logs / "hparams.yaml").read_text()
    assert "hidden_channels" in options
    assert "steps: 5" in options


def test_dart_s_progress_bar_shows_the_chosen_loops(capfd: pytest.CaptureFixture[str]) -> None:
    bar = TFMProgressBar(enable_train_bar_only=True)
    trainer = {"callbacks": [bar], "enable_progress_bar": True}
    model = make_model(trainer=trainer).fit(make_series(), val_series=make_series(9, 1))
    shown = "".join(capfd.readouterr())
    assert "Epoch 0: 100%" in shown
    assert "val_loss=" in shown
    model.predict(n=2)
    assert "Predicting" not in "".join(capfd.readouterr())
