"""What a picture of a forecast shows: frames that belong together.

Legend: T time, C channels, H height, W width.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from darts import TimeSeries

from darts_mim.grid import Grid, grid_of
from darts_mim.series import series_to_frames
from darts_mim.times import time_span


@dataclass(frozen=True, eq=False)
class Scene:
    """One channel of context, truth and forecast, aligned in time.

    Parameters
    ----------
    context
        The last frames before the forecast, shape (T of the context, H, W).
    truth, forecast
        What came and what was forecast, shape (T, H, W).
    context_steps, forecast_steps
        Time steps of the frames, counted from the last one of the context: ..., -1, 0 and 1, 2, ...
    """

    context: npt.NDArray[np.floating[Any]]
    truth: npt.NDArray[np.floating[Any]]
    forecast: npt.NDArray[np.floating[Any]]
    context_steps: npt.NDArray[np.int64]
    forecast_steps: npt.NDArray[np.int64]

    @property
    def difference(self) -> npt.NDArray[np.floating[Any]]:
        """The absolute difference of truth and forecast, shape (T, H, W)."""
        return np.abs(self.truth - self.forecast)

    @classmethod
    def from_series(
        cls, history: TimeSeries, actual: TimeSeries, forecast: TimeSeries, channel: int | str
    ) -> "Scene":
        """Cut the series to the time steps they share and take one channel of their frames.

        The context is what `history` holds before the forecast, at most as many frames as the
        forecast has. A stochastic series is replaced by the median of its samples.
        """
        _check_alike(history=history, actual=actual, forecast=forecast)
        shared = _times(actual).intersection(_times(forecast))
        if len(shared) == 0:
            raise ValueError(
                f"`actual` and `forecast` must share time steps, got {time_span(actual)} and "
                f"{time_span(forecast)}; pass the series that the forecast was made for"
            )
        n_before = int((_times(history) < shared[0]).sum())
        if n_before == 0:
            raise ValueError(
                f"`history` must begin before the forecast's first step {shared[0]}, got "
                f"{time_span(history)}; pass the series that the model saw"
            )
        history = history[max(0, n_before - len(shared)) : n_before]
        grid = grid_of(actual)
        number = _channel_number(grid, channel)
        first_step = _count_steps(history.end_time(), shared[0], actual.freq)
        return cls(
            context=_frames_of(history, grid, number),
            truth=_frames_of(_cut(actual, shared), grid, number),
            forecast=_frames_of(_cut(forecast, shared), grid, number),
            context_steps=np.arange(1 - len(history), 1),
            forecast_steps=first_step + np.arange(len(shared)),
        )


def step_name(step: int) -> str:
    """Name a time step counted from the last one of the context, ``t``."""
    if step == 0:
        return "t"
    return f"t+{step}" if step > 0 else f"t\N{MINUS SIGN}{-step}"


def _check_alike(**series: TimeSeries) -> None:
    for name, one in series.items():
        if not isinstance(one, TimeSeries):
            raise TypeError(
                f"`{name}` must be a TimeSeries, got {type(one).__name__}; make frames a series "
                f"with `frames_to_series`, and of a list take one"
            )
    frequencies = {name: one.freq_str for name, one in series.items()}
    if len(set(frequencies.values())) > 1:
        raise ValueError(
            f"the series must have one frequency, got {frequencies}; resample them or give "
            f"them the same time axis"
        )
    shapes = {name: grid_of(one).shape for name, one in series.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(
            f"the series must have one grid, got frames (C, H, W) of {shapes}; pass series of the "
            f"same frames, and make frames a series with `frames_to_series`"
        )


def _channel_number(grid: Grid, channel: int | str) -> int:
    if isinstance(channel, str) and channel in grid.channel_names:
        return grid.channel_names.index(channel)
    if not isinstance(channel, str) and 0 <= channel < grid.channels:
        return channel
    raise ValueError(
        f"`channel` must be a number in 0..{grid.channels - 1} or a name of {grid}, got {channel!r}"
    )


def _frames_of(series: TimeSeries, grid: Grid, channel: int) -> npt.NDArray[np.floating[Any]]:
    """Return one channel, (T, H, W): the median of samples, NaN where nothing is observed."""
    if series.is_stochastic:
        series = series.median(axis=2)
    frames = series_to_frames(series)[:, channel]
    return frames if grid.mask is None else np.where(grid.mask, frames, np.nan)


def _times(series: TimeSeries) -> "pd.Index[Any]":
    return series.time_index


def _cut(series: TimeSeries, times: "pd.Index[Any]") -> TimeSeries:
    first = int((_times(series) < times[0]).sum())
    return series[first : first + len(times)]


def _count_steps(start: Any, end: Any, freq: Any) -> int:
    if isinstance(freq, int):
        return int(end - start) // freq
    return len(pd.date_range(start, end, freq=freq)) - 1
