"""The frame metrics against literal NumPy and scikit-image, and through Darts."""

import inspect
import re

import joblib
import numpy as np
import pytest
from darts import TimeSeries
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from darts_mim.metrics import frame_mae, frame_mse, frame_psnr, frame_rmse, frame_ssim
from darts_mim.series import frames_to_series

METRICS = [frame_mse, frame_mae, frame_rmse, frame_psnr, frame_ssim]
T, C, H, W = 3, 2, 8, 11


def random_frames(seed: int, shape: tuple[int, ...] = (T, C, H, W)) -> NDArray[np.float64]:
    return np.random.default_rng(seed).random(shape)


def gridded(frames: NDArray[np.floating], **kwargs) -> TimeSeries:
    return frames_to_series(frames, dtype=frames.dtype, **{"layout": "TCHW", **kwargs})


@pytest.fixture
def actual() -> NDArray[np.float64]:
    return random_frames(0)


@pytest.fixture
def predicted() -> NDArray[np.float64]:
    return random_frames(1)


def ssim_by_scikit_image(actual, predicted, **kwargs) -> NDArray[np.float64]:
    kwargs = {"data_range": 1.0, "channel_axis": 0, **kwargs}
    pairs = zip(actual, predicted, strict=True)
    return np.array([structural_similarity(*pair, **kwargs) for pair in pairs])


# --- values -------------------------------------------------------------------------------------


def test_errors_equal_literal_numpy(actual, predicted):
    pair, pixels = (gridded(actual), gridded(predicted)), (1, 2, 3)
    squares, absolutes = np.square(actual - predicted), np.abs(actual - predicted)
    mse = squares.mean(axis=pixels)
    for found, expected in (
        (frame_mse(*pair), mse),
        (frame_mse(*pair, pixel_reduction="sum"), squares.sum(axis=pixels)),
        (frame_mae(*pair), absolutes.mean(axis=pixels)),
        (frame_mae(*pair, pixel_reduction="sum"), absolutes.sum(axis=pixels)),
        (frame_rmse(*pair), np.sqrt(mse)),
        (frame_psnr(*pair), -10 * np.log10(mse)),
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_data_range_makes_bytes_equal_to_unit_frames(metric, actual, predicted):
    unit = metric(gridded(actual), gridded(predicted), data_range=1.0)
    scaled = gridded(255 * actual), gridded(255 * predicted)
    np.testing.assert_allclose(metric(*scaled, data_range=255), unit, rtol=1e-9)
    if metric in (frame_mse, frame_mae, frame_rmse):
        power = 2 if metric is frame_mse else 1  # in the units of the data without a range
        np.testing.assert_allclose(metric(*scaled), 255**power * unit, rtol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, {}),
        ({"window_size": 3, "data_range": 2.0}, {"win_size": 3, "data_range": 2.0}),
        ({"window": "gaussian"}, {"gaussian_weights": True, "use_sample_covariance": False}),
    ],
)
def test_ssim_equals_scikit_image(arguments, expected):
    actual, predicted = random_frames(2, (T, C, 12, 15)), random_frames(3, (T, C, 12, 15))
    result = frame_ssim(gridded(actual), gridded(predicted), **arguments)
    by_scikit_image = ssim_by_scikit_image(actual, predicted, **expected)
    np.testing.assert_allclose(result, by_scikit_image, atol=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_float32_series_are_scored_in_float64(metric, actual, predicted):
    halves = actual.astype(np.float32), predicted.astype(np.float32)
    expected = metric(*(gridded(frames.astype(np.float64)) for frames in halves))
    np.testing.assert_allclose(metric(*map(gridded, halves)), expected, rtol=1e-12)


def test_identical_frames_have_an_infinite_psnr_and_a_similarity_of_one(actual):
    predicted = actual.copy()
    predicted[1] += 0.1
    psnr = frame_psnr(gridded(actual), gridded(predicted))
    np.testing.assert_allclose(psnr, [np.inf, 20.0, np.inf])
    assert frame_psnr(gridded(actual), gridded(actual), time_reduction=np.nanmean) == np.inf
    np.testing.assert_allclose(frame_ssim(gridded(actual), gridded(actual)), 1.0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_quantize_computes_from_bytes(actual, predicted, dtype):
    actual, wide = actual.astype(dtype), (3.0 * predicted - 1.0).astype(dtype)
    real, made = np.uint8(actual * 255), np.uint8(np.clip(wide, 0, 1) * 255)
    mse = np.mean((np.int64(real) - np.int64(made)) ** 2, axis=(1, 2, 3))
    series = gridded(actual), gridded(wide)
    psnr = frame_psnr(*series, quantize=True)
    np.testing.assert_allclose(psnr, 20 * np.log10(255) - 10 * np.log10(mse), rtol=1e-12)
    ssim = frame_ssim(*series, quantize=True)
    np.testing.assert_allclose(ssim, ssim_by_scikit_image(real, made, data_range=255), atol=1e-12)


# --- observed cells -----------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS[:4])
def test_masked_cells_do_not_count(metric, actual, predicted):
    mask = np.ones((H, W), dtype=bool)
    mask[:, 4:] = False
    actual[..., 5], predicted[..., 6], predicted[..., 7] = 1e9, -1e9, np.nan
    left = gridded(actual[..., :4].copy()), gridded(predicted[..., :4].copy())
    masked = gridded(actual, mask=mask), gridded(predicted, mask=mask)
    bare = gridded(actual), gridded(predicted)
    for pair in ((masked[0], bare[1]), (bare[0], masked[1])):  # the mask of either
        np.testing.assert_allclose(metric(*pair), metric(*left), rtol=1e-12)
    if metric in (frame_mse, frame_mae):
        sums = metric(masked[0], bare[1], pixel_reduction="sum")
        np.testing.assert_allclose(sums, C * H * 4 * metric(*left), rtol=1e-12)


@pytest.mark.parametrize("metric", METRICS[:4])
def test_values_missing_from_the_actual_frame_do_not_count(metric, actual, predicted):
    changed = predicted.copy()
    changed[0, 1, 2, 3] = actual[0, 1, 2, 3] = np.nan
    first = metric(gridded(actual), gridded(changed))[0]
    errors = (actual[0] - predicted[0])[~np.isnan(actual[0])]
    mse = np.mean(errors**2)
    expected = [mse, np.abs(errors).mean(), np.sqrt(mse), -10 * np.log10(mse)]
    np.testing.assert_allclose(first, expected[METRICS.index(metric)], rtol=1e-12)


@pytest.mark.parametrize("gaussian", [False, True])
def test_ssim_averages_the_windows_that_were_observed_as_a_whole(gaussian):
    shape = (2, C, 14, 17)
    actual, predicted = random_frames(0, shape), random_frames(1, shape)
    mask = np.ones(shape[-2:], dtype=bool)
    mask[:2, -1] = False
    size, window = (11, "gaussian") if gaussian else (7, "uniform")
    arguments = {"gaussian_weights": gaussian, "use_sample_covariance": not gaussian}
    patches = [
        (..., slice(row, row + size), slice(column, column + size))
        for row in range(14 - size + 1)
        for column in range(17 - size + 1)
        if mask[row : row + size, column : column + size].all()
    ]
    # The similarity of a patch as large as the window is that of one window.
    of_windows = [
        ssim_by_scikit_image(actual[p], predicted[p], win_size=size, **arguments) for p in patches
    ]
    actual[..., 0, -1], predicted[..., 1, -1] = np.nan, 1e3
    result = frame_ssim(gridded(actual, mask=mask), gridded(predicted), window=window)
    np.testing.assert_allclose(result, np.mean(of_windows, axis=0), atol=1e-9)


@pytest.mark.parametrize("metric", METRICS)
def test_frames_without_observations_and_nan_predicted_for_an_observed_cell_are_nan(
    metric, actual, predicted
):
    actual[1] = np.nan
    predicted[2, 1, 0, 0] = np.nan
    result = metric(gridded(actual), gridded(predicted))
    np.testing.assert_array_equal(np.isnan(result), [False, True, True])


# --- Darts' interface ---------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
def test_signature_help_and_reductions_are_those_of_a_darts_metric(metric, actual, predicted):
    parameters = list(inspect.signature(metric).parameters)
    assert parameters[:3] == ["actual_series", "pred_series", "intersect"]
    documented = re.findall(r"^(\w+) : ", inspect.getdoc(metric), flags=re.MULTILINE)
    assert sorted(documented) == sorted(parameters)
    pair = gridded(actual), gridded(predicted)
    curve = metric(*pair)
    assert curve.shape == (T,)
    assert metric(*pair, time_reduction=np.nanmean) == pytest.approx(curve.mean())
    both = [pair[0], pair[0]], [pair[1], pair[0] * 0.5]
    curves = metric(*both)
    assert isinstance(curves, list)
    np.testing.assert_array_equal(curves[0], curve)
    mean = metric(*both, series_reduction=np.nanmean)
    np.testing.assert_allclose(mean, np.mean(curves, axis=0))
    with joblib.parallel_config(backend="threading"):
        np.testing.assert_array_equal(metric(*both, n_jobs=2, name="x"), curves)


@pytest.mark.parametrize("metric", METRICS)
def test_samples_are_reduced_to_their_median(metric, actual):
    samples = random_frames(4, (T, C, H, W, 5))
    expected = metric(gridded(actual), gridded(np.median(samples, axis=-1)))
    forecast = gridded(samples, layout="TCHWS")
    np.testing.assert_allclose(metric(gridded(actual), forecast), expected, rtol=1e-12)


def test_one_grid_is_enough_and_none_is_one_cell(actual, predicted):
    pair = gridded(actual), gridded(predicted)
    bare = [series.with_metadata({}) for series in pair]
    for mixed in ((pair[0], bare[1]), (bare[0], pair[1])):
        np.testing.assert_array_equal(frame_ssim(*mixed), frame_ssim(*pair))
    np.testing.assert_allclose(frame_mse(*bare), ((actual - predicted) ** 2).mean(axis=(1, 2, 3)))


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("quantize", [False, True])
@pytest.mark.parametrize("metric", METRICS[3:])
def test_frames_that_span_more_than_the_data_range(metric, quantize, actual, predicted):
    with pytest.raises(ValueError, match=r"more than `data_range=1`.*data_range=255"):
        metric(gridded(255 * actual), gridded(predicted), quantize=quantize)
    mask = np.ones((H, W), dtype=bool)
    mask[0, 0] = False
    actual[..., 0, 0] = 1e6  # which does not count
    assert np.isfinite(metric(gridded(actual, mask=mask), gridded(actual * 7))).all()


@pytest.mark.parametrize(
    ("metric", "argument", "value", "error"),
    [
        *((metric, "clip", (-0.5, 0.5), ValueError) for metric in METRICS),
        *((metric, "data_range", 0.0, ValueError) for metric in METRICS),
        (frame_mse, "data_range", np.nan, ValueError),
        (frame_mse, "data_range", "255", TypeError),
        (frame_mae, "pixel_reduction", "max", ValueError),
        (frame_ssim, "window_size", 4, ValueError),
        (frame_ssim, "window_size", 9, ValueError),
        (frame_ssim, "window", "hann", ValueError),
        (frame_ssim, "window", "gaussian", ValueError),
    ],
)
def test_arguments_out_of_their_range_are_refused_by_name(metric, argument, value, error, actual):
    with pytest.raises(error, match=f"`{argument}"):
        metric(gridded(actual), gridded(actual), **{argument: value})


def test_bytes_start_at_zero(actual):
    with pytest.raises(ValueError, match=r"outside of the \[0, 1\]"):
        frame_ssim(gridded(actual - 0.5), gridded(actual), quantize=True)


def test_frames_and_masks_that_leave_no_window(actual):
    small = gridded(np.zeros((1, 1, 5, 9)))
    mask = np.ones((H, W), dtype=bool)
    mask[4] = False
    striped = gridded(actual, mask=mask)
    for series, shape in ((small, "5x9"), (striped, "8x11")):
        with pytest.raises(ValueError, match=f"no window of 7x7 .* {shape} .*`frame_mse`"):
            frame_ssim(series, series)
    assert frame_ssim(small, small, window_size=5) == 1.0
    np.testing.assert_allclose(frame_ssim(striped, striped, window_size=3), 1.0)


def test_series_that_do_not_match(actual):
    whole = gridded(actual, channel_names=["in", "out"])
    swapped = gridded(actual, channel_names=["out", "in"])
    lat, lon = np.arange(8.0), np.arange(11.0)
    south, north = (
        gridded(actual, coordinates={"lat": each, "lon": lon}) for each in (lat, lat[::-1])
    )
    samples = gridded(random_frames(4, (T, C, H, W, 5)), layout="TCHWS")
    for first, second, options, message in (
        (whole, gridded(actual.swapaxes(2, 3).copy()), {}, r"another grid.*8 rows.*11 rows"),
        (whole, swapped, {}, "`pred_series` must have the channels of .*, in, out, got out, in"),
        (south, north, {}, r"`pred_series` must lie on .* from 0 to 7, got 7 to"),
        (whole, gridded(actual[:, :1].copy()), {}, r"another grid.*2 channels.*1 channel"),
        (whole, gridded(actual[:, :1].copy()).with_metadata({}), {}, r"88.* do not fit the grid"),
        (whole, gridded(actual, start=3), {}, r"\(0 to 2\) and .* \(3 to 5\) must have times"),
        (whole, whole[:2], {"intersect": False}, r"`pred_series` \(0 to 1\) must .* equally long"),
        (samples, whole, {}, "`actual_series` must have one sample, got 5"),
    ):
        with pytest.raises(ValueError, match=message):
            frame_mse(first, second, **options)
    frame_mse(south, gridded(actual))
