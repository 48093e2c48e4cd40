"""The named protocols against their definitions, spelled out in NumPy, and through `backtest`."""

import numpy as np
import pandas as pd
import pytest
from darts.models import GlobalNaiveSeasonal
from skimage.metrics import structural_similarity

from darts_mim.metrics.protocols import PROTOCOLS, protocol
from darts_mim.series import frames_to_series

T, C, H, W = 2, 2, 8, 11


@pytest.fixture
def frames():
    generator = np.random.default_rng(0)
    actual = generator.random((T, C, H, W)).astype(np.float32)
    predicted = (1.6 * generator.random((T, C, H, W)) - 0.3).astype(np.float32)
    return actual, predicted


def scores(name, frames, **kwargs):
    """Score as `backtest` does: (T, metrics)."""
    rules = protocol(name, **kwargs)
    actual, predicted = map(frames_to_series, frames)
    calls = zip(rules["metric"], rules["metric_kwargs"], strict=True)
    return np.stack([metric(actual, predicted, **options) for metric, options in calls], axis=1)


def similarity(actual, predicted, data_range):
    return [
        structural_similarity(a, p, data_range=data_range, channel_axis=0)
        for a, p in zip(actual, predicted, strict=True)
    ]


def bytewise_psnr(actual, predicted):
    differences = np.int64(np.uint8(actual * 255)) - np.int64(np.uint8(predicted * 255))
    return 20 * np.log10(255) - 10 * np.log10(np.mean(differences**2, axis=(1, 2, 3)))


def by_definition(name, actual, predicted):
    clipped = np.clip(predicted, 0, 1)
    pixels = (1, 2, 3)
    mse, clipped_mse = (np.square(actual - p).sum(axis=pixels) for p in (predicted, clipped))
    mae = np.abs(actual - predicted).sum(axis=pixels)
    as_bytes = [np.uint8(values * 255) for values in (actual, clipped)]
    float_ssim = similarity(actual.astype(np.float64), clipped.astype(np.float64), 2)
    return {
        "moving-mnist": [clipped_mse, mae, float_ssim],
        "predrnn": [clipped_mse, mae, similarity(*as_bytes, 255), bytewise_psnr(actual, clipped)],
        "kth": [bytewise_psnr(actual, clipped), similarity(*as_bytes, 255)],
        "openstl": [mse, mae, float_ssim, -10 * np.log10(clipped_mse / (C * H * W))],
        "taxibj": [clipped_mse],
        "traffic": [mse / (C * H * W), mae / (C * H * W)],
    }[name]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_computes_what_it_says(name, frames):
    result = scores(name, frames)
    np.testing.assert_allclose(result, np.transpose(by_definition(name, *frames)), rtol=1e-5)
    assert result.shape == (T, len(PROTOCOLS[name].labels))


@pytest.mark.parametrize("name", [name for name in PROTOCOLS if name != "traffic"])
def test_data_range_gives_the_figures_of_frames_in_0_to_1(name, frames):
    as_bytes = [255 * values for values in frames]
    np.testing.assert_allclose(
        scores(name, as_bytes, data_range=255), scores(name, frames), rtol=0.01
    )
    with pytest.raises(ValueError, match="`data_range"):
        scores(name, as_bytes)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_plugs_into_backtest_and_labels_its_table(name, frames):
    series = frames_to_series(np.clip(np.concatenate(frames), 0, 1))
    quiet = {"enable_progress_bar": False, "accelerator": "cpu", "logger": False}
    model = GlobalNaiveSeasonal(1, 2, pl_trainer_kwargs=quiet).fit(series)
    rules = protocol(name)
    arguments = {"forecast_horizon": 2, "last_points_only": False, "retrain": False}
    table = rules.table(model.backtest(series, **arguments, **rules))
    assert tuple(table.columns[: len(rules.labels)]) == rules.labels
    assert table.index.tolist() == [1, 2, "mean"]
    assert np.isfinite(table.to_numpy()).all()
    averaged = rules.table(model.backtest([series, series], **arguments, **rules))
    np.testing.assert_allclose(averaged, table)


def test_traffic_takes_the_root_after_averaging():
    table = protocol("traffic").table([np.array([[1.0, 1.0]]), np.array([[9.0, 3.0]])])
    assert table.columns.tolist() == ["MSE", "MAE", "RMSE"]
    assert table["RMSE"].tolist() == [np.sqrt(5.0)] * 2


def test_tables_of_one_metric_or_frame_and_of_lists():
    assert protocol("taxibj").table(np.array([1.0, 3.0]))["MSE"].tolist() == [1.0, 3.0, 2.0]
    assert protocol("taxibj").table([1.0, 3.0])["MSE"].tolist() == [2.0, 2.0]
    assert protocol("kth").table(np.array([30.0, 0.8])).shape == (2, 2)
    rows, table = [[1.0, 0.5], [7.0, 1.5]], protocol("traffic").table
    for given in (rows, [np.array(rows)] * 2):  # frames, and an array for each series
        pd.testing.assert_frame_equal(table(given), table(np.array(rows)))


@pytest.mark.parametrize("shape", [(4,), (3, 4), (5, 3, 2)])
def test_a_table_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"`errors` must be \(T, 2\).*PSNR, SSIM"):
        protocol("kth").table(np.zeros(shape))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "ucf"}, r"`name='ucf'` is no .* 'moving-mnist', .*'traffic'"),
        ({"name": "traffic", "data_range": 1292}, "does not fit the protocol 'traffic'"),
        ({"name": "kth", "data_range": 0}, "`data_range` must be positive"),
    ],
)
def test_names_and_ranges_that_mean_nothing_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        protocol(**arguments)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_is_documented_and_cannot_be_changed(name):
    rules = protocol(name)
    assert rules.name == name
    assert all((rules.description, rules.unknown, rules.sources))
    rules["metric"].clear()
    rules["metric_kwargs"][0]["data_range"] = 7.0
    assert len(rules["metric"]) == len(rules["metric_kwargs"]) == len(rules.labels)
    assert rules["metric_kwargs"][0].get("data_range") != 7.0
    with pytest.raises(AttributeError):
        rules.labels = ()
    with pytest.raises(TypeError):
        PROTOCOLS["mine"] = rules
