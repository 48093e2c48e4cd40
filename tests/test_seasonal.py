"""Seasonal anomalies, and maps that calm the variance of counts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries
from darts.dataprocessing import Pipeline
from darts.utils.likelihood_models import (
    GaussianLikelihood,
    LaplaceLikelihood,
    PoissonLikelihood,
    QuantileRegression,
)

from darts_mim import (
    ConvLSTMModel,
    GridScaler,
    SeasonalAnomalies,
    frame_mse,
    frames_to_series,
    series_to_frames,
    variance_stabiliser,
)

RNG = np.random.default_rng(0)
HOURS = {"start": "2026-01-05", "freq": "h"}  # a Monday


def flow(t: int = 21 * 24, c: int = 2, h: int = 3, w: int = 4, **options: object) -> TimeSeries:
    values = RNG.gamma(2.0, 10.0, size=(t, c, h, w)).astype(np.float32)
    return frames_to_series(values, **{**HOURS, **options})


@pytest.mark.parametrize(
    ("by", "slots", "options"),
    [
        ("time_of_day", lambda t: t.hour, HOURS),
        ("time_of_week", lambda t: t.dayofweek * 24 + t.hour, HOURS),
        ("month", lambda t: t.month, {"start": "2018-01-01", "freq": "MS"}),
        ("day_of_year", lambda t: t.strftime("%m%d"), {"start": "2018-01-01", "freq": "D"}),
    ],
)
@pytest.mark.parametrize("divide", [False, True])
def test_anomalies_are_those_of_a_group_by_of_pandas(by, slots, options, divide) -> None:
    series = flow(2 * 365 + 20, **options)
    frame = series.to_dataframe()
    groups = frame.groupby(slots(frame.index))
    expected = frame - groups.transform("mean")
    if divide:
        expected /= groups.transform("std", ddof=0).where(groups.transform("count") > 1, 1.0)
    transformer = SeasonalAnomalies(by, divide=divide)
    got = transformer.fit_transform(series)
    np.testing.assert_allclose(got.values(), expected, atol=2e-4)
    assert got.dtype == np.float32
    assert got.metadata == series.metadata
    back = transformer.inverse_transform(got)
    np.testing.assert_allclose(back.values(), series.values(), rtol=1e-4, atol=1e-4)


def test_a_leap_day_counts_as_the_day_before() -> None:
    series = flow(365, start="2025-01-01", freq="D")
    leap = flow(3, start="2028-02-28", freq="D")
    fitted = SeasonalAnomalies("day_of_year").fit(series)
    left = leap.values() - fitted.transform(leap).values()
    np.testing.assert_allclose(left[0], left[1], rtol=1e-5)
    assert not np.allclose(left[1], left[2])


def test_gaps_and_hidden_cells_do_not_enter_the_means() -> None:
    frames = np.ones((48, 1, 2, 3), dtype=np.float32)
    frames[24:] = 3.0
    frames[5, 0, 0, 0] = np.nan
    frames[7::24, 0, 1, 1] = np.nan  # never observed at 07:00
    frames[:, 0, 1, 2] = -99.0
    mask = np.ones((2, 3), dtype=bool)
    mask[1, 2] = False
    series = frames_to_series(frames, mask=mask, **HOURS)
    transformer = SeasonalAnomalies("time_of_day", divide=True).fit(series)
    left = series_to_frames(transformer.transform(series))
    expected = np.where(np.arange(48) < 24, -1.0, 1.0)
    np.testing.assert_allclose(left[:, 0, 0, 1], expected)
    assert np.isnan(left[5, 0, 0, 0])
    assert left[29, 0, 0, 0] == 0.0  # the only value at 05:00
    assert np.isnan(left[:, 0, 1, 1]).sum() == 2
    assert (left[:, 0, 1, 2] == -99.0).all()
    back = series_to_frames(transformer.inverse_transform(transformer.transform(series)))
    np.testing.assert_allclose(back, frames)


def test_a_constant_has_no_deviation_to_divide_by() -> None:
    series = frames_to_series(np.full((72, 1, 2, 2), 283.15), **HOURS)
    left = SeasonalAnomalies("time_of_day", divide=True).fit_transform(series)
    np.testing.assert_allclose(left.values(), 0.0, atol=1e-4)


def test_parts_of_a_series_share_their_means_unless_told_otherwise() -> None:
    series = flow()
    parts = [series[: 10 * 24], series[11 * 24 :]]
    shared = SeasonalAnomalies("time_of_day").fit(parts)
    means = parts[0].values()[0] - shared.transform(parts[0]).values()[0]
    midnights = np.concatenate([part.values()[::24] for part in parts])
    np.testing.assert_allclose(means, midnights.mean(axis=0), rtol=1e-4)
    # as many forecasts as there are, of one series
    assert len(shared.inverse_transform([series[:3]] * 5)) == 5
    own = SeasonalAnomalies("time_of_day", global_fit=False).fit(parts)
    second = own.transform(parts)[1]
    np.testing.assert_allclose(second.values()[::24].mean(axis=0), 0.0, atol=1e-4)


@pytest.mark.parametrize(
    "likelihood",
    [
        None,
        QuantileRegression([0.1, 0.5, 0.9]),
        GaussianLikelihood(),
        LaplaceLikelihood(),
    ],
)
def test_forecasts_of_every_kind_come_back(likelihood) -> None:
    series = flow(9 * 24)
    transformer = SeasonalAnomalies("time_of_day", divide=True)
    left = transformer.fit_transform(series)
    model = ConvLSTMModel(
        3,
        2,
        hidden_channels=(4,),
        kernel_size=3,
        patch_size=1,
        likelihood=likelihood,
        n_epochs=1,
        batch_size=64,
        random_state=0,
        pl_trainer_kwargs={"accelerator": "cpu", "enable_progress_bar": False, "logger": False},
    ).fit(left[: 2 * 24])
    wanted = np.arange(9 * 24, 9 * 24 + 2) % 24
    hourly = series.values().reshape(9, 24, -1)
    mean, deviation = hourly.mean(axis=0)[wanted], hourly.std(axis=0)[wanted]  # (T, N)
    points = model.predict(2, series=left)
    back = transformer.inverse_transform(points)
    np.testing.assert_allclose(back.values(), points.values() * deviation + mean, rtol=1e-3)
    if likelihood is None:
        return
    samples = model.predict(2, series=left, num_samples=5)
    back = transformer.inverse_transform(samples).all_values()
    expected = samples.all_values() * deviation[..., None] + mean[..., None]
    np.testing.assert_allclose(back, expected, rtol=1e-3, atol=1e-3)
    parameters = model.predict(2, series=left, predict_likelihood_parameters=True)
    back = transformer.inverse_transform(parameters).values().reshape(2, mean.shape[1], -1)
    for k, name in enumerate(likelihood.parameter_names):
        forecast = parameters.values().reshape(back.shape)[..., k] * deviation
        forecast += 0.0 if name in ("sigma", "b") else mean
        np.testing.assert_allclose(back[..., k], forecast, rtol=1e-3, atol=1e-3)


def test_a_backtest_in_a_pipeline_scores_in_the_units_of_the_series() -> None:
    series = flow(10 * 24, h=4)
    pipeline = Pipeline(
        [variance_stabiliser("sqrt"), SeasonalAnomalies("time_of_day"), GridScaler()]
    )
    model = ConvLSTMModel(
        3,
        2,
        hidden_channels=(4,),
        kernel_size=3,
        patch_size=2,
        n_epochs=1,
        batch_size=64,
        random_state=0,
        pl_trainer_kwargs={"accelerator": "cpu", "enable_progress_bar": False, "logger": False},
    ).fit(pipeline.fit_transform(series[: 8 * 24]))
    options = {"forecast_horizon": 2, "retrain": False, "last_points_only": False}
    forecasts = model.historical_forecasts(
        series[8 * 24 :], data_transformers={"series": pipeline}, **options
    )
    # 45 forecasts of one series, brought back at once
    left = pipeline.transform(series)
    plain = model.historical_forecasts(left[8 * 24 :], **options)
    again = pipeline.inverse_transform(plain, partial=False)
    for one, other in zip(forecasts, again, strict=True):
        assert (one.values() >= 0).all()
        np.testing.assert_allclose(one.values(), other.values(), rtol=1e-4)
    errors = frame_mse([series] * len(forecasts), forecasts)
    assert np.mean(errors) < 4 * series.values().var()


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (lambda: SeasonalAnomalies("week"), "`by` must be one of"),
        (
            lambda: SeasonalAnomalies().fit(frames_to_series(np.ones((3, 1, 2, 2)))),
            "must have dates",
        ),
        (
            lambda: SeasonalAnomalies().fit(flow(48)).transform(flow(96)),
            "2026-01-07 00:00:00, a time of week that the training data do not have",
        ),
        (
            lambda: SeasonalAnomalies("time_of_day").fit(flow(48)).transform(flow(48, w=5)),
            "must have the 24 components of the training data, got 30",
        ),
        (lambda: variance_stabiliser("cube"), "`kind` must be one of"),
    ],
)
def test_what_has_no_season_is_refused(transform, message) -> None:
    with pytest.raises(ValueError, match=message):
        transform()


def test_parameters_without_a_mean_are_refused() -> None:
    series = flow(24)
    names = PoissonLikelihood().component_names(components=series.components)
    forecast = TimeSeries.from_times_and_values(
        series.time_index, series.values(), columns=names, metadata=series.metadata
    )
    with pytest.raises(ValueError, match=r"likelihood parameters \['lambda'\]"):
        SeasonalAnomalies("time_of_day").fit(series).inverse_transform(forecast)


@pytest.mark.parametrize("kind", ["sqrt", "log1p", "asinh"])
def test_stabilised_counts_come_back_and_are_never_negative(kind) -> None:
    rain = frames_to_series(np.array([0.0, 0.5, 3.0, 400.0]).reshape(4, 1, 1, 1))
    stabiliser = variance_stabiliser(kind)
    roots = stabiliser.transform(rain)
    np.testing.assert_allclose(
        stabiliser.inverse_transform(roots).values(), rain.values(), rtol=1e-5
    )
    assert (stabiliser.inverse_transform(roots - 5).values() >= 0).all()
    assert pd.Series(roots.values().ravel()).is_monotonic_increasing
