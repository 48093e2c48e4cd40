"""MIMModel through Darts' own interface."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import torchmetrics
from darts import TimeSeries
from darts.utils.data import SequentialTorchInferenceDataset
from darts.utils.likelihood_models.torch import GaussianLikelihood

from darts_mim import Grid, MIMModel, ScheduledSampling, frames_to_series, series_to_frames
from darts_mim.datasets import ClipTrainingDataset
from darts_mim.nn import Schedule
from tests.models import small_models
from tests.models.small_models import (
    GRID,
    TRAINER,
    logged,
    make_frames,
    step_by_hand,
    to_series,
    values,
    weights,
)

make_model = partial(small_models.make_model, input_chunk_length=4, output_chunk_length=3)
make_series = partial(small_models.make_series, 24)  # 18 samples: 5 steps in an epoch


def make_clips(number: int, length: int = 7) -> np.ndarray:
    return np.stack([make_frames(length, seed) for seed in range(number)])


@pytest.fixture(scope="module")
def fitted() -> MIMModel:
    return make_model().fit(make_series())


# --- forecasts ----------------------------------------------------------------------------------


def test_a_forecast_is_a_series_of_frames_on_the_same_grid(fitted: MIMModel) -> None:
    series = make_series(freq="D")
    forecast = fitted.predict(n=3, series=series)
    assert forecast.start_time() == series.end_time() + series.freq
    assert Grid.from_series(forecast) == Grid.from_series(series)
    assert series_to_frames(forecast).shape == (3, *GRID.shape)
    assert forecast.dtype == np.float32


def test_a_forecast_equals_stepping_the_network_by_hand(fitted: MIMModel) -> None:
    frames = make_frames(seed=1)
    by_hand = step_by_hand(fitted, frames[-4:], 11)[-11:]
    for n in (1, 3, 4, 11):
        forecast = series_to_frames(fitted.predict(n=n, series=to_series(frames)))
        np.testing.assert_allclose(forecast, by_hand[:n], rtol=0, atol=1e-6)


def test_forecasts_depend_on_their_input_alone(fitted: MIMModel) -> None:
    histories = [to_series(make_frames(4 + i, seed=i)) for i in range(7)]
    alone = [values(fitted.predict(n=5, series=history)) for history in histories]
    for batch_size in (1, 3, 4, 7):
        for order in (range(7), range(6, -1, -1)):
            forecasts = fitted.predict(
                n=5, series=[histories[i] for i in order], batch_size=batch_size
            )
            for i, forecast in zip(order, forecasts, strict=True):
                np.testing.assert_allclose(values(forecast), alone[i], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(values(fitted.predict(n=5, series=histories[0])), alone[0])


@pytest.mark.parametrize("horizon", [2, 3, 7])
def test_historical_forecasts_equal_predicting_at_each_point(
    fitted: MIMModel, horizon: int
) -> None:
    series = to_series(make_frames(16, seed=3))
    for optimized in (True, False):
        forecasts = fitted.historical_forecasts(
            series,
            forecast_horizon=horizon,
            stride=2,
            retrain=False,
            last_points_only=False,
            enable_optimization=optimized,
        )
        assert len(forecasts) == (16 - 4 - horizon) // 2 + 1
        for forecast in forecasts:
            point = forecast.start_time()
            expected = fitted.predict(n=horizon, series=series.drop_after(point))
            np.testing.assert_allclose(values(forecast), values(expected), rtol=0, atol=1e-6)


# --- the workflow -------------------------------------------------------------------------------


def test_data_sets_of_ones_own_bring_their_grid() -> None:
    model = make_model().fit_from_dataset(ClipTrainingDataset(make_clips(6), 4, 3))
    assert model.grid == GRID
    assert series_to_frames(model.predict(n=2, series=make_series())).shape == (2, *GRID.shape)


def test_data_sets_of_clips_leave_the_gap_out_that_the_model_has() -> None:
    dataset = ClipTrainingDataset(make_clips(3, length=9), 4, 3, output_chunk_shift=2)
    make_model(output_chunk_shift=2).fit_from_dataset(dataset)
    with pytest.raises(ValueError, match="of the data set is 2, but that of the model is 0"):
        make_model().fit_from_dataset(dataset)


# --- the loss -----------------------------------------------------------------------------------


def test_training_counts_every_next_frame_and_validation_the_horizon() -> None:
    clips = make_clips(4)
    model = make_model(optimizer_kwargs={"lr": 0.0}, torch_metrics=torchmetrics.MeanSquaredError())
    data = ClipTrainingDataset(clips, 4, 3)
    model.fit_from_dataset(data, val_dataset=data)
    errors = [(step_by_hand(model, clip[:4], 3) - clip[1:]) ** 2 for clip in clips]
    horizon = np.mean([each[-3:] for each in errors])
    assert np.mean(errors) != pytest.approx(horizon, rel=1e-3)
    assert logged(model)["train_loss"] == pytest.approx(np.mean(errors), rel=1e-4)
    for name in ("val_loss", "val_MeanSquaredError", "train_MeanSquaredError"):
        assert logged(model)[name] == pytest.approx(horizon, rel=1e-4)


def test_the_loss_compares_frames_in_the_units_of_the_series() -> None:
    clips = 50 + 10 * make_clips(4)
    model = make_model(optimizer_kwargs={"lr": 0.0}, use_reversible_instance_norm=True)
    model.fit_from_dataset(ClipTrainingDataset(clips, 4, 3))
    context = clips[:, :4]
    mean = context.mean(1, keepdims=True)
    deviation = np.sqrt(context.var(1, keepdims=True) + 1e-5)
    with torch.no_grad():
        normal, _ = model.model.network(torch.from_numpy((context - mean) / deviation), horizon=3)
    expected = np.mean((normal.numpy() * deviation + mean - clips[:, 1:]) ** 2)
    assert logged(model)["train_loss"] == pytest.approx(expected, rel=1e-3)


# --- scheduled sampling -------------------------------------------------------------------------


class Recorder(torch.nn.Module):
    """Stands in for the network and notes what it was asked."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network
        self.calls: list[dict[str, Any]] = []

    def forward(self, context: torch.Tensor, horizon: int, **options: Any) -> Any:
        self.calls.append({"context": context, "horizon": horizon, **options})
        return self.network(context, horizon, **options)


def fit_recorded(data: Any = None, **options: Any) -> list[dict[str, Any]]:
    """Fit a model for an epoch, and for another one in which its network's calls are noted."""
    data = data or ClipTrainingDataset(make_clips(12), 4, 3)
    model = make_model(**options).fit_from_dataset(data)
    recorder = Recorder(model.model.network)
    model.model.network = recorder
    model.fit_from_dataset(data, val_dataset=data)
    return recorder.calls


@pytest.mark.parametrize(("sampling", "n"), [(ScheduledSampling.linear(steps=6), 3), (None, 0)])
def test_sampling_is_for_training_alone(sampling: ScheduledSampling | None, n: int) -> None:
    calls = fit_recorded(scheduled_sampling=sampling)
    assert len(calls) == 2 + 3 + 3  # the sanity check, training, validation
    for name in ("future", "feed_true"):
        assert sum(call[name] is not None for call in calls) == n


def test_the_gap_of_a_shifted_output_chunk_runs_freely() -> None:
    data = ClipTrainingDataset(make_clips(3, length=9), 4, 3, output_chunk_shift=2)
    calls = fit_recorded(
        data, scheduled_sampling=ScheduledSampling.linear(steps=10**9), output_chunk_shift=2
    )
    train = [call for call in calls if call["feed_true"] is not None]
    expected = [True] * 3 + [False] * 2 + [True] * 2
    assert all(row == expected for call in train for row in call["feed_true"].tolist())
    assert all(call["horizon"] == 5 for call in calls)


def test_true_frames_are_normalised_like_the_context() -> None:
    clips = make_frames(7)[None]
    calls = fit_recorded(
        ClipTrainingDataset(clips, 4, 3),
        scheduled_sampling=ScheduledSampling.linear(steps=10**9),
        use_reversible_instance_norm={"affine": False},
    )
    context = clips[:, :4]
    deviation = np.sqrt(context.var(1, keepdims=True) + 1e-5)
    normal = (clips - context.mean(1, keepdims=True)) / deviation
    (call,) = [call for call in calls if call["future"] is not None]
    np.testing.assert_allclose(call["context"].numpy(), normal[:, :4], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(call["future"].numpy(), normal[:, 4:], rtol=1e-3, atol=1e-4)


def test_random_state_makes_runs_repeat() -> None:
    options = {"scheduled_sampling": ScheduledSampling.linear(4), "dropout": 0.2}
    first, again, other = (
        weights(make_model(random_state=state, **options).fit(make_series())) for state in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


class BatchLog(pl.Callback):
    """Note the first value of each sequence of each training batch."""

    def __init__(self) -> None:
        self.epochs: list[list[float]] = []

    def on_train_epoch_start(self, *_: Any) -> None:
        self.epochs.append([])

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, *_: Any) -> None:
        self.epochs[-1] += batch.past_target[:, 0, 0].tolist()


def orders(model: MIMModel, n_fits: int = 1, **trainer: Any) -> list[list[float]]:
    """Return the order of the samples in each epoch of each fit."""
    log = BatchLog()
    for _ in range(n_fits):
        options = {**TRAINER, "logger": False, "enable_checkpointing": False, "max_epochs": 2}
        model.fit(make_series(), trainer=pl.Trainer(callbacks=[log], **{**options, **trainer}))
    return log.epochs


def test_the_order_of_training_follows_random_state_and_changes_every_epoch() -> None:
    first, again, other = (orders(make_model(random_state=state)) for state in (1, 1, 2))
    assert first == again
    assert first[0] != first[1]
    assert first[0] != other[0]
    assert sorted(first[0]) == sorted(first[1]) == sorted(other[0])


def test_every_fit_and_every_rebuilt_loader_has_orders_of_its_own() -> None:
    for epochs in (
        orders(make_model(), n_fits=2),
        orders(make_model(), max_epochs=4, reload_dataloaders_every_n_epochs=1),
    ):
        assert len({tuple(epoch) for epoch in epochs}) == len(epochs) == 4


def test_batches_of_one_optimizer_step_draw_for_themselves() -> None:
    sampling = ScheduledSampling(horizon=Schedule("constant", start=0.5))
    options = {"scheduled_sampling": sampling, "trainer": {"accumulate_grad_batches": 3}}
    fed = [call["feed_true"] for call in fit_recorded(**options)]
    fed = [draws for draws in fed if draws is not None]
    assert len(fed) == 3
    assert not torch.equal(fed[0], fed[1])
    assert not torch.equal(fed[1], fed[2])


# --- saving, loading, resuming ------------------------------------------------------------------


def test_a_model_just_loaded_saves_its_weights(fitted: MIMModel, tmp_path: Path) -> None:
    fitted.save(tmp_path / "first.pt")
    MIMModel.load(str(tmp_path / "first.pt")).save(tmp_path / "second.pt")
    again = make_model()
    again.load_weights(str(tmp_path / "second.pt"))
    again.save(tmp_path / "third.pt")
    for name in ("second.pt", "third.pt"):
        loaded = MIMModel.load(str(tmp_path / name))
        assert torch.equal(weights(loaded), weights(fitted))
        assert values(loaded.predict(n=2, series=make_series())).shape[0] == 2


def test_a_loaded_model_forecasts_the_same_and_has_its_grid_and_schedule(tmp_path: Path) -> None:
    sampling = ScheduledSampling.reverse(2, 9, 3)
    grid = Grid(*GRID.shape, mask=np.eye(5, 6) == 0)
    model = make_model(scheduled_sampling=sampling, grid=grid).fit(make_series())
    model.save(str(tmp_path / "model.pt"))
    loaded = MIMModel.load(str(tmp_path / "model.pt"))
    np.testing.assert_array_equal(values(loaded.predict(n=7)), values(model.predict(n=7)))
    assert loaded.grid == grid
    assert loaded.scheduled_sampling == sampling


def test_a_save_that_fails_leaves_the_earlier_one_and_nothing_else(
    fitted: MIMModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "model.pt")
    fitted.save(path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(fitted.trainer, "save_checkpoint", fail)
    with pytest.raises(OSError, match="disk full"):
        fitted.save(path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert set(before) == {"model.pt", "model.pt.ckpt"}


@pytest.mark.filterwarnings("ignore:.*could not find the monitored key")
def test_a_model_fitted_on_a_memory_map_saves_and_loads(tmp_path: Path) -> None:
    np.save(tmp_path / "frames.npy", make_frames(40))
    frames = np.load(tmp_path / "frames.npy", mmap_mode="r")
    series = frames_to_series(frames)
    assert isinstance(values(series), np.memmap)
    model = make_model(work_dir=str(tmp_path), model_name="mapped", save_checkpoints=True)
    model.fit(series)
    model.save(str(tmp_path / "model.pt"))
    loaded = MIMModel.load(str(tmp_path / "model.pt"))
    np.testing.assert_array_equal(values(loaded.predict(n=5)), values(model.predict(n=5)))
    assert len(loaded.training_series) == 4
    assert isinstance(values(model.training_series), np.memmap)
    resumed = MIMModel.load_from_checkpoint("mapped", work_dir=str(tmp_path), best=False)
    np.testing.assert_array_equal(
        values(resumed.predict(n=5, series=series)), values(model.predict(n=5))
    )


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
@pytest.mark.filterwarnings("ignore:.*could not find the monitored key")
@pytest.mark.parametrize(("best", "trainer"), [(True, {}), (False, {"accumulate_grad_batches": 2})])
def test_a_run_resumed_from_dart_s_own_checkpoints_ends_like_an_uninterrupted_one(
    tmp_path: Path, best: bool, trainer: dict[str, Any]
) -> None:
    series, val_series = make_series(), make_series(seed=1) if best else None
    options = {"save_checkpoints": True, "work_dir": str(tmp_path), "trainer": trainer}
    options |= {"n_epochs": 4, "scheduled_sampling": ScheduledSampling.reverse(2, 12, 4)}
    whole = make_model(model_name="whole", **options).fit(series, val_series=val_series)
    make_model(model_name="parted", **options).fit(series, val_series=val_series, epochs=2)
    resumed = MIMModel.load_from_checkpoint("parted", work_dir=str(tmp_path), best=best)
    resumed.fit(series, val_series=val_series, epochs=4)
    assert resumed.trainer.global_step == whole.trainer.global_step
    assert torch.equal(weights(resumed), weights(whole))


def test_weights_move_to_chunks_of_other_lengths(fitted: MIMModel, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model.pt")
    model = make_model(input_chunk_length=6, output_chunk_length=2)
    model.load_weights(str(tmp_path / "model.pt"))
    expected = step_by_hand(fitted, make_frames(24)[-6:], 5)[-5:]
    forecast = series_to_frames(model.predict(n=5, series=make_series()))
    np.testing.assert_allclose(forecast, expected, rtol=0, atol=1e-6)
    assert model.train_sample.past_target.shape[0] == 6
    assert model.train_sample.future_target.shape[0] == 2
    assert model.fit(make_series()).predict(4).n_timesteps == 4


def test_encoders_make_covariates_for_the_lengths_of_the_model(tmp_path: Path) -> None:
    encoders = {"add_encoders": {"cyclic": {"future": ["hour"], "past": ["hour"]}}}
    series = make_series()
    make_model(**encoders).fit(series).save(tmp_path / "model.pt")
    model = make_model(**encoders, input_chunk_length=6, output_chunk_length=2)
    model.load_weights(str(tmp_path / "model.pt"))
    assert model.predict(n=5, series=series).n_timesteps == 5


def test_a_sweep_over_dropout_begins_without(fitted: MIMModel) -> None:
    samples = fitted.predict(n=3, num_samples=4, mc_dropout=True).all_values()
    for sample in np.moveaxis(samples, 2, 0):
        np.testing.assert_allclose(sample, fitted.predict(n=3).values(), rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="`num_samples > 1` is only supported for probabilistic"):
        fitted.predict(n=3, num_samples=4)


def test_weights_move_to_a_grid_of_another_size(fitted: MIMModel, tmp_path: Path) -> None:
    fitted.save(str(tmp_path / "model.pt"))
    other = make_model(grid=Grid(2, 9, 7), hidden_channels=[4, 3])
    other.load_weights(str(tmp_path / "model.pt"))
    frames = np.random.default_rng(0).random((4, 2, 9, 7), dtype=np.float32)
    forecast = series_to_frames(other.predict(n=5, series=frames_to_series(frames)))
    np.testing.assert_allclose(forecast, step_by_hand(fitted, frames, 5)[-5:], rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match=r"found grid\.channels=1, should be grid\.channels=2"):
        make_model(grid=Grid(1, 9, 7)).load_weights(str(tmp_path / "model.pt"))


# --- the grid -----------------------------------------------------------------------------------


def test_a_series_without_a_grid_is_a_grid_of_one_cell(caplog: pytest.LogCaptureFixture) -> None:
    series = TimeSeries.from_values(make_frames().reshape(12, -1)[:, :5])
    model = make_model(patch_size=1).fit(series)
    model.predict(n=1)
    warned = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert sum("5 components become the channels of a 1x1 grid" in each for each in warned) == 1
    assert model.grid == Grid(channels=5, height=1, width=1)
    assert model.predict(n=4).n_components == 5


def test_a_given_grid_overrides_the_series_and_travels_with_forecasts() -> None:
    turned = Grid(2, 6, 5, channel_names=["in", "out"])
    for series in (make_series(), make_series().with_metadata(None)):
        model = make_model(grid=turned).fit(series)
        assert model.grid == Grid.from_series(model.predict(n=2)) == turned


def test_a_series_of_another_grid_is_refused(fitted: MIMModel) -> None:
    named = make_series(channel_names=["in", "out"])
    with pytest.raises(ValueError, match=r"\(in, out\).*\(channel_0, channel_1\)"):
        fitted.predict(n=2, series=named)
    turned = to_series(make_frames().transpose(0, 1, 3, 2))
    with pytest.raises(ValueError, match=r"`series` has the grid .*6 rows x 5 columns.*5 rows x 6"):
        fitted.predict(n=2, series=turned)
    with pytest.raises(ValueError, match=r"override the grid of the series with `MIMModel\(grid="):
        make_model().fit(make_series(), val_series=turned)


def test_a_given_grid_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"4 components, but the target has 60"):
        make_model(grid=Grid(1, 2, 2)).fit(make_series())


# --- bad input ----------------------------------------------------------------------------------


def test_a_target_that_is_not_finite_is_refused(fitted: MIMModel) -> None:
    frames = make_frames()
    frames[-2, 1, 3, 4] = -np.inf
    series = to_series(frames)
    for refused in (
        lambda: make_model().fit(series),
        lambda: make_model().fit(make_series(), val_series=series),
        lambda: fitted.predict(n=1, series=series),
        lambda: fitted.historical_forecasts(series, retrain=False, overlap_end=True),
    ):
        with pytest.raises(ValueError, match=r"`series` .* got -inf in .*'channel_1_3_4' at"):
            refused()


def test_a_gap_that_no_forecast_reads_does_no_harm(fitted: MIMModel) -> None:
    frames = make_frames()
    clean = values(fitted.predict(n=3, series=to_series(frames)))
    frames[5] = np.inf
    np.testing.assert_array_equal(values(fitted.predict(3, to_series(frames))), clean)
    fitted.historical_forecasts(to_series(frames), start=10, retrain=False)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"kernel_size": 4}, ValueError, "`kernel_size` must be odd"),
        ({"input_chunk_length": 0}, ValueError, "`input_chunk_length` must be at least 1, got 0"),
        ({"input_chunk_length": 2.5}, TypeError, "`input_chunk_length` must be an integer"),
        ({"output_chunk_shift": -1}, ValueError, "`output_chunk_shift` must be.*at least 0"),
        ({"batch_size": 0}, ValueError, "`batch_size` must be at least 1, got 0"),
        ({"batch_size": 2.5}, TypeError, "`batch_size` must be an integer"),
        ({"n_epochs": 1.5}, TypeError, "`n_epochs` must be an integer"),
        ({"max_steps": 0}, ValueError, "`max_steps` must be at least 1, got 0"),
        ({"likelihood": "gaussian"}, TypeError, r"`likelihood` must be .*Likelihood\(\), got 'gau"),
        ({"likelihood": GaussianLikelihood}, TypeError, r"`likelihood` must be .* got <class"),
        ({"loss_fn": torch.nn.L1Loss}, TypeError, r"`loss_fn` must be .*L1Loss\(\), got <class"),
        ({"loss_fn": "mae"}, TypeError, "`loss_fn` must be .* got 'mae'"),
        ({"scheduled_sampling": 0.5}, TypeError, "`scheduled_sampling` must be .*linear.* got 0.5"),
        ({"grid": (1, 2, 2)}, TypeError, r"`grid` must be .*darts_mim.Grid\(.* got \(1, 2, 2\)"),
        ({"dropout": 1.0}, ValueError, r"`dropout` must be finite and in \[0, 0.99\], got 1"),
        ({"hidden_size": 4}, ValueError, r"`MIMModel` has no args/kwargs `\['hidden_size'\]`"),
    ],
)
def test_an_option_out_of_range_is_refused(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make_model(**options)


@pytest.mark.parametrize(
    ("name", "value"),
    [("series", None), ("series", []), ("series", np.zeros((9, 60))), ("val_series", "no")],
)
def test_what_is_no_series_is_refused(name: str, value: Any) -> None:
    message = f"`{name}` must be a TimeSeries or a sequence of them, got "
    with pytest.raises(TypeError, match=message):
        make_model().fit(**{"series": make_series(), name: value})


@pytest.mark.parametrize("asked", [{"batch_size": 0}, {"batch_size": 2.5}, {"n": 0}])
def test_a_forecast_of_nothing_is_refused(fitted: MIMModel, asked: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError), match=f"`{next(iter(asked))}` must"):
        fitted.predict(**{"n": 2, **asked})


def test_double_precision_is_refused_by_a_model_of_single_precision(tmp_path: Path) -> None:
    series, double = make_series(), make_series().astype(np.float64)
    model = make_model().fit(series)
    for refused in (
        lambda: make_model().fit(series, val_series=double),
        lambda: make_model().fit([series, double]),
        lambda: model.fit(double),
        lambda: model.predict(n=2, series=double),
    ):
        with pytest.raises(ValueError, match=r"`series` holds float64 .*astype\(np\.float32\)"):
            refused()
    model.save(tmp_path / "model.pt")  # also after a forecast that was refused
    np.testing.assert_array_equal(
        values(MIMModel.load(tmp_path / "model.pt").predict(2)), values(model.predict(2))
    )
    model = make_model(trainer={"precision": "64-true"}).fit(series, val_series=double)
    assert model.predict(2, double).dtype == np.float64


def test_an_encoder_that_gives_infinity_is_named() -> None:
    def broken(index: Any) -> Any:
        return np.full(len(index), np.inf, dtype=np.float32)

    with pytest.raises(ValueError, match="`add_encoders` makes this component: change its func"):
        make_model(add_encoders={"custom": {"future": [broken]}}).fit(make_series())
    with pytest.raises(ValueError, match=r"`past_covariates` must be finite.*where it is computed"):
        make_model().fit(make_series(), past_covariates=make_series() * np.inf)


def test_a_refused_series_leaves_the_model_as_it_was() -> None:
    model = make_model()
    frames = make_frames()
    frames[3] = np.inf
    with pytest.raises(ValueError, match="must be finite"):
        model.fit(to_series(frames))
    assert model.grid is None
    assert model.training_series is None
    model.fit(make_series())
    with pytest.raises(ValueError, match="the model's grid is"):
        model.fit(to_series(make_frames().transpose(0, 1, 3, 2)))
    assert Grid.from_series(model.predict(n=2)) == GRID


def test_components_in_another_order_are_refused() -> None:
    series = make_series()
    turned = series[list(reversed(series.components))]
    for grid in (None, GRID):
        with pytest.raises(ValueError, match="in another order"):
            make_model(grid=grid).fit(series).predict(n=2, series=turned)
        with pytest.raises(ValueError, match="in another order"):
            make_model(grid=grid).fit(turned)


def test_a_data_set_of_other_chunk_lengths_is_refused(fitted: MIMModel) -> None:
    clips = make_clips(4)
    right, wrong = ClipTrainingDataset(clips, 4, 3), ClipTrainingDataset(clips, 3, 4)
    message = "`past_target` of the data set has 3 frames, but the model is for 4"
    with pytest.raises(ValueError, match=message):
        make_model().fit_from_dataset(wrong)
    with pytest.raises(ValueError, match=message):
        make_model().fit_from_dataset(right, val_dataset=wrong)
    inference = SequentialTorchInferenceDataset(
        make_series(), n=2, input_chunk_length=7, output_chunk_length=3
    )
    with pytest.raises(ValueError, match="has 7 frames, but the model is for 4"):
        fitted.predict_from_dataset(n=2, dataset=inference)


def test_a_given_grid_costs_no_copy_of_the_history(tmp_path: Path) -> None:
    np.save(tmp_path / "frames.npy", make_frames())
    frames = np.load(tmp_path / "frames.npy", mmap_mode="r")
    series = frames_to_series(frames).with_metadata(None)
    model = make_model(grid=GRID).fit(make_series())
    (labelled,) = model._build_inference_dataset(1, [series], None, None).series
    assert np.shares_memory(values(labelled), values(series))
