"""The frame metrics against literal NumPy and scikit-image, and through Darts."""

import inspect
from collections.abc import Sequence

import joblib
import numpy as np
import pytest
from darts import TimeSeries
from darts.models import GlobalNaiveSeasonal
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from darts_mim.metrics import frame_mae, frame_mse, frame_psnr, frame_rmse, frame_ssim
from darts_mim.series import frames_to_series

METRICS = [frame_mse, frame_mae, frame_rmse, frame_psnr, frame_ssim]
ERRORS = [frame_mse, frame_mae, frame_rmse]
RANGED = [frame_psnr, frame_ssim]
T, C, H, W = 3, 2, 8, 11


def random_frames(seed: int, shape: tuple[int, ...] = (T, C, H, W)) -> NDArray[np.float64]:
    return np.random.default_rng(seed).random(shape)


def gridded(frames: NDArray[np.floating], **kwargs) -> TimeSeries:
    return frames_to_series(frames, dtype=frames.dtype, **kwargs)


@pytest.fixture
def actual() -> NDArray[np.float64]:
    return random_frames(0)


@pytest.fixture
def predicted() -> NDArray[np.float64]:
    return random_frames(1)


def ssim_by_scikit_image(actual, predicted, **kwargs) -> NDArray[np.float64]:
    kwargs = {"data_range": 1.0, **kwargs}
    return np.array(
        [
            np.mean([structural_similarity(a, p, **kwargs) for a, p in zip(*pair, strict=True)])
            for pair in zip(actual, predicted, strict=True)
        ]
    )


class TestValues:
    def test_errors_equal_literal_numpy(self, actual, predicted):
        series = gridded(actual), gridded(predicted)
        squares = [((a - p) ** 2).ravel() for a, p in zip(actual, predicted, strict=True)]
        absolutes = [np.abs(a - p).ravel() for a, p in zip(actual, predicted, strict=True)]
        mse = np.array([s.mean() for s in squares])
        np.testing.assert_allclose(frame_mse(*series), mse, rtol=1e-12)
        np.testing.assert_allclose(
            frame_mse(*series, pixel_reduction="sum"), [s.sum() for s in squares], rtol=1e-12
        )
        np.testing.assert_allclose(frame_mae(*series), [a.mean() for a in absolutes], rtol=1e-12)
        np.testing.assert_allclose(
            frame_mae(*series, pixel_reduction="sum"), [a.sum() for a in absolutes], rtol=1e-12
        )
        np.testing.assert_allclose(frame_rmse(*series), np.sqrt(mse), rtol=1e-12)
        np.testing.assert_allclose(frame_psnr(*series), -10 * np.log10(mse), rtol=1e-12)

    @pytest.mark.parametrize("metric", METRICS)
    def test_data_range_makes_bytes_equal_to_unit_frames(self, metric, actual, predicted):
        unit = metric(gridded(actual), gridded(predicted), data_range=1.0)
        scaled = metric(gridded(255 * actual), gridded(255 * predicted), data_range=255)
        np.testing.assert_allclose(scaled, unit, rtol=1e-9)

    @pytest.mark.parametrize("metric", ERRORS)
    def test_errors_without_data_range_are_in_the_units_of_the_data(self, metric):
        series = gridded(np.full((2, 1, 3, 4), 100.0)), gridded(np.full((2, 1, 3, 4), 103.0))
        expected = 9.0 if metric is frame_mse else 3.0
        np.testing.assert_allclose(metric(*series), [expected, expected])

    def test_ssim_equals_scikit_image(self, actual, predicted):
        series = gridded(actual), gridded(predicted)
        np.testing.assert_allclose(
            frame_ssim(*series), ssim_by_scikit_image(actual, predicted), atol=1e-12
        )
        np.testing.assert_allclose(
            frame_ssim(*series, window_size=3, data_range=2.0),
            ssim_by_scikit_image(actual, predicted, win_size=3, data_range=2.0),
            atol=1e-12,
        )

    def test_gaussian_ssim_equals_that_of_wang_et_al_in_scikit_image(self):
        actual, predicted = random_frames(2, (T, C, 12, 15)), random_frames(3, (T, C, 12, 15))
        expected = ssim_by_scikit_image(
            actual, predicted, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        result = frame_ssim(gridded(actual), gridded(predicted), window="gaussian")
        np.testing.assert_allclose(result, expected, atol=1e-12)

    @pytest.mark.parametrize("metric", METRICS)
    def test_float32_series_are_scored_in_float64(self, metric, actual, predicted):
        halves = actual.astype(np.float32), predicted.astype(np.float32)
        expected = metric(*(gridded(frames.astype(np.float64)) for frames in halves))
        np.testing.assert_allclose(metric(*map(gridded, halves)), expected, rtol=1e-12)

    def test_identical_frames_have_an_infinite_psnr_and_a_similarity_of_one(self, actual):
        predicted = actual.copy()
        predicted[1] += 0.1
        psnr = frame_psnr(gridded(actual), gridded(predicted))
        np.testing.assert_allclose(psnr, [np.inf, 20.0, np.inf])
        assert frame_psnr(gridded(actual), gridded(actual), time_reduction=np.nanmean) == np.inf
        np.testing.assert_allclose(frame_ssim(gridded(actual), gridded(actual)), 1.0)

    def test_clip_bounds_the_predictions_alone(self, actual, predicted):
        wide = 3.0 * predicted - 1.0
        expected = frame_mse(gridded(actual), gridded(np.clip(wide, 0.0, 1.0)))
        result = frame_mse(gridded(actual), gridded(wide), clip=(0.0, 1.0))
        np.testing.assert_allclose(result, expected, rtol=1e-12)
        assert (frame_mse(gridded(actual), gridded(wide)) > result).all()

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_quantize_computes_from_bytes(self, actual, predicted, dtype):
        actual, wide = actual.astype(dtype), (3.0 * predicted - 1.0).astype(dtype)
        real, made = np.uint8(actual * 255), np.uint8(np.clip(wide, 0, 1) * 255)
        mse = np.mean((np.int64(real) - np.int64(made)) ** 2, axis=(1, 2, 3))
        np.testing.assert_allclose(
            frame_psnr(gridded(actual), gridded(wide), quantize=True),
            20 * np.log10(255) - 10 * np.log10(mse),
            rtol=1e-12,
        )
        np.testing.assert_allclose(
            frame_ssim(gridded(actual), gridded(wide), quantize=True),
            ssim_by_scikit_image(real, made, data_range=255),
            atol=1e-12,
        )

    def test_quantize_leaves_bytes_as_they_are(self):
        values = np.arange(256.0).reshape(1, 1, 16, 16)
        series = gridded(values), gridded(values[..., ::-1].copy())
        kwargs = {"data_range": 255}
        expected = frame_psnr(*series, **kwargs)
        np.testing.assert_array_equal(frame_psnr(*series, quantize=True, **kwargs), expected)


class TestObservedCells:
    @pytest.mark.parametrize("metric", [frame_mse, frame_mae, frame_rmse, frame_psnr])
    def test_masked_cells_do_not_count(self, metric, actual, predicted):
        mask = np.ones((H, W), dtype=bool)
        mask[:, 4:] = False
        actual[..., 5], predicted[..., 6], predicted[..., 7] = 1e9, -1e9, np.nan
        result = metric(gridded(actual, mask=mask), gridded(predicted))
        left = metric(gridded(actual[..., :4].copy()), gridded(predicted[..., :4].copy()))
        np.testing.assert_allclose(result, left, rtol=1e-12)

    def test_sums_are_over_observed_cells(self):
        mask = np.zeros((3, 4), dtype=bool)
        mask[0] = True
        actual = gridded(np.zeros((2, 2, 3, 4)), mask=mask)
        predicted = gridded(np.full((2, 2, 3, 4), 2.0))
        np.testing.assert_allclose(frame_mse(actual, predicted, pixel_reduction="sum"), 32.0)
        np.testing.assert_allclose(frame_mae(actual, predicted, pixel_reduction="sum"), 16.0)

    @pytest.mark.parametrize("metric", [frame_mse, frame_mae, frame_rmse, frame_psnr])
    def test_values_missing_from_the_actual_frame_do_not_count(self, metric, actual, predicted):
        changed = predicted.copy()
        actual[0, 1, 2, 3] = np.nan
        changed[0, 1, 2, 3] = 99.0
        result = metric(gridded(actual), gridded(changed))
        np.testing.assert_array_equal(result, metric(gridded(actual), gridded(predicted)))
        kept = ~np.isnan(actual[0])
        if metric is frame_mae:
            expected = np.abs(actual[0] - predicted[0])[kept].mean()
            np.testing.assert_allclose(result[0], expected, rtol=1e-12)

    @pytest.mark.parametrize("gaussian", [False, True])
    def test_ssim_averages_the_windows_that_were_observed_as_a_whole(self, gaussian):
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
        expected = np.mean(
            [
                ssim_by_scikit_image(actual[p], predicted[p], win_size=size, **arguments)
                for p in patches
            ],
            axis=0,
        )
        actual[..., 0, -1], predicted[..., 1, -1] = np.nan, 1e3
        result = frame_ssim(gridded(actual, mask=mask), gridded(predicted), window=window)
        np.testing.assert_allclose(result, expected, atol=1e-9)

    @pytest.mark.parametrize("metric", METRICS)
    def test_a_frame_of_which_nothing_was_observed_is_nan(self, metric, actual, predicted):
        actual[1] = np.nan
        result = metric(gridded(actual), gridded(predicted))
        np.testing.assert_array_equal(np.isnan(result), [False, True, False])

    @pytest.mark.parametrize("metric", METRICS)
    def test_a_nan_predicted_for_an_observed_cell_makes_the_frame_nan(
        self, metric, actual, predicted
    ):
        predicted[2, 1, 0, 0] = np.nan
        result = metric(gridded(actual), gridded(predicted))
        np.testing.assert_array_equal(np.isnan(result), [False, False, True])


class TestDartsInterface:
    @pytest.mark.parametrize("metric", METRICS)
    def test_the_signature_is_that_of_a_darts_metric(self, metric):
        parameters = inspect.signature(metric).parameters
        assert list(parameters)[:3] == ["actual_series", "pred_series", "intersect"]
        shared = {"time_reduction", "series_reduction", "n_jobs", "verbose", "name", "data_range"}
        assert shared <= set(parameters)
        assert metric.__name__ in metric.__wrapped__.__qualname__

    @pytest.mark.parametrize("metric", METRICS)
    def test_reductions_work_as_in_darts(self, metric, actual, predicted):
        pair = gridded(actual), gridded(predicted)
        curve = metric(*pair)
        assert curve.shape == (T,)
        reduced = metric(*pair, time_reduction=np.nanmean)
        assert isinstance(reduced, float)
        assert reduced == pytest.approx(curve.mean())
        both = [pair[0], pair[0]], [pair[1], pair[0] * 0.5]
        curves = metric(*both)
        assert isinstance(curves, list)
        np.testing.assert_array_equal(curves[0], curve)
        np.testing.assert_allclose(
            metric(*both, series_reduction=np.nanmean), np.mean(curves, axis=0)
        )
        total = metric(*both, time_reduction=np.nanmean, series_reduction=np.nanmean)
        assert total == pytest.approx(np.mean(curves))

    @pytest.mark.parametrize("metric", METRICS)
    def test_lists_lazy_sequences_and_parallel_jobs_agree(self, metric, actual, predicted):
        class Lazy(Sequence):
            def __init__(self, series):
                self.series = series

            def __len__(self):
                return len(self.series)

            def __getitem__(self, index):
                return self.series[index]

        first = [gridded(actual), gridded(predicted)]
        second = [gridded(predicted), gridded(actual * 0.5)]
        expected = [metric(a, p) for a, p in zip(first, second, strict=True)]
        np.testing.assert_array_equal(metric(first, second), expected)
        np.testing.assert_array_equal(metric(Lazy(first), second), expected)
        np.testing.assert_array_equal(
            metric(actual_series=first, pred_series=second, name="x"), expected
        )

    @pytest.mark.parametrize("metric", METRICS)
    def test_jobs_may_run_in_parallel(self, metric, actual, predicted):
        first, second = [gridded(actual)] * 2, [gridded(predicted)] * 2
        expected = metric(first, second)
        with joblib.parallel_config(backend="threading"):
            np.testing.assert_array_equal(metric(first, second, n_jobs=2), expected)

    @pytest.mark.slow  # each process imports everything anew
    def test_jobs_may_run_in_processes(self, actual, predicted):
        first, second = [gridded(actual)] * 2, [gridded(predicted)] * 2
        expected = frame_ssim(first, second)
        np.testing.assert_array_equal(frame_ssim(first, second, n_jobs=2), expected)

    def test_only_common_times_are_compared(self, actual, predicted):
        whole = gridded(actual, start=10, freq=2)
        later = gridded(predicted, start=12, freq=2)
        expected = frame_mse(gridded(actual[1:].copy()), gridded(predicted[:2].copy()))
        np.testing.assert_array_equal(frame_mse(whole, later), expected)
        np.testing.assert_array_equal(
            frame_mse(whole, later, intersect=False),
            frame_mse(gridded(actual), gridded(predicted)),
        )

    @pytest.mark.parametrize("metric", METRICS)
    def test_samples_are_reduced_to_their_median(self, metric, actual):
        samples = random_frames(4, (T, C, H, W, 5))
        median = gridded(np.median(samples, axis=-1))
        forecast = frames_to_series(samples, layout="TCHWS", dtype=np.float64)
        assert forecast.is_stochastic
        expected = metric(gridded(actual), median)
        np.testing.assert_allclose(metric(gridded(actual), forecast), expected, rtol=1e-12)

    def test_a_series_without_a_grid_is_one_cell_with_a_channel_per_component(self):
        values, forecast = random_frames(0, (T, 6)), random_frames(1, (T, 6))
        pair = TimeSeries.from_values(values), TimeSeries.from_values(forecast)
        np.testing.assert_allclose(frame_mse(*pair), ((values - forecast) ** 2).mean(axis=1))

    def test_one_grid_is_enough(self, actual, predicted):
        pair = gridded(actual), gridded(predicted)
        expected = frame_ssim(*pair)
        bare = [series.with_metadata({}) for series in pair]
        np.testing.assert_array_equal(frame_ssim(pair[0], bare[1]), expected)
        np.testing.assert_array_equal(frame_ssim(bare[0], pair[1]), expected)


class TestThroughDarts:
    """A naive model that repeats the last frame, on series of 9 frames."""

    @pytest.fixture
    def series(self) -> TimeSeries:
        frames = random_frames(5, (9, C, H, W)).astype(np.float32)
        return gridded(frames, start=100)

    @pytest.fixture
    def model(self, series):
        quiet = {"enable_progress_bar": False, "accelerator": "cpu", "logger": False}
        model = GlobalNaiveSeasonal(
            input_chunk_length=2, output_chunk_length=3, pl_trainer_kwargs=quiet
        )
        return model.fit(series)

    @pytest.fixture
    def arguments(self):
        return {"forecast_horizon": 3, "last_points_only": False, "retrain": False}

    def test_backtest_gives_an_error_for_each_frame_and_metric(self, model, series, arguments):
        forecasts = model.historical_forecasts(series, **arguments)
        errors = model.backtest(series, metric=METRICS, **arguments)
        assert errors.shape == (3, len(METRICS))
        assert len(forecasts) > 1
        for column, metric in enumerate(METRICS):
            expected = np.mean([metric(series, forecast) for forecast in forecasts], axis=0)
            np.testing.assert_allclose(errors[:, column], expected, rtol=1e-6)

    def test_backtest_takes_arguments_for_each_metric(self, model, series, arguments):
        errors = model.backtest(
            [series, series],
            metric=[frame_mse, frame_ssim],
            metric_kwargs=[{"pixel_reduction": "sum"}, {"data_range": 2.0}],
            **arguments,
        )
        plain = model.backtest(series, metric=[frame_mse, frame_ssim], **arguments)
        assert isinstance(errors, list)
        np.testing.assert_array_equal(errors[0], errors[1])
        np.testing.assert_allclose(errors[0][:, 0], C * H * W * plain[:, 0], rtol=1e-9)
        assert (errors[0][:, 1] > plain[:, 1]).all()

    def test_backtest_gives_a_number_with_a_time_reduction(self, model, series, arguments):
        curve = model.backtest(series, metric=frame_mse, **arguments)
        kwargs = {"time_reduction": np.nanmean}
        number = model.backtest(series, metric=frame_mse, metric_kwargs=kwargs, **arguments)
        assert number == pytest.approx(curve.mean())

    def test_frames_beyond_the_end_of_the_series_are_nan(self, model, series, arguments):
        errors = model.backtest(
            series, metric=METRICS, overlap_end=True, reduction=None, **arguments
        )
        np.testing.assert_array_equal(np.isnan(errors[-1]).all(axis=1), [True] * 3)
        np.testing.assert_array_equal(np.isnan(errors[-2]).all(axis=1), [False, True, True])
        assert not np.isnan(errors[0]).any()

    @pytest.mark.parametrize("metric", METRICS)
    def test_residuals_are_series_of_one_value_per_frame(self, metric, model, series, arguments):
        forecasts = model.historical_forecasts(series, **arguments)
        residuals = model.residuals(
            series, historical_forecasts=forecasts, metric=metric, last_points_only=False
        )
        assert [r.shape for r in residuals] == [(3, 1, 1)] * len(forecasts)
        assert (residuals[0].time_index == forecasts[0].time_index).all()
        np.testing.assert_allclose(
            residuals[1].values()[:, 0], metric(series, forecasts[1]), rtol=1e-6
        )


class TestErrors:
    @pytest.mark.parametrize("metric", RANGED)
    @pytest.mark.parametrize("quantize", [False, True])
    def test_frames_that_span_more_than_the_data_range(self, metric, quantize, actual, predicted):
        with pytest.raises(ValueError, match=r"more than `data_range=1`.*data_range=255"):
            metric(gridded(255 * actual), gridded(predicted), quantize=quantize)

    def test_predictions_and_cells_that_do_not_count_may_leave_the_data_range(self, actual):
        mask = np.ones((H, W), dtype=bool)
        mask[0, 0] = False
        actual[..., 0, 0] = 1e6
        assert np.isfinite(frame_psnr(gridded(actual, mask=mask), gridded(actual * 7))).all()

    @pytest.mark.parametrize("metric", METRICS)
    def test_frames_outside_the_bounds_of_clip(self, metric, actual, predicted):
        with pytest.raises(ValueError, match=r"outside of the \[0, 1\].*`data_range`"):
            metric(gridded(actual - 0.5), gridded(predicted), clip=(0.0, 1.0))

    def test_bytes_need_frames_that_start_at_zero(self, actual, predicted):
        with pytest.raises(ValueError, match=r"outside of the \[0, 1\]"):
            frame_ssim(gridded(actual - 0.5), gridded(predicted), quantize=True)

    @pytest.mark.parametrize("metric", METRICS)
    @pytest.mark.parametrize("data_range", [0.0, -1.0, np.inf, np.nan])
    def test_a_range_that_is_not_positive(self, metric, data_range, actual):
        with pytest.raises(ValueError, match="`data_range` must be positive and finite"):
            metric(gridded(actual), gridded(actual), data_range=data_range)

    @pytest.mark.parametrize("data_range", ["255", True, (0, 1)])
    def test_a_range_that_is_no_number(self, data_range, actual):
        with pytest.raises(TypeError, match="`data_range` must be a number"):
            frame_mse(gridded(actual), gridded(actual), data_range=data_range)

    def test_an_unknown_pixel_reduction(self, actual):
        with pytest.raises(ValueError, match="`pixel_reduction` must be 'mean' or 'sum'"):
            frame_mae(gridded(actual), gridded(actual), pixel_reduction="max")

    def test_bounds_that_are_none(self, actual):
        with pytest.raises(TypeError, match="`clip` must be two numbers"):
            frame_mae(gridded(actual), gridded(actual), clip=True)
        with pytest.raises(ValueError, match="low < high"):
            frame_mae(gridded(actual), gridded(actual), clip=(1, 0))

    def test_frames_smaller_than_the_window(self):
        small = gridded(np.zeros((1, 1, 5, 9)))
        with pytest.raises(ValueError, match="window of 7x7 cells does not fit into frames of 5x9"):
            frame_ssim(small, small)
        assert frame_ssim(small, small, window_size=5) == 1.0
        with pytest.raises(ValueError, match=r"window of 11x11.*window='uniform'"):
            frame_ssim(small, small, window="gaussian")
        bare = TimeSeries.from_values(np.zeros((2, 3)))
        with pytest.raises(ValueError, match=r"frames of 1x1.*`frame_mse`"):
            frame_ssim(bare, bare)

    def test_a_mask_that_leaves_no_window(self, actual):
        mask = np.ones((H, W), dtype=bool)
        mask[4] = False
        series = gridded(actual, mask=mask)
        with pytest.raises(ValueError, match="no window of 7x7 cells lies between the unobserved"):
            frame_ssim(series, series)
        np.testing.assert_allclose(frame_ssim(series, series, window_size=3), 1.0)

    @pytest.mark.parametrize("size", [1, 4, -3])
    def test_windows_without_a_centre(self, size, actual):
        with pytest.raises(ValueError, match=f"`window_size={size}` must be odd"):
            frame_ssim(gridded(actual), gridded(actual), window_size=size)

    def test_unknown_windows_and_a_gaussian_of_another_size(self, actual):
        with pytest.raises(ValueError, match="`window` must be 'uniform' or 'gaussian'"):
            frame_ssim(gridded(actual), gridded(actual), window="hann")
        with pytest.raises(ValueError, match="`window_size=7` cannot be chosen with"):
            frame_ssim(gridded(actual), gridded(actual), window="gaussian", window_size=7)

    @pytest.mark.parametrize("metric", METRICS)
    def test_grids_that_do_not_match(self, metric, actual):
        turned = gridded(np.ascontiguousarray(actual.swapaxes(2, 3)))
        with pytest.raises(ValueError, match=r"another grid.*8 rows.*11 rows"):
            metric(gridded(actual), turned)
        flows = [gridded(actual, channel_names=names) for names in (["in", "out"], ["out", "in"])]
        with pytest.raises(ValueError, match=r"another grid.*\(in, out\).*\(out, in\)"):
            metric(*flows)
        south, north = (
            gridded(actual, coordinates={"lat": np.arange(8.0)[::step], "lon": np.arange(11.0)})
            for step in (1, -1)
        )
        with pytest.raises(ValueError, match=r"`pred_series` must lie on .* from 0 to 7, got 7 to"):
            metric(south, north)
        metric(south, gridded(actual))

    @pytest.mark.parametrize("metric", METRICS)
    def test_other_numbers_of_components(self, metric, actual):
        with pytest.raises(ValueError, match="88 components and `actual_series` 176"):
            metric(gridded(actual), gridded(actual[:, :1].copy()))

    def test_series_that_have_no_time_in_common(self, actual):
        first, later = gridded(actual, start=0), gridded(actual, start=3)
        with pytest.raises(
            ValueError, match=r"\(0 to 2\) and .* \(3 to 5\) have no time in common"
        ):
            frame_mse(first, later)
        with pytest.raises(ValueError, match="has 3 frames and `pred_series` 2"):
            frame_mse(first, later[:2], intersect=False)

    def test_an_actual_series_of_samples(self, actual):
        samples = frames_to_series(random_frames(4, (T, C, H, W, 5)), layout="TCHWS")
        with pytest.raises(ValueError, match="`actual_series` must have one sample, got 5"):
            frame_mse(samples, gridded(actual))


def test_the_mask_of_a_forecast_counts_where_the_truth_has_none() -> None:
    mask = np.array([[True, False, True], [True, True, True]])
    frames = np.random.default_rng(0).random((3, 1, 2, 3))
    actual = frames_to_series(frames, dtype=np.float64)
    predicted = frames_to_series(frames + 10 * ~mask, dtype=np.float64, mask=mask)
    np.testing.assert_allclose(frame_mse(actual, predicted), 0.0, atol=1e-12)
