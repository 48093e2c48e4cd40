"""Scaling by channel: against NumPy, Darts' own scaler, and through Darts' workflows."""

import pickle
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries
from darts.dataprocessing import Pipeline
from darts.dataprocessing.transformers import InvertibleMapper, Scaler
from darts.metrics import mae
from darts.models import LinearRegressionModel
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)

from darts_mim import Grid, MIMModel, frames_to_series, series_to_frames
from darts_mim.transforms import GridScaler

NAMES = ["rain", "heat"]
LENGTH, HEIGHT, WIDTH = 11, 3, 5
MASK = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 4 != 1

# What each scaler subtracts and what it divides by, from all values of a channel.
ORACLES: dict[type, Callable[[np.ndarray], tuple[float, float]]] = {
    MinMaxScaler: lambda x: (x.min(), np.ptp(x)),
    StandardScaler: lambda x: (x.mean(), x.std()),
    MaxAbsScaler: lambda x: (0.0, abs(x).max()),
    RobustScaler: lambda x: (np.median(x), np.quantile(x, 0.75) - np.quantile(x, 0.25)),
}
INCREMENTAL = [MinMaxScaler, StandardScaler, MaxAbsScaler]


def make_frames(length: int = LENGTH, seed: int = 0) -> np.ndarray:
    """Return frames of two channels on very different scales."""
    rng = np.random.default_rng(seed)
    shape = (length, 2, HEIGHT, WIDTH)
    return rng.normal([[[0.5]], [[290.0]]], [[[0.2]], [[15.0]]], shape).astype(np.float32)


def make_series(
    frames: np.ndarray | None = None, *, length: int = LENGTH, seed: int = 0, **options: Any
) -> TimeSeries:
    frames = make_frames(length, seed) if frames is None else frames
    series = frames_to_series(frames, **{"channel_names": NAMES, **options})
    assert isinstance(series, TimeSeries)
    return series


def make_plain_series(n_samples: int = 1, dtype: Any = np.float64) -> TimeSeries:
    rng = np.random.default_rng(0)
    array = rng.normal([[[0.5]] * 3], [[[0.2], [15.0], [1.0]]], (LENGTH, 3, n_samples))
    return TimeSeries.from_values(array.astype(dtype), columns=["a", "b", "c"])


def values(series: TimeSeries) -> np.ndarray:
    return series.all_values(copy=False)


def scale_by_hand(scaler: type, frames: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Scale frames (T, C, H, W) with statistics over what is seen of each channel."""
    expected = frames.copy()
    for c in range(frames.shape[1]):
        centre, spread = ORACLES[scaler](frames[:, c][seen[:, c]].astype(np.float64))
        expected[:, c] = (frames[:, c] - centre) / spread
    return expected


@pytest.fixture(params=["one stretch", "stretches of two frames"])
def _both_stretches(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "one stretch":
        monkeypatch.setattr("darts_mim.transforms._STRETCH", 2 * 2 * HEIGHT * WIDTH + 1)


# --- statistics ---------------------------------------------------------------------------------


@pytest.mark.parametrize("scaler", ORACLES)
@pytest.mark.usefixtures("_both_stretches")
def test_statistics_are_those_of_all_cells_and_times_of_a_channel(scaler: type) -> None:
    frames = make_frames()
    scaled = GridScaler(scaler()).fit_transform(make_series(frames))
    expected = scale_by_hand(scaler, frames, np.isfinite(frames))
    np.testing.assert_allclose(series_to_frames(scaled), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scaler", ORACLES)
@pytest.mark.usefixtures("_both_stretches")
def test_missing_values_and_hidden_cells_do_not_enter_statistics_and_stay(scaler: type) -> None:
    frames = make_frames()
    frames[np.random.default_rng(1).random(frames.shape) < 0.2] = np.nan
    frames[..., ~MASK] = -9999.0
    frames[0, 0, 0, 1] = np.inf  # hidden as well
    seen = ~np.isnan(frames) & MASK
    with np.errstate(over="ignore", invalid="ignore"):
        expected = np.where(MASK, scale_by_hand(scaler, frames, seen), frames)
    grid_scaler = GridScaler(scaler())
    scaled = grid_scaler.fit_transform(make_series(frames, mask=MASK))
    np.testing.assert_allclose(series_to_frames(scaled), expected, rtol=1e-4, atol=1e-5)
    restored = series_to_frames(grid_scaler.inverse_transform(scaled))
    np.testing.assert_allclose(restored, frames, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(restored[..., ~MASK], frames[..., ~MASK])


@pytest.mark.parametrize("absent", [slice(0, 7), slice(4, 9), slice(5, None), slice(1, None)])
@pytest.mark.parametrize("scaler", ORACLES)
@pytest.mark.usefixtures("_both_stretches")
def test_a_channel_may_be_missing_for_long(scaler: type, absent: slice) -> None:
    frames = make_frames()
    frames[absent, 1] = np.nan
    scaled = GridScaler(scaler()).fit_transform(make_series(frames))
    expected = scale_by_hand(scaler, frames, ~np.isnan(frames))
    np.testing.assert_allclose(series_to_frames(scaled), expected, rtol=1e-4, atol=1e-5)


def test_the_channels_become_the_columns_of_the_scaler() -> None:
    rows: list[np.ndarray] = []

    class Recorder(MinMaxScaler):
        partial_fit = property()  # as if it had none

        def fit(self, X: np.ndarray, y: None = None) -> Any:
            rows.append(X)
            return self

    frames = np.arange(2 * 2 * 3 * 5 * 4.0).reshape(2, 2, 3, 5, 4)
    GridScaler(Recorder()).fit(make_series(frames, layout="TCHWS", mask=MASK, dtype=None))
    (array,) = rows
    assert array.shape == (2 * 4 * MASK.sum(), 2)
    for c in range(2):
        np.testing.assert_array_equal(sorted(array[:, c]), sorted(frames[:, c][:, MASK].ravel()))


def test_the_given_scaler_is_neither_fitted_nor_are_its_statistics_used() -> None:
    given = MinMaxScaler().fit([[-1e6, -1e6], [1e6, 1e6]])
    scaled = GridScaler(given).fit_transform(make_series())
    assert values(scaled) == pytest.approx(values(GridScaler().fit_transform(make_series())))
    assert given.data_max_.tolist() == [1e6, 1e6]


def test_fitting_again_forgets_the_first_fit() -> None:
    scaler = GridScaler(StandardScaler()).fit(make_series(1000 * make_frames()))
    again = scaler.fit(make_series()).transform(make_series())
    once = GridScaler(StandardScaler()).fit_transform(make_series())
    np.testing.assert_array_equal(values(again), values(once))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_samples", [1, 4])
@pytest.mark.parametrize(
    "scaler",
    [None, *(s() for s in ORACLES), QuantileTransformer(n_quantiles=5)],
    ids=lambda scaler: type(scaler).__name__,
)
def test_without_a_grid_it_equals_darts_own_scaler(scaler: Any, n_samples: int, dtype: Any) -> None:
    series = make_plain_series(n_samples, dtype)
    values(series)[2, 1] = np.nan
    one_cell = series.with_metadata({"grid": Grid(3, 1, 1).to_metadata()})
    darts_scaler = Scaler(scaler)
    expected = darts_scaler.fit_transform(series)
    for each in (series, one_cell):
        grid_scaler = GridScaler(scaler)
        scaled = grid_scaler.fit_transform(each)
        assert scaled.dtype == dtype
        rounding = {"rtol": 0, "atol": 100 * np.finfo(dtype).eps}
        np.testing.assert_allclose(values(scaled), values(expected), **rounding)
        np.testing.assert_allclose(
            values(grid_scaler.inverse_transform(expected)),
            values(darts_scaler.inverse_transform(expected)),
            **rounding,
        )


# --- round trips --------------------------------------------------------------------------------


@st.composite
def series_of_any_kind(draw: st.DrawFn) -> TimeSeries:
    """Draw series of odd shapes with gaps, masks and samples; each channel has a value."""
    t, c, h, w, s = (draw(st.integers(1, most)) for most in (4, 3, 4, 5, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scales = 10.0 ** rng.integers(-3, 4, (c, 1, 1, 1))
    frames = (rng.normal(size=(t, c, h, w, s)) + rng.integers(-3, 4, (c, 1, 1, 1))) * scales
    frames[rng.random(frames.shape) < draw(st.sampled_from([0.0, 0.3, 0.9]))] = np.nan
    mask = rng.random((h, w)) < 0.6 if draw(st.booleans()) else None
    if mask is not None:
        mask[0, -1] = True
    frames[rng.integers(t), :, 0, -1, 0] = draw(st.sampled_from([0.0, 2.5]))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    series = frames_to_series(frames, layout="TCHWS", mask=mask, dtype=dtype)
    assert isinstance(series, TimeSeries)
    return series


@settings(max_examples=150, deadline=None)
@given(series_of_any_kind(), st.sampled_from(list(ORACLES)))
def test_scaling_back_restores_the_series(series: TimeSeries, scaler: type) -> None:
    grid_scaler = GridScaler(scaler())
    before = values(series).copy()
    scaled = grid_scaler.fit_transform(series)
    restored = grid_scaler.inverse_transform(scaled)
    np.testing.assert_array_equal(values(series), before)  # the series itself is left alone
    np.testing.assert_array_equal(np.isnan(values(scaled)), np.isnan(before))
    assert restored.dtype == scaled.dtype == series.dtype
    frames = series_to_frames(series)
    largest = np.nanmax(abs(frames), axis=(0, 2, 3, 4) if frames.ndim == 5 else (0, 2, 3))
    error = abs(series_to_frames(restored) - frames).swapaxes(0, 1).reshape(len(largest), -1)
    assert (np.nan_to_num(error) <= 50 * np.finfo(series.dtype).eps * largest[:, None]).all()


def test_what_a_series_carries_survives() -> None:
    grid = Grid(2, HEIGHT, WIDTH, NAMES)
    series = make_series(
        start="2024-01-01",
        freq="30min",
        coordinates={"lat": [10.0, 20.0, 30.0], "lon": np.arange(5.0)},
        mask=MASK,
        metadata={"station": "north"},
    )
    table = pd.DataFrame({"height": np.arange(series.n_components)}, index=series.components)
    series = series.with_static_covariates(table).with_hierarchy(
        {name: ["rain_0_0"] for name in series.components[1:]}
    )
    scaler = GridScaler()
    scaled = scaler.fit_transform(series)
    for each in (scaled, scaler.inverse_transform(scaled)):
        assert each.components.to_list() == grid.component_names
        assert each.metadata == series.metadata
        assert each.hierarchy == series.hierarchy
        assert each.time_index.equals(series.time_index)
        assert each.freq == series.freq
        assert each.dtype == np.float32
        pd.testing.assert_frame_equal(each.static_covariates, series.static_covariates)


# --- which series go together -------------------------------------------------------------------


def test_another_grid_of_the_same_channels_is_scaled_alike() -> None:
    frames = make_frames()
    scaler = GridScaler().fit(make_series(frames))
    larger = make_series(np.tile(frames[:2], (1, 1, 3, 2)), mask=np.tile(MASK, (3, 2)))
    expected = np.tile(series_to_frames(scaler.transform(make_series(frames)))[:2], (1, 1, 3, 2))
    scaled = scaler.transform(larger)
    visible = np.tile(MASK, (3, 2))
    np.testing.assert_array_equal(series_to_frames(scaled)[..., visible], expected[..., visible])
    restored = scaler.inverse_transform(scaled)
    np.testing.assert_allclose(values(restored), values(larger), rtol=1e-5)


def test_each_series_has_its_own_statistics_unless_the_fit_is_global() -> None:
    batch = [make_series(), make_series(2.0 * make_frames(7, seed=1))]
    own = GridScaler().fit_transform(batch)
    for series, scaled in zip(batch, own, strict=True):
        np.testing.assert_array_equal(values(scaled), values(GridScaler().fit_transform(series)))
    shared = GridScaler(global_fit=True).fit(batch)
    frames = np.concatenate([series_to_frames(series) for series in batch])
    by_hand = scale_by_hand(MinMaxScaler, frames, np.isfinite(frames))
    for series, start, stop in ((batch[0], 0, LENGTH), (batch[1], LENGTH, LENGTH + 7)):
        scaled = shared.transform(series)  # any series, in any order
        np.testing.assert_allclose(series_to_frames(scaled), by_hand[start:stop], atol=2e-6)


def test_a_global_fit_joins_series_on_different_grids_and_with_different_channels_missing() -> None:
    frames, other = make_frames(), make_frames(4, seed=1)[..., :2]
    frames[:, 0] = np.nan
    scaler = GridScaler(global_fit=True).fit([make_series(frames), make_series(other)])
    low, high = other[:, 0].min(), other[:, 0].max()
    scaled = series_to_frames(scaler.transform(make_series(other)))
    np.testing.assert_allclose(scaled[:, 0], (other[:, 0] - low) / (high - low), atol=1e-6)
    both = np.concatenate([frames[:, 1].ravel(), other[:, 1].ravel()])
    expected = (other[:, 1] - both.min()) / np.ptp(both)
    np.testing.assert_allclose(scaled[:, 1], expected, atol=2e-6)


def test_a_series_is_scaled_with_the_statistics_that_series_idx_names() -> None:
    batch = [make_series(), make_series(2.0 * make_frames(7, seed=1))]
    scaler = GridScaler().fit(batch)
    second = scaler.transform(batch[1], series_idx=1)
    np.testing.assert_array_equal(values(second), values(scaler.transform(batch)[1]))
    np.testing.assert_allclose(
        values(scaler.inverse_transform(second, series_idx=1)), values(batch[1]), rtol=1e-5
    )
    nested = scaler.inverse_transform([[], [second, second]])
    assert [len(forecasts) for forecasts in nested] == [0, 2]
    np.testing.assert_allclose(values(nested[1][1]), values(batch[1]), rtol=1e-5)


def test_columns_name_the_channels_to_scale() -> None:
    frames = make_frames()
    for columns in ("heat", ["heat"]):
        scaler = GridScaler(columns=columns)
        scaled = scaler.fit_transform(make_series(frames))
        expected = series_to_frames(GridScaler().fit_transform(make_series(frames)))
        np.testing.assert_array_equal(series_to_frames(scaled)[:, 0], frames[:, 0])
        np.testing.assert_array_equal(series_to_frames(scaled)[:, 1], expected[:, 1])
        restored = scaler.inverse_transform(scaled)
        np.testing.assert_allclose(series_to_frames(restored), frames, rtol=1e-5)


def test_columns_name_components_where_there_is_no_grid() -> None:
    series = make_plain_series(n_samples=2)
    for columns in ("b", ["c", "a"]):
        scaled = GridScaler(columns=columns).fit_transform(series)
        expected = Scaler(columns=columns).fit_transform(series)
        np.testing.assert_array_equal(values(scaled), values(expected))


def test_components_without_a_grid_may_have_other_names_as_in_darts() -> None:
    series = make_plain_series()
    renamed = series.with_columns_renamed(["a", "b", "c"], ["x", "y", "z"])
    scaled = GridScaler().fit(series).transform(renamed)
    np.testing.assert_array_equal(values(scaled), values(Scaler().fit_transform(series)))


def test_samples_are_scaled_one_by_one_and_with_common_statistics() -> None:
    frames = np.stack([make_frames(seed=seed) for seed in range(3)], axis=-1)
    series = make_series(frames, layout="TCHWS")
    scaler = GridScaler(StandardScaler()).fit(series)
    scaled = scaler.transform(series)
    joint = scale_by_hand(StandardScaler, frames, np.isfinite(frames))
    np.testing.assert_allclose(series_to_frames(scaled), joint, rtol=1e-4, atol=1e-5)
    for s in range(3):
        alone = make_series(np.ascontiguousarray(series_to_frames(scaled)[..., s]))
        np.testing.assert_array_equal(
            values(scaler.inverse_transform(scaled))[..., s],
            values(scaler.inverse_transform(alone))[..., 0],
        )


def test_several_series_at_once_give_the_same() -> None:
    batch = [make_series(seed=seed) for seed in range(3)]
    alone = GridScaler().fit_transform(batch)
    with joblib.parallel_config(backend="threading"):
        scaler = GridScaler(n_jobs=2)
        scaled = scaler.fit_transform(batch)
        restored = scaler.inverse_transform(scaled)
    for i in range(3):
        np.testing.assert_array_equal(values(scaled[i]), values(alone[i]))
        np.testing.assert_allclose(values(restored[i]), values(batch[i]), rtol=1e-5)


# --- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("scaler", [MinMaxScaler, Normalizer(), "minmax"])
def test_a_scaler_needs_the_three_methods(scaler: Any) -> None:
    with pytest.raises(TypeError, match=r"`scaler` must be an object with fit, transform, inverse"):
        GridScaler(scaler)


@pytest.mark.parametrize(
    ("series", "message"),
    [
        (
            frames_to_series(np.ones((2, 3, 4, 5))),
            r"expected 2 \('rain', 'heat'\), got 3 \('channel_0', 'channel_1', 'channel_2'\)",
        ),
        (make_series(channel_names=["heat", "rain"]), r"got 2 \('heat', 'rain'\); give"),
        (make_series().with_metadata({}), r"expected 2 .*, got 30 \('rain_0_0', .*, \.\.\.\)"),
        (make_series()[["rain_0_0", "heat_0_0"]], "`series` has 2 components, but"),
    ],
    ids=["number", "names", "no grid", "selected cells"],
)
def test_other_channels_are_refused(series: TimeSeries, message: str) -> None:
    scaler = GridScaler(global_fit=True).fit([make_series(), make_series(seed=1)])
    for use in (scaler.transform, scaler.inverse_transform):
        with pytest.raises(ValueError, match=message):
            use(series)
    with pytest.raises(ValueError, match=message):
        GridScaler(global_fit=True).fit([make_series(), series])


def test_likelihood_parameters_are_refused_and_single_quantiles_scaled() -> None:
    scaler = GridScaler()
    series = scaler.fit_transform(make_series(length=24))
    poisson, quantiles = (
        LinearRegressionModel(lags=2, likelihood=name, quantiles=given).fit(series)
        for name, given in (("poisson", None), ("quantile", [0.1, 0.5, 0.9]))
    )
    for model, name in ((poisson, "lambda"), (quantiles, "q0.100")):
        parameters = model.predict(1, predict_likelihood_parameters=True)
        assert parameters.components[0].startswith("rain_0_0_")
        with pytest.raises(ValueError, match=f"likelihood parameters .* 'rain_0_0_{name}"):
            scaler.inverse_transform(parameters)
    samples = quantiles.predict(1, num_samples=5)
    median = scaler.inverse_transform(samples).quantile(0.5)
    np.testing.assert_allclose(
        values(scaler.inverse_transform(samples.quantile(0.5))), values(median), rtol=1e-5
    )


@pytest.mark.parametrize("columns", [["wind", "heat"], "rain_0_0", []])
def test_columns_must_name_channels(columns: Any) -> None:
    with pytest.raises(ValueError, match=r"`columns` must .*; its channels are 'rain', 'heat'"):
        GridScaler(columns=columns).fit(make_series())


def test_component_masks_are_refused() -> None:
    scaler, series = GridScaler().fit(make_series()), make_series()
    mask = np.arange(series.n_components) < HEIGHT * WIDTH
    for use in (scaler.fit, scaler.transform, scaler.fit_transform, scaler.inverse_transform):
        with pytest.raises(ValueError, match=r"select channels with `GridScaler\(columns"):
            use(series, component_mask=mask)


@pytest.mark.parametrize("scaler", ORACLES)
def test_a_channel_without_a_value_cannot_be_fitted(scaler: type) -> None:
    missing = make_frames()
    missing[:, 1] = np.nan
    hidden = missing.copy()
    hidden[..., ~MASK] = 1.0
    for series in (make_series(missing), make_series(hidden, mask=MASK)):
        with pytest.raises(ValueError, match="no observed value in channel 'heat'"):
            GridScaler(scaler()).fit(series)
    empty = make_series()[:0]
    with pytest.raises(ValueError, match="no observed value in channel 'rain'"):
        GridScaler(scaler()).fit(empty)
    assert len(GridScaler(scaler()).fit(make_series()).transform(empty)) == 0


def test_darts_own_errors_are_kept() -> None:
    with pytest.raises(ValueError, match="fit"):
        GridScaler().transform(make_series())
    with pytest.raises(ValueError, match="fit"):
        GridScaler().inverse_transform(make_series())
    with pytest.raises(ValueError, match="2 TimeSeries were provided but only 1"):
        GridScaler().fit(make_series()).transform([make_series()] * 2)


# --- memory -------------------------------------------------------------------------------------


@pytest.fixture
def mapped(tmp_path: Path) -> TimeSeries:
    """Return a series mapped from a file of 78 MiB."""
    array = np.memmap(tmp_path / "frames.dat", np.float32, "w+", shape=(2000, 2, 64, 80))
    for t in range(0, 2000, 100):
        array[t : t + 100] = np.arange(t, t + 100)[:, None, None, None]
    series = make_series(array)
    assert isinstance(values(series), np.memmap)
    return series


@pytest.mark.parametrize("scaler", INCREMENTAL)
def test_fitting_holds_a_fraction_of_a_memory_mapped_series(
    scaler: type, mapped: TimeSeries
) -> None:
    tracemalloc.start()
    try:
        grid_scaler = GridScaler(scaler()).fit(mapped)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < values(mapped).nbytes / 4
    centre, spread = ORACLES[scaler](np.arange(2000.0))
    last = values(grid_scaler.transform(mapped[-1:]))
    np.testing.assert_allclose(last, (1999 - centre) / spread, rtol=1e-5)


def test_a_scaled_memory_map_lies_in_memory_and_the_file_is_left_alone(mapped: TimeSeries) -> None:
    scaler = GridScaler()
    scaled = scaler.fit_transform(mapped)
    for series in (scaled, scaler.inverse_transform(scaled)):
        assert type(values(series)) is np.ndarray
    assert values(mapped).max() == 1999.0


# --- Darts' workflows ---------------------------------------------------------------------------


def make_model() -> MIMModel:
    trainer = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
    return MIMModel(
        4,
        3,
        hidden_channels=(4, 3),
        kernel_size=3,
        patch_size=2,
        n_epochs=1,
        random_state=0,
        pl_trainer_kwargs=trainer,
    )


@pytest.fixture(scope="module")
def batch() -> list[TimeSeries]:
    return [make_series(), make_series(2.0 * make_frames(9, seed=1))]


def test_historical_forecasts_scale_and_scale_back(batch: list[TimeSeries]) -> None:
    scaler = GridScaler(StandardScaler(), global_fit=True)
    scaled = scaler.fit_transform(batch)
    model = make_model().fit(scaled)
    options = {"forecast_horizon": 3, "retrain": False, "last_points_only": False}
    for transformer in (scaler, Pipeline([scaler])):
        forecasts = model.historical_forecasts(
            batch, data_transformers={"series": transformer}, **options
        )
        expected = scaler.inverse_transform(model.historical_forecasts(scaled, **options))
        assert [len(each) for each in forecasts] == [5, 3]
        for i, each in enumerate(forecasts):
            for forecast, by_hand in zip(each, expected[i], strict=True):
                assert Grid.from_series(forecast) == Grid.from_series(batch[i])
                np.testing.assert_allclose(values(forecast), values(by_hand), rtol=1e-5)
    errors = model.backtest(
        batch, data_transformers={"series": scaler}, metric=mae, reduction=None, **options
    )
    for series, got, each in zip(batch, errors, forecasts, strict=True):
        np.testing.assert_allclose(got, [mae(series, forecast) for forecast in each], rtol=1e-6)


def test_a_pipeline_is_fitted_anew_where_the_model_is_retrained(batch: list[TimeSeries]) -> None:
    series = batch[0]
    pipeline = Pipeline([InvertibleMapper(np.log1p, np.expm1), GridScaler(global_fit=True)])
    forecasts = make_model().historical_forecasts(
        series,
        data_transformers={"series": pipeline},
        start=-3,
        start_format="position",
        forecast_horizon=2,
        retrain=True,
        last_points_only=False,
    )
    assert len(forecasts) == 2
    known = series[: LENGTH - 3]
    assert forecasts[0].start_time() == known.end_time() + known.freq
    scaled = pipeline.fit_transform([known])
    by_hand = pipeline.inverse_transform(make_model().fit(scaled).predict(2, series=scaled))
    np.testing.assert_allclose(values(forecasts[0]), values(by_hand[0]), rtol=1e-5)
    assert Grid.from_series(forecasts[0]) == Grid.from_series(series)


def test_stochastic_forecasts_are_scaled_back_sample_by_sample() -> None:
    series = make_series(length=24)
    scaler = GridScaler(StandardScaler())
    scaled = scaler.fit_transform(series)
    model = LinearRegressionModel(lags=2, likelihood="quantile", quantiles=[0.1, 0.5, 0.9])
    samples = model.fit(scaled).predict(3, num_samples=4)
    restored = scaler.inverse_transform(samples)
    assert restored.n_samples == 4
    for s in range(4):
        alone = samples.with_values(values(samples)[..., s : s + 1])
        np.testing.assert_array_equal(
            values(restored)[..., s : s + 1], values(scaler.inverse_transform(alone))
        )


def test_a_fitted_scaler_can_be_pickled() -> None:
    frames = make_frames()
    frames[:4, 0] = np.nan
    series = make_series(frames, mask=MASK)
    scaler = GridScaler(StandardScaler(), name="weather", columns="rain").fit(series)
    loaded = pickle.loads(pickle.dumps(scaler))
    assert loaded.name == "weather"
    np.testing.assert_array_equal(
        values(loaded.transform(series)), values(scaler.transform(series))
    )


def test_darts_own_scaler_keeps_the_grid_and_scales_each_cell() -> None:
    series = make_series(mask=MASK, metadata={"station": "north"})
    scaler = Scaler()
    scaled = scaler.fit_transform(series)
    assert Grid.from_series(scaled) == Grid.from_series(series)
    assert scaled.metadata == series.metadata
    assert (values(scaled).min(axis=0) == 0).all()  # every cell, unlike above
    np.testing.assert_allclose(values(scaler.inverse_transform(scaled)), values(series), rtol=1e-5)
