"""Transforms: scaling by channel against NumPy and Darts' own scaler, and hidden cells."""

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
from darts.ad.scorers import KMeansScorer, NormScorer
from darts.dataprocessing import Pipeline
from darts.dataprocessing.transformers import InvertibleMapper, Scaler
from darts.metrics import mae
from darts.models import LinearRegressionModel, RegressionEnsembleModel
from darts.utils.likelihood_models.base import likelihood_component_names
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

from darts_mim import Grid, GridScaler, drop_hidden, frames_to_series, restore_hidden
from darts_mim.grid import grid_of
from darts_mim.series import rebuild_series, series_to_frames

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


def make_frames(length: int = LENGTH, seed: int = 0) -> np.ndarray:
    """Return frames of two channels on very different scales."""
    rng = np.random.default_rng(seed)
    shape = (length, 2, HEIGHT, WIDTH)
    return rng.normal([[[0.5]], [[290.0]]], [[[0.2]], [[15.0]]], shape).astype(np.float32)


def make_series(frames: np.ndarray | None = None, *, seed: int = 0, **options: Any) -> TimeSeries:
    frames = make_frames(seed=seed) if frames is None else frames
    series = frames_to_series(frames, **{"channel_names": NAMES, **options})
    assert isinstance(series, TimeSeries)
    return series


def make_hidden(seed: int = 0) -> TimeSeries:
    frames = make_frames(seed=seed)
    frames[..., ~MASK] = np.nan
    return make_series(frames, mask=MASK, start="2024", freq="h", metadata={"station": "north"})


def values(series: TimeSeries) -> np.ndarray:
    return series.all_values(copy=False)


def scale_by_hand(scaler: type, frames: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Scale frames (T, C, H, W) with statistics over what is seen of each channel."""
    expected = frames.copy()
    for c in range(frames.shape[1]):
        centre, spread = ORACLES[scaler](frames[:, c][seen[:, c]].astype(np.float64))
        expected[:, c] = (frames[:, c] - centre) / spread
    return expected


# --- statistics ---------------------------------------------------------------------------------


@pytest.mark.parametrize("stretch", [2**20, 2 * HEIGHT * WIDTH + 1])
@pytest.mark.parametrize("scaler", ORACLES)
def test_statistics_are_those_of_the_known_values_of_a_channel(
    scaler: type, stretch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("darts_mim.transforms._STRETCH", stretch)
    frames = make_frames()
    frames[np.random.default_rng(1).random(frames.shape) < 0.2] = np.nan
    frames[4:9, 1] = np.nan  # longer than a stretch
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


def test_samples_are_scaled_one_by_one_and_with_common_statistics() -> None:
    frames = np.stack([make_frames(seed=seed) for seed in range(3)], axis=-1).astype(np.float64)
    frames[2, 1, 0, 0, 1] = np.nan
    series = make_series(frames, layout="TCHWS", dtype=np.float64)
    scaler = GridScaler(StandardScaler())
    scaled = scaler.fit_transform(series)
    assert scaled.dtype == scaler.inverse_transform(scaled).dtype == np.float64
    np.testing.assert_array_equal(series_to_frames(series), frames)  # it is left alone
    joint = scale_by_hand(StandardScaler, frames, np.isfinite(frames))
    np.testing.assert_allclose(series_to_frames(scaled), joint, rtol=1e-9)
    one = make_series(series_to_frames(scaled)[..., 1].copy(), dtype=np.float64)
    back = values(scaler.inverse_transform(scaled))[..., 1]
    np.testing.assert_array_equal(back, values(scaler.inverse_transform(one))[..., 0])


def test_neither_an_earlier_fit_of_the_scaler_nor_of_its_copies_matters() -> None:
    given = MinMaxScaler().fit([[-1e6], [1e6]])
    scaler = GridScaler(given).fit(make_series(1000 * make_frames()))
    again = scaler.fit(make_series()).transform(make_series())
    np.testing.assert_array_equal(values(again), values(GridScaler().fit_transform(make_series())))
    assert given.data_max_.tolist() == [1e6]


@pytest.mark.parametrize("scaler", [None, *(s() for s in ORACLES)], ids=str)
def test_without_a_grid_it_equals_darts_own_scaler(scaler: Any) -> None:
    array = np.random.default_rng(0).normal([[[0.5]] * 3], [[[0.2], [15.0], [1.0]]], (9, 3, 4))
    array[2, 1] = np.nan
    series = TimeSeries.from_values(array, columns=["a", "b", "c"])
    one_cell = series.with_metadata({"grid": Grid(3, 1, 1).to_metadata()})
    expected = values(Scaler(scaler).fit_transform(series))
    for each in (series, one_cell):
        grid_scaler = GridScaler(scaler)
        scaled = grid_scaler.fit_transform(each)
        np.testing.assert_allclose(values(scaled), expected, rtol=0, atol=1e-12)
        np.testing.assert_allclose(values(grid_scaler.inverse_transform(scaled)), array)
    renamed = series.with_columns_renamed(["a", "b", "c"], ["x", "y", "z"])
    np.testing.assert_allclose(values(grid_scaler.fit(series).transform(renamed)), expected)
    for columns in ("b", ["c", "a"]):
        both = [
            kind(scaler, columns=columns).fit_transform(series) for kind in (GridScaler, Scaler)
        ]
        np.testing.assert_allclose(*map(values, both), rtol=0, atol=1e-12)


# --- round trips --------------------------------------------------------------------------------


def test_what_a_series_carries_survives_and_a_fitted_scaler_can_be_pickled() -> None:
    series = make_hidden()
    table = pd.DataFrame({"height": np.arange(series.n_components)}, index=series.components)
    hierarchy = {name: ["rain_0_0"] for name in series.components[1:]}
    series = series.with_static_covariates(table).with_hierarchy(hierarchy)
    scaler = GridScaler(StandardScaler(), columns="heat").fit(series)
    scaled = pickle.loads(pickle.dumps(scaler)).transform(series)
    assert not np.array_equal(values(scaled), values(series))
    for each in (scaled, scaler.inverse_transform(scaled)):
        assert rebuild_series(each, values=values(series)) == series
        assert each.metadata == series.metadata


# --- which series go together -------------------------------------------------------------------


def test_series_share_their_statistics_unless_each_is_to_have_its_own() -> None:
    frames, other = make_frames(), 2.0 * make_frames(7, seed=1)[..., :2]
    frames[:, 0] = np.nan  # in the global fit alone
    batch = [make_series(), make_series(other)]
    scaler = GridScaler(global_fit=False)
    own = scaler.fit_transform(batch)
    np.testing.assert_array_equal(
        values(own[1]), values(GridScaler().fit_transform(make_series(other)))
    )
    np.testing.assert_array_equal(values(scaler.transform(batch[1], series_idx=1)), values(own[1]))
    with joblib.parallel_config(backend="threading"):
        parallel = GridScaler(global_fit=False, n_jobs=2).fit_transform(batch)
    np.testing.assert_array_equal(values(parallel[1]), values(own[1]))
    shared = GridScaler().fit([make_series(frames), batch[1]])
    scaled = series_to_frames(shared.transform(batch[1]))
    for c, known in enumerate([other[:, 0].ravel(), np.append(frames[:, 1], other[:, 1])]):
        by_hand = (other[:, c] - known.min()) / np.ptp(known)
        np.testing.assert_allclose(scaled[:, c], by_hand, atol=2e-6)


def test_columns_name_the_channels_to_scale() -> None:
    series, scaler = make_series(), GridScaler(columns="heat")
    scaled = scaler.fit_transform(series)
    expected = series_to_frames(GridScaler().fit_transform(series))
    expected[:, 0] = make_frames()[:, 0]
    np.testing.assert_array_equal(series_to_frames(scaled), expected)
    np.testing.assert_allclose(values(scaler.inverse_transform(scaled)), values(series), rtol=1e-5)


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("series", "message"),
    [
        (frames_to_series(np.ones((2, 3, 4, 5))), r"\('rain', 'heat'\), got \('channel_0', 'ch"),
        (make_series(channel_names=["heat", "rain"]), r"got \('heat', 'rain'\); give"),
        (make_series().with_metadata({}), r"expected \('rain', 'heat'\), got \('rain_0_0', "),
        (make_series()[["rain_0_0", "heat_0_0"]], "`series` has 2 components, but"),
    ],
    ids=["number", "names", "no grid", "selected cells"],
)
def test_other_channels_are_refused(series: TimeSeries, message: str) -> None:
    scaler = GridScaler()
    with pytest.raises(ValueError, match=message):
        scaler.fit([make_series(), series])
    with pytest.raises(ValueError, match=message):
        scaler.fit([make_series()]).inverse_transform(series)


@pytest.mark.parametrize("names", [["q0.500"], ["q0.100", "q0.500", "q0.900"], ["lambda"]])
def test_quantiles_are_scaled_back_and_other_parameters_refused(names: list[str]) -> None:
    series = make_series()
    scaler = GridScaler().fit(series)
    quantiles = np.stack([series.values() + k for k in range(len(names))], axis=2)
    forecast = rebuild_series(
        series,
        values=quantiles.reshape(len(series), -1, 1),
        components=likelihood_component_names(series.components, names),
    )
    if names == ["lambda"]:
        with pytest.raises(ValueError, match=r"likelihood parameters.* 'rain_0_0_lambda'"):
            scaler.inverse_transform(forecast)
        return
    back = scaler.inverse_transform(forecast).values().reshape(quantiles.shape)
    for k in range(len(names)):
        expected = scaler.inverse_transform(rebuild_series(series, values=quantiles[..., [k]]))
        np.testing.assert_allclose(back[..., k], expected.values(), rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"scaler": MinMaxScaler}, TypeError),
        ({"scaler": "minmax"}, TypeError),
        ({"columns": ["wind", "heat"]}, ValueError),
        ({"columns": []}, ValueError),
    ],
)
def test_arguments_that_cannot_be_are_refused_by_name(arguments: Any, error: type) -> None:
    with pytest.raises(error, match=f"`{next(iter(arguments))}` must"):
        GridScaler(**arguments).fit(make_series())


def test_component_masks_are_refused() -> None:
    series = make_series()
    with pytest.raises(ValueError, match=r"select channels with `GridScaler\(columns"):
        GridScaler().fit(series).transform(series, component_mask=np.ones(series.n_components))


@pytest.mark.parametrize("scaler", [StandardScaler, RobustScaler])
def test_a_channel_without_a_value_or_with_an_infinite_one_cannot_be_fitted(scaler: type) -> None:
    missing = make_frames()
    missing[:, 1] = np.nan
    hidden = missing.copy()
    hidden[..., ~MASK] = 1.0
    grid_scaler = GridScaler(scaler())
    for series in (make_series(missing), make_series(hidden, mask=MASK)):
        with pytest.raises(ValueError, match="no observed value in channel 'heat'"):
            grid_scaler.fit(series)
    infinite = make_frames()
    infinite[3, 1, 0, 0] = -np.inf
    for use in (grid_scaler.fit, grid_scaler.fit(make_series()).transform):
        with pytest.raises(ValueError, match=r"`series` must be finite .* channel 'heat'; write"):
            use(make_series(infinite))


# --- memory -------------------------------------------------------------------------------------


@pytest.mark.parametrize("scaler", [MinMaxScaler, StandardScaler])
def test_fitting_holds_a_fraction_of_a_memory_mapped_series(scaler: type, tmp_path: Path) -> None:
    array = np.memmap(tmp_path / "frames.dat", np.float32, "w+", shape=(1000, 2, 64, 80))
    array[:] = np.arange(1000)[:, None, None, None]
    series = make_series(array)
    tracemalloc.start()
    try:
        grid_scaler = GridScaler(scaler()).fit(series)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < array.nbytes / 2
    centre, spread = ORACLES[scaler](np.arange(1000.0))
    last = grid_scaler.transform(series[-1:])
    np.testing.assert_allclose(values(last), (999 - centre) / spread, rtol=1e-5)
    assert type(values(last)) is np.ndarray


# --- Darts' workflows ---------------------------------------------------------------------------


def test_forecasts_are_scaled_back_and_a_pipeline_is_fitted_anew_for_each() -> None:
    series = make_series()
    pipeline = Pipeline([InvertibleMapper(np.log1p, np.expm1), GridScaler()])
    model = LinearRegressionModel(lags=2)
    options = {"start": -3, "start_format": "position", "forecast_horizon": 2}
    options |= {"data_transformers": {"series": pipeline}, "last_points_only": False}
    forecasts = model.historical_forecasts(series, retrain=True, **options)
    assert len(forecasts) == 2
    scaled = pipeline.fit_transform([series[: LENGTH - 3]])
    by_hand = pipeline.inverse_transform(model.fit(scaled).predict(2, series=scaled))
    np.testing.assert_allclose(values(forecasts[0]), values(by_hand[0]), rtol=1e-5)
    assert Grid.from_series(forecasts[0]) == Grid.from_series(series)
    errors = model.backtest(series, retrain=False, metric=mae, reduction=None, **options)
    assert len(errors) == 2


# --- hidden cells -------------------------------------------------------------------------------


def test_hidden_cells_are_dropped_and_put_back() -> None:
    series = make_hidden()
    table = pd.DataFrame({"height": np.arange(series.n_components)}, index=series.components)
    dropped = drop_hidden(series.with_static_covariates(table))
    visible = [f"{c}_{h}_{w}" for c in NAMES for h, w in np.argwhere(MASK)]
    assert dropped.components.tolist() == dropped.static_covariates.index.tolist() == visible
    np.testing.assert_array_equal(values(dropped), values(series[visible]))
    assert Grid.from_series(dropped) is None
    back = restore_hidden(dropped, grid_of(series))
    assert (back, back.metadata) == (series, series.metadata)
    samples, grid = make_series(np.stack([make_frames()] * 3, -1), layout="TCHWS"), grid_of(series)
    restored = series_to_frames(restore_hidden(drop_hidden(samples, grid), grid))
    assert restored.shape == (LENGTH, 2, HEIGHT, WIDTH, 3)
    assert np.isnan(restored[:, :, ~MASK]).all()
    np.testing.assert_array_equal(restored[:, :, MASK, 2], make_frames()[:, :, MASK])
    np.testing.assert_array_equal(values(drop_hidden(samples)), values(samples))  # no mask


def test_scorers_and_ensembles_of_scikit_learn_take_what_is_left() -> None:
    series, forecast = make_hidden(), make_hidden(seed=1)
    pair = drop_hidden(series), drop_hidden(forecast)
    scores = NormScorer(component_wise=True).score_from_prediction(*pair)
    errors = abs(series_to_frames(series) - series_to_frames(forecast))
    np.testing.assert_allclose(series_to_frames(restore_hidden(scores, grid_of(series))), errors)
    assert np.isfinite(KMeansScorer(k=2).fit(pair[0]).score(pair[1]).values()).all()
    ensemble = RegressionEnsembleModel(
        [LinearRegressionModel(lags=lags) for lags in (1, 2)], regression_train_n_points=4
    )
    predicted = ensemble.fit(pair[0]).predict(2)
    frames = series_to_frames(restore_hidden(predicted, grid_of(series)))
    assert (np.isnan(frames) == ~MASK).all()


def test_series_of_other_components_are_refused() -> None:
    series, grid = make_hidden(), grid_of(make_hidden())
    with pytest.raises(ValueError, match=r"`series` must have the 30 components .* got 1"):
        drop_hidden(series["rain_0_0"].with_metadata(None), grid)
    with pytest.raises(ValueError, match=r"`series` must .* 22 observed .* got 30; .*component_w"):
        restore_hidden(series, grid)
