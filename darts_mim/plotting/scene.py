"""What a picture of a forecast shows: frames that belong together.

Legend: T time, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from darts import TimeSeries

from darts_mim.grid import Grid, check_same_cells
from darts_mim.plotting.distributions import (
    Floats,
    central_values,
    grid_of_forecast,
    is_distribution,
)
from darts_mim.times import time_span

RGB: Final = "rgb"
NAMELESS: Final = ""  # the name of a forecast that has none


@dataclass(frozen=True, eq=False)
class Scene:
    """One channel of context, truth and forecasts, aligned in time.

    Frames have the shape (T, H, W), or as colours (T, H, W, 3).

    Parameters
    ----------
    grid
        The grid of the frames.
    channel
        The number of the channel, ``None`` for colours.
    context
        The last frames before the forecast.
    truth
        What came, ``None`` if that is not known.
    forecasts
        What was forecast, by the name of the model; it may be empty.
    medians
        The names of the forecasts that are the median of a distribution.
    context_steps, forecast_steps
        Time steps of the frames, counted from the last one of the context: ..., -1, 0 and 1, 2, ...
    times
        The times of all frames.
    """

    grid: Grid
    channel: int | None
    context: Floats
    truth: Floats | None
    forecasts: Mapping[str, Floats]
    medians: frozenset[str]
    context_steps: npt.NDArray[np.int64]
    forecast_steps: npt.NDArray[np.int64]
    times: pd.Index[Any]

    @classmethod
    def from_series(
        cls,
        history: TimeSeries,
        actual: TimeSeries | None,
        forecast: TimeSeries | Mapping[str, TimeSeries],
        channel: int | str,
    ) -> Scene:
        """Cut the series to the time steps they share and take one channel of their frames.

        The context is what `history` holds before the forecast, at most as many frames as the
        forecast has. A distribution is replaced by its median.
        """
        forecasts = forecast if isinstance(forecast, Mapping) else {NAMELESS: forecast}
        ahead = {f"forecast[{name!r}]" if name else "forecast": s for name, s in forecasts.items()}
        if not ahead:
            raise ValueError("`forecast` must hold at least one model, got none")
        if actual is not None:
            ahead = {"actual": actual, **ahead}
        grid = shared_grid({"history": history, **ahead})
        number = channel_number(grid, channel, may_be_colours=True)
        shared = shared_times(ahead)
        n_before = int((_times(history) < shared[0]).sum())
        if n_before == 0:
            raise ValueError(
                f"`history` must begin before the forecast's first step {shared[0]}, got "
                f"{time_span(history)}; pass the series that the model saw"
            )
        history = history[max(0, n_before - len(shared)) : n_before]
        first_step = _count_steps(history.end_time(), shared[0], history.freq)
        scene = cls(
            grid=grid,
            channel=number,
            context=frames_of(history, grid, number),
            truth=None if actual is None else frames_of(cut(actual, shared), grid, number),
            forecasts={
                name: frames_of(cut(each, shared), grid, number) for name, each in forecasts.items()
            },
            medians=frozenset(name for name, each in forecasts.items() if is_distribution(each)),
            context_steps=np.arange(1 - len(history), 1),
            forecast_steps=first_step + np.arange(len(shared)),
            times=history.time_index.append(shared),
        )
        if number is None:
            _check_colours(scene)
        return scene

    def forecast_name(self, name: str) -> str:
        """Call a forecast by its model's name, and say if it is a median."""
        return (name or "Forecast") + ("\n(median)" if name in self.medians else "")

    def difference_name(self, name: str, *, signed: bool) -> str:
        """Call the difference of a forecast and the truth."""
        if name:
            return f"{name}\n" + ("difference" if signed else "|difference|")
        return "Difference" if signed else "Absolute\ndifference"

    @property
    def time_names(self) -> list[str]:
        """The dates of all frames, with the time of day where one has any; none for integers."""
        if not isinstance(self.times, pd.DatetimeIndex):
            return []
        has_hours = (self.times != self.times.normalize()).any()
        return self.times.strftime("%Y-%m-%d %H:%M" if has_hours else "%Y-%m-%d").tolist()

    @property
    def known(self) -> Floats:
        """The frames that the colours are scaled by, as one row of values."""
        told = list(self.forecasts.values()) if self.truth is None else [self.truth]
        return np.concatenate([frames.ravel() for frames in (self.context, *told)])

    @property
    def shown(self) -> Floats:
        """All frames, as one row of values."""
        return np.concatenate([self.known, *(each.ravel() for each in self.forecasts.values())])

    def differences(self, *, signed: bool) -> dict[str, Floats]:
        """Return forecast minus truth, or its absolute value (T, H, W), for each model.

        Of colours it is the mean over the three.
        """
        if self.truth is None:
            return {}
        found: dict[str, Floats] = {
            name: frames - self.truth for name, frames in self.forecasts.items()
        }
        if not signed:
            found = {name: np.abs(each) for name, each in found.items()}
        if self.channel is None:
            found = {name: each.mean(axis=-1) for name, each in found.items()}
        return found


def step_name(step: int) -> str:
    """Name a time step counted from the last one of the context, ``t``."""
    if step == 0:
        return "t"
    return f"t+{step}" if step > 0 else f"t\N{MINUS SIGN}{-step}"


def value_label(grid: Grid, channel: int | None) -> str:
    """Say what the values of a channel are, with their unit."""
    if channel is None:
        return "value"
    name = grid.channel_names[channel]
    is_nameless = name == f"channel_{channel}" and not grid.attributes_of(name)
    return "value" if is_nameless else grid.label(name)


def with_unit(what: str, grid: Grid, channel: int | None) -> str:
    """Put the unit of a channel behind what has it."""
    units = (
        None if channel is None else grid.attributes_of(grid.channel_names[channel]).get("units")
    )
    return f"{what} [{units}]" if units else what


def shared_grid(named: Mapping[str, TimeSeries]) -> Grid:
    """Return the grid of series, by the names of the arguments; refuse those that differ.

    What only some of them tell - coordinates, mask, attributes - holds for all.
    """
    for name, one in named.items():
        if not isinstance(one, TimeSeries):
            raise TypeError(
                f"`{name}` must be a TimeSeries, got {type(one).__name__}; make frames a series "
                f"with `frames_to_series`, and of a list take one"
            )
    frequencies = {name: one.freq_str for name, one in named.items()}
    if len(set(frequencies.values())) > 1:
        raise ValueError(
            f"the series must have one frequency, got {frequencies}; resample them or give "
            f"them the same time axis"
        )
    grids = {name: grid_of_forecast(one) for name, one in named.items()}
    shapes = {name: grid.shape for name, grid in grids.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(
            f"the series must have one grid, got frames (C, H, W) of {shapes}; pass series of the "
            f"same frames, and make frames a series with `frames_to_series`"
        )
    check_same_cells(grids)
    first, *others = grids.values()
    told = {
        field: next((found for grid in others if (found := getattr(grid, field)) is not None), None)
        for field in ("coordinates", "mask", "attributes")
        if getattr(first, field) is None
    }
    return first.evolve(**told)


def channel_number(grid: Grid, channel: int | str, *, may_be_colours: bool = False) -> int | None:
    """Return the number of a channel given by number or name; ``None`` for colours."""
    if isinstance(channel, str) and channel in grid.channel_names:
        return grid.channel_names.index(channel)
    if isinstance(channel, int | np.integer) and channel in range(grid.channels):
        return int(channel)
    if may_be_colours and channel == RGB:
        if grid.channels == 3:
            return None
        raise ValueError(
            f'`channel="rgb"` needs the three channels red, green and blue, got {grid}; pass the '
            f"number or the name of one channel"
        )
    raise ValueError(
        f"`channel` must be a number in 0..{grid.channels - 1} or a name of {grid}, got {channel!r}"
    )


def frames_of(series: TimeSeries, grid: Grid, channel: int | None) -> Floats:
    """Return one channel (T, H, W) or colours (T, H, W, 3) of a series, of its median if it has."""
    return channel_of(central_values(series), grid, channel)


def channel_of(values: Floats, grid: Grid, channel: int | None) -> Floats:
    """Return one channel (T, H, W) or colours (T, H, W, 3); NaN where nothing is observed."""
    frames = grid.to_frames(values)
    frames = frames if grid.mask is None else np.where(grid.mask, frames, np.nan)
    return np.moveaxis(frames, 1, -1) if channel is None else frames[:, channel]


def cut(series: TimeSeries, times: pd.Index[Any]) -> TimeSeries:
    """Return a series at times that it has, which follow each other."""
    first = int((_times(series) < times[0]).sum())
    return series[first : first + len(times)]


def shared_times(named: Mapping[str, TimeSeries]) -> pd.Index[Any]:
    """Return the times that all series have; refuse series that share none."""
    first, *others = (_times(series) for series in named.values())
    for times in others:
        first = first.intersection(times)
    if len(first) == 0:
        spans = " and ".join(f"{time_span(series)}" for series in named.values())
        names = " and ".join(f"`{name}`" for name in named)
        raise ValueError(
            f"{names} must share time steps, got {spans}; pass the series that the forecast was "
            f"made for"
        )
    return first


def _check_colours(scene: Scene) -> None:
    known = scene.context if scene.truth is None else np.concatenate([scene.context, scene.truth])
    known = known[np.isfinite(known)]
    if known.size and not (known.min() >= 0.0 and known.max() <= 1.0):
        raise ValueError(
            f'`channel="rgb"` draws values in [0, 1], got {known.min():g} to {known.max():g}; '
            f"scale the series, as in `series / 255`"
        )


def _times(series: TimeSeries) -> pd.Index[Any]:
    return series.time_index


def _count_steps(start: Any, end: Any, freq: Any) -> int:
    if isinstance(freq, int):
        return int(end - start) // freq
    return len(pd.date_range(start, end, freq=freq)) - 1
