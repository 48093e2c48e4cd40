"""Frame-wise errors of gridded forecasts, with the signature of Darts' own metrics.

A frame is the values of a series at one time step: (C, H, W), channels, height and width. Every
metric here gives *one value per frame*, (T,) for a pair of series, so that `backtest` returns an
error for each frame of the horizon; `time_reduction=np.nanmean` gives one number instead, and a
sequence of series a list, exactly as Darts does it (the plumbing is Darts' `multi_ts_support`).

All of them share these rules:

- The grid is read from the series; a series without one is a 1x1 grid with a channel per component.
- A prediction of several samples is reduced to its median, as in Darts; the actual series must have
  one sample.
- Cells under the mask (of the actual series, or of the prediction if that has none) and values that
  are NaN in the actual frame do not count. A frame without observed values is NaN; a NaN
  *predicted* for an observed cell makes the whole frame NaN.
- Errors are computed in float64, for series of any type.

The arguments are the choices that a published number depends on: sum or mean over pixels, the range
of the data, clipping, bytes or floats. `darts_mim.metrics.protocols` names the usual combinations.
All metrics share the following arguments, results and errors; `help` shows them for each metric.

Other Parameters
----------------
actual_series : TimeSeries or sequence of TimeSeries
    Observations: C*H*W components, one sample.
pred_series : TimeSeries or sequence of TimeSeries
    Forecasts on the same grid. Several samples are reduced to their median.
intersect : bool
    Compare the frames at the times that both series have. With False the series are compared
    position by position and must be equally long.
clip : (low, high), optional
    Bounds, in the units of the data, that predictions are clipped to first. The actual frames must
    lie within them.
time_reduction : callable, optional
    For example `np.nanmean`: one number a series instead of one a frame. Takes an array (T, 1) and
    `axis`.
component_reduction : callable, optional
    Without effect, as a frame has one value: it is here because Darts' `residuals` passes it.
series_reduction : callable, optional
    Over the series of a sequence; takes the list of their results and `axis`.
n_jobs : int
    Series computed in parallel; -1 uses every processor.
verbose : bool
    Show a progress bar over the series.
name : str, optional
    The name shown by the progress bar.

Returns
-------
numpy.ndarray or float or list
    (T,) for a pair of series; a float where T is 1 or `time_reduction` is given; a list of these
    for sequences, unless `series_reduction` is given.

Raises
------
ValueError
    If the grids, the lengths or the times of the series do not match, if the actual series has
    several samples, or if an argument is out of its range.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import cleandoc
from typing import Any, Literal, ParamSpec, TypeAlias, cast

import numpy as np
from darts.metrics.utils import multi_ts_support
from darts.typing import TimeSeriesLike
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from darts_mim.metrics.pairs import (
    PairedFrames,
    check_window_fits,
    checked_data_range,
    checked_window_size,
    complete_windows,
    fit_range,
    pair_frames,
)

__all__ = ["frame_mae", "frame_mse", "frame_psnr", "frame_rmse", "frame_ssim"]

Scores: TypeAlias = float | NDArray[np.float64] | list[float] | list[NDArray[np.float64]]
Reduction: TypeAlias = Callable[..., NDArray[np.float64]]
PixelReduction: TypeAlias = Literal["mean", "sum"]
Window: TypeAlias = Literal["uniform", "gaussian"]
_P = ParamSpec("_P")

_SHARED = (__doc__ or "").partition("Other Parameters\n")[1:]


def _frame_metric(score: Callable[_P, NDArray[np.float64]]) -> Callable[_P, Scores]:
    """Let the metric of a pair of series take sequences too, as Darts does, and stay typed.

    The shared arguments, which this module documents, join those of its docstring.
    """
    own, *examples = cleandoc(score.__doc__ or "").partition("Examples\n")
    score.__doc__ = "".join([own, *_SHARED, "\n", *examples])
    return cast(Callable[_P, Scores], multi_ts_support(score))


@_frame_metric
def frame_mse(
    actual_series: TimeSeriesLike,
    pred_series: TimeSeriesLike,
    intersect: bool = True,
    *,
    data_range: float | None = None,
    pixel_reduction: PixelReduction = "mean",
    clip: tuple[float, float] | None = None,
    time_reduction: Reduction | None = None,
    component_reduction: Reduction | None = None,
    series_reduction: Reduction | None = None,
    n_jobs: int = 1,
    verbose: bool = False,
    name: str | None = None,
) -> NDArray[np.float64]:
    """Compute the squared error of each frame, averaged or summed over its C*H*W values.

    Parameters
    ----------
    data_range : float, optional
        None leaves the error in the (squared) units of the data. A number r gives the error of data
        divided by r: 255 for bytes turns the result into that of frames in [0, 1].
    pixel_reduction : {"mean", "sum"}
        Over the observed values of a frame. Video papers print sums, traffic papers means.

    Notes
    -----
    In `residuals` the result is a series with one component, the error of the frame. Darts' own
    `err`, `ae` and `se` give the residual of every cell there.

    Examples
    --------
    >>> import numpy as np
    >>> from darts_mim.series import frames_to_series
    >>> actual = frames_to_series(np.zeros((2, 1, 3, 4)))
    >>> predicted = frames_to_series(np.stack([np.full((1, 3, 4), 0.5), np.ones((1, 3, 4))]))
    >>> frame_mse(actual, predicted)
    array([0.25, 1.  ])
    >>> frame_mse(actual, predicted, pixel_reduction="sum")
    array([ 3., 12.])
    >>> float(frame_mse(actual, predicted, time_reduction=np.nanmean))
    0.625
    """
    frames = pair_frames(actual_series, pred_series, intersect, clip)
    over_pixels = _pixel_reduction(pixel_reduction)
    return _score_errors(frames, data_range, lambda e: over_pixels(np.square(e)), time_reduction)


@_frame_metric
def frame_mae(
    actual_series: TimeSeriesLike,
    pred_series: TimeSeriesLike,
    intersect: bool = True,
    *,
    data_range: float | None = None,
    pixel_reduction: PixelReduction = "mean",
    clip: tuple[float, float] | None = None,
    time_reduction: Reduction | None = None,
    component_reduction: Reduction | None = None,
    series_reduction: Reduction | None = None,
    n_jobs: int = 1,
    verbose: bool = False,
    name: str | None = None,
) -> NDArray[np.float64]:
    """Compute the absolute error of each frame, averaged or summed over its C*H*W values.

    Parameters
    ----------
    data_range : float, optional
        None leaves the error in the units of the data. A number r gives the error of data divided
        by r.
    pixel_reduction : {"mean", "sum"}
        Over the observed values of a frame.

    Examples
    --------
    >>> import numpy as np
    >>> from darts_mim.series import frames_to_series
    >>> actual = frames_to_series(np.zeros((2, 1, 3, 4)))
    >>> predicted = frames_to_series(np.stack([np.full((1, 3, 4), 0.5), np.ones((1, 3, 4))]))
    >>> frame_mae(actual, predicted)
    array([0.5, 1. ])
    >>> frame_mae(actual, predicted, pixel_reduction="sum")
    array([ 6., 12.])
    """
    frames = pair_frames(actual_series, pred_series, intersect, clip)
    over_pixels = _pixel_reduction(pixel_reduction)
    return _score_errors(frames, data_range, lambda e: over_pixels(np.abs(e)), time_reduction)


@_frame_metric
def frame_rmse(
    actual_series: TimeSeriesLike,
    pred_series: TimeSeriesLike,
    intersect: bool = True,
    *,
    data_range: float | None = None,
    clip: tuple[float, float] | None = None,
    time_reduction: Reduction | None = None,
    component_reduction: Reduction | None = None,
    series_reduction: Reduction | None = None,
    n_jobs: int = 1,
    verbose: bool = False,
    name: str | None = None,
) -> NDArray[np.float64]:
    """Compute the root of each frame's mean squared error, over its C*H*W values.

    Parameters
    ----------
    data_range : float, optional
        None leaves the error in the units of the data. A number r gives the error of data divided
        by r.

    Notes
    -----
    The average of these over frames or forecasts is smaller than the root of the averaged squared
    error, which most traffic papers print: take `frame_mse`, average, and then the root, as
    the table of the protocol "traffic" does.

    Examples
    --------
    >>> import numpy as np
    >>> from darts_mim.series import frames_to_series
    >>> actual = frames_to_series(np.zeros((2, 1, 3, 4)))
    >>> predicted = frames_to_series(np.stack([np.full((1, 3, 4), 0.5), np.ones((1, 3, 4))]))
    >>> frame_rmse(actual, predicted)
    array([0.5, 1. ])
    """
    frames = pair_frames(actual_series, pred_series, intersect, clip)
    return _score_errors(
        frames, data_range, lambda e: np.sqrt(np.mean(np.square(e))), time_reduction
    )


@_frame_metric
def frame_psnr(
    actual_series: TimeSeriesLike,
    pred_series: TimeSeriesLike,
    intersect: bool = True,
    *,
    data_range: float = 1.0,
    clip: tuple[float, float] | None = None,
    quantize: bool = False,
    time_reduction: Reduction | None = None,
    component_reduction: Reduction | None = None,
    series_reduction: Reduction | None = None,
    n_jobs: int = 1,
    verbose: bool = False,
    name: str | None = None,
) -> NDArray[np.float64]:
    """Compute the peak signal-to-noise ratio of each frame, in decibels.

    With m the mean squared error of a frame over its C*H*W values it is 10 log10(data_range^2 / m):
    the ratio of each frame, and not the ratio of an error averaged over frames first.

    Parameters
    ----------
    data_range : float
        The distance between the smallest and the largest value that a frame can have: 1 for frames
        in [0, 1], 255 for bytes, and so on. Actual frames that span more are refused: their ratio
        would look right and be wrong.
    quantize : bool
        Compute from bytes, as several published evaluations do: frames in [0, `data_range`] are
        scaled to 0..255 and cut down to whole numbers, in the series' own floating type;
        predictions are clipped first.

    Notes
    -----
    The ratio of identical frames is infinite, and so is then their mean; a `reduction=np.nanmedian`
    of `backtest` is one that infinities do not swamp.

    Examples
    --------
    >>> import numpy as np
    >>> from darts_mim.series import frames_to_series
    >>> actual = frames_to_series(np.zeros((2, 1, 3, 4)))
    >>> predicted = frames_to_series(np.stack([np.full((1, 3, 4), 0.1), np.zeros((1, 3, 4))]))
    >>> frame_psnr(actual, predicted).round(2)
    array([20., inf])
    """
    frames = pair_frames(actual_series, pred_series, intersect, clip)
    frames, peak = fit_range(frames, data_range, quantize)

    def score(pair: PairedFrames) -> Any:
        with np.errstate(divide="ignore"):
            return 10.0 * np.log10(peak**2 / np.mean(np.square(_errors(pair))))

    return _score_frames(frames, score, time_reduction)


@_frame_metric
def frame_ssim(
    actual_series: TimeSeriesLike,
    pred_series: TimeSeriesLike,
    intersect: bool = True,
    *,
    data_range: float = 1.0,
    window: Window = "uniform",
    window_size: int | None = None,
    clip: tuple[float, float] | None = None,
    quantize: bool = False,
    time_reduction: Reduction | None = None,
    component_reduction: Reduction | None = None,
    series_reduction: Reduction | None = None,
    n_jobs: int = 1,
    verbose: bool = False,
    name: str | None = None,
) -> NDArray[np.float64]:
    """Compute the structural similarity of each frame: 1 where it equals the actual frame.

    The similarity of a window around every cell is computed for each channel by itself, by
    scikit-image, and averaged over the windows that lie inside the frame and over the channels.

    Parameters
    ----------
    data_range : float
        The distance r between the smallest and the largest value that a frame can have; actual
        frames that span more are refused. It sets the two constants that keep the ratio stable,
        (0.01 r)^2 and (0.03 r)^2: the larger it is, the closer to 1 every result. scikit-image took
        2 for floats when it was not told (until version 0.20 refused to guess), and figures
        computed so cannot be compared with r = 1.
    window : {"uniform", "gaussian"}
        "uniform" is scikit-image's default: a square of equal weights and sample covariances.
        "gaussian" is that of Wang et al.: weights of standard deviation 1.5 over 11x11 cells,
        population covariances.
    window_size : int, optional
        Side of the uniform window in cells, odd, 7 if not given. The Gaussian's cannot be chosen.
    quantize : bool
        Compute from bytes: frames in [0, `data_range`] are scaled to 0..255 and cut down to whole
        numbers; predictions are clipped first.

    Notes
    -----
    With a mask or NaN in the actual frames, the mean is over those windows alone in which every
    cell was observed, so that no made-up value touches the result. At least one window must fit
    into the frames and between the cells of the mask.

    References
    ----------
    Wang, Bovik, Sheikh, Simoncelli: Image quality assessment: from error visibility to structural
    similarity. IEEE Transactions on Image Processing 13 (2004).

    Examples
    --------
    >>> import numpy as np
    >>> from darts_mim.series import frames_to_series
    >>> frames = np.random.default_rng(0).random((2, 3, 8, 9))
    >>> actual = frames_to_series(frames)
    >>> frame_ssim(actual, actual)
    array([1., 1.])
    >>> predicted = frames_to_series(np.full_like(frames, 0.5))
    >>> bool((frame_ssim(actual, predicted, data_range=2.0) > frame_ssim(actual, predicted)).all())
    True
    """
    frames = pair_frames(actual_series, pred_series, intersect, clip)
    frames, value_range = fit_range(frames, data_range, quantize)
    size = checked_window_size(window, window_size)
    check_window_fits(frames.observed, size)

    def score(pair: PairedFrames) -> Any:
        windows = complete_windows(pair.observed, size)
        if not windows.any() or not np.isfinite(pair.predicted[pair.observed]).all():
            return np.nan
        _, similarity = structural_similarity(
            np.where(pair.observed, pair.actual, 0.0),
            np.where(pair.observed, pair.predicted, 0.0),
            win_size=size,
            data_range=value_range,
            channel_axis=0,
            gaussian_weights=window == "gaussian",
            use_sample_covariance=window == "uniform",
            full=True,
        )
        margin = size // 2  # of windows that reach beyond the frame
        return similarity[:, margin:-margin, margin:-margin][windows].mean()

    return _score_frames(frames, score, time_reduction)


def _score_frames(
    frames: PairedFrames, score: Callable[[PairedFrames], Any], time_reduction: Reduction | None
) -> NDArray[np.float64]:
    """Score each frame: (T, 1) as Darts expects it, or (1, 1) with a `time_reduction`."""
    scores = np.full((len(frames.actual), 1), np.nan)
    for t, (actual, predicted, observed) in enumerate(zip(*frames, strict=True)):
        if observed.any():
            pair = PairedFrames(actual.astype(np.float64), predicted.astype(np.float64), observed)
            scores[t] = score(pair)
    return scores if time_reduction is None else np.atleast_2d(time_reduction(scores, axis=0))


def _score_errors(
    frames: PairedFrames,
    data_range: float | None,
    score: Callable[[NDArray[np.floating[Any]]], Any],
    time_reduction: Reduction | None,
) -> NDArray[np.float64]:
    """Score the errors of each frame, divided by the range of the data if there is one."""
    scale = 1.0 if data_range is None else checked_data_range(data_range)
    return _score_frames(frames, lambda pair: score(_errors(pair) / scale), time_reduction)


def _errors(pair: PairedFrames) -> NDArray[np.floating[Any]]:
    return pair.predicted[pair.observed] - pair.actual[pair.observed]


def _pixel_reduction(name: str) -> Callable[..., Any]:
    if name not in ("mean", "sum"):
        raise ValueError(f"`pixel_reduction` must be 'mean' or 'sum', got {name!r}")
    return np.mean if name == "mean" else np.sum
