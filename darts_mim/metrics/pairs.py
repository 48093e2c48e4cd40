"""What of two series a metric compares: frames of the same times, grid and range, and windows.

Legend: T time, C channels, H height, W width, N = C*H*W components.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from darts import TimeSeries
from darts.metrics.utils import _get_values_or_raise
from numpy.typing import NDArray

from darts_mim.checks import checked_integer, checked_number
from darts_mim.grid import Grid, check_same_cells, grid_of
from darts_mim.times import time_span

_BYTE_RANGE = 255.0
_TOLERANCE = 1e-6  # of a range: rounding in float32 may add that much
# Sides in cells. scikit-image cuts its Gaussian of standard deviation 1.5 off at 3.5 deviations.
_WINDOW_SIZES = {"uniform": 7, "gaussian": 11}


class PairedFrames(NamedTuple):
    """The frames of two series that a score compares, or a single frame of each."""

    actual: NDArray[np.floating[Any]]  # ([T,] C, H, W)
    predicted: NDArray[np.floating[Any]]  # ([T,] C, H, W)
    observed: NDArray[np.bool_]  # ([T,] C, H, W), True where the actual value is known


def pair_frames(
    actual_series: Any,
    pred_series: Any,
    intersect: bool,
    clip: tuple[float, float] | None,
) -> PairedFrames:
    """Bring two series, of which Darts' plumbing leaves one each, to frames of the same times."""
    grid = _shared_grid(actual_series, pred_series)
    if actual_series.is_stochastic:
        raise ValueError(
            f"`actual_series` must have one sample, got {actual_series.n_samples}; pass what "
            "happened as `actual_series` and the forecast as `pred_series`, or reduce the samples "
            "with `actual_series.median(axis=2)`"
        )
    # (T, N, samples) -> (T, N, 1), the median
    values = _get_values_or_raise(actual_series, pred_series, intersect, q=([0.5], None))
    actual, predicted = (grid.to_frames(value[..., 0]) for value in values)
    if len(actual) != len(predicted) or not len(actual):
        raise ValueError(
            f"`actual_series` ({time_span(actual_series)}) and `pred_series` "
            f"({time_span(pred_series)}) must have times in common, or with `intersect=False` be "
            "equally long; pass the series that was forecast"
        )
    observed = ~np.isnan(actual)
    if grid.mask is not None:
        observed &= grid.mask
    frames = PairedFrames(actual, predicted, observed)
    return frames if clip is None else _clip(frames, *clip)


def fit_range(
    frames: PairedFrames, data_range: float, quantize: bool
) -> tuple[PairedFrames, float]:
    """Check the range of the frames, make bytes of them if asked to; return both."""
    data_range = checked_data_range(data_range)
    smallest, largest = _extremes(frames)
    if largest - smallest > data_range * (1.0 + _TOLERANCE):
        raise ValueError(
            f"the actual frames span {smallest:g} to {largest:g}, more than "
            f"`data_range={data_range:g}`; pass the distance from the smallest to the largest "
            "value a frame can have, such as data_range=255 for bytes, or scale the series"
        )
    if not quantize:
        return frames, data_range
    frames = _clip(frames, 0.0, data_range)
    actual, predicted = (
        np.trunc(np.clip(values, 0.0, data_range) * (_BYTE_RANGE / data_range))
        for values in (frames.actual, frames.predicted)
    )
    return PairedFrames(actual, predicted, frames.observed), _BYTE_RANGE


def checked_data_range(data_range: Any) -> float:
    """Return the range of a frame's values as a float, or raise if it is not positive."""
    if (value := checked_number("data_range", data_range)) <= 0.0:
        raise ValueError(f"`data_range` must be positive, got {value}; pass for example 1.0 or 255")
    return value


def checked_window_size(window: str, window_size: int | None) -> int:
    """Return the side of a window in cells, or raise if the choice makes no sense."""
    if window not in _WINDOW_SIZES:
        raise ValueError(f"`window` must be 'uniform' or 'gaussian', got {window!r}")
    if window_size is None:
        return _WINDOW_SIZES[window]
    if window == "gaussian" or checked_integer("window_size", window_size, 3) % 2 == 0:
        raise ValueError(
            f"`window_size` must be odd, and of a uniform window, got {window_size} with "
            f"`window={window!r}`; pass 3, 5, 7, ..., or leave it out"
        )
    return window_size


def check_window_fits(observed: NDArray[np.bool_], size: int) -> None:
    """Raise if no window of the grid can ever be complete; `observed` is (T, C, H, W)."""
    height, width = observed.shape[-2:]
    ever = np.any(observed, axis=0)
    fits = size <= min(height, width)
    if not fits or (ever.any() and not complete_windows(ever, size).any()):
        raise ValueError(
            f"no window of {size}x{size} cells fits between the unobserved cells of the "
            f"{height}x{width} frames; pass window='uniform' with a smaller odd `window_size` of "
            "at least 3, or, for a smaller grid or a series without one, use `frame_mse`"
        )


def complete_windows(observed: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    """Find the windows without an unknown cell: (C, H, W) -> (C, H - size + 1, W - size + 1)."""
    for axis in (-2, -1):
        windows = np.lib.stride_tricks.sliding_window_view(observed, size, axis=axis)
        observed = np.all(windows, axis=-1)
    return observed


def _shared_grid(actual_series: TimeSeries, pred_series: TimeSeries) -> Grid:
    actual, predicted = Grid.from_series(actual_series), Grid.from_series(pred_series)
    if actual is None or predicted is None:
        return actual or predicted or grid_of(actual_series)
    if actual.shape != predicted.shape:
        raise ValueError(
            f"`pred_series` lies on another grid than `actual_series`: expected {actual}, got "
            f"{predicted}; bring both to the same channels, rows and columns"
        )
    check_same_cells({"actual_series": actual, "pred_series": predicted})
    # an actual series made without a mask does not make cells observed that never were
    return actual if actual.mask is not None else predicted


def _clip(frames: PairedFrames, low: float, high: float) -> PairedFrames:
    """Clip the predictions to bounds that the actual frames keep to."""
    smallest, largest = _extremes(frames)
    slack = _TOLERANCE * (high - low)
    if smallest < low - slack or largest > high + slack:
        raise ValueError(
            f"the actual frames lie in [{smallest:g}, {largest:g}], outside of the "
            f"[{low:g}, {high:g}] of `clip`; pass the bounds or the `data_range` of your data, or "
            "scale the series"
        )
    return frames._replace(predicted=np.clip(frames.predicted, low, high))


def _extremes(frames: PairedFrames) -> tuple[float, float]:
    known = frames.actual[frames.observed]
    return (float(known.min()), float(known.max())) if known.size else (math.nan, math.nan)
