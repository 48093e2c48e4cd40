"""The frames of a picture: series that belong together, aligned in time, with their colours.

Legend: T time, C channels, H height, W width, N components of the grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from darts import TimeSeries
from darts.utils.utils import n_steps_between
from matplotlib.colors import Colormap

from darts_mim.grid import Grid, check_same_cells
from darts_mim.plotting.cells import label_of
from darts_mim.plotting.colours import ColourScale, Floats, difference_scale, range_of, value_scale
from darts_mim.series import grid_of_forecast, parameter_names
from darts_mim.times import time_span

Row: TypeAlias = Literal["context", "truth", "forecast", "difference"]


class Strip(NamedTuple):
    """Frames (T, H, W) or colours (T, H, W, 3), their scale, and their steps from the context on.

    The last frame of the context is step 0, the first one after it step 1.
    """

    kind: Row
    name: str
    frames: Floats
    scale: ColourScale | None
    steps: list[int]


class Scene(NamedTuple):
    """The rows that can be drawn, their grid, and the times of context and forecast."""

    grid: Grid
    times: pd.Index[Any]
    strips: list[Strip]


def make_scene(
    history: TimeSeries,
    actual: TimeSeries | None,
    forecast: TimeSeries | Mapping[str, TimeSeries],
    channel: int | str,
    signed: bool,
    limits: tuple[float | None, float | None, float | None],
    cmap: str | Colormap,
    label: str | None,
) -> Scene:
    """Cut series to the time steps that they share and take one channel of their frames.

    The context is the part of `history` before the forecast, at most as many frames as the forecast
    has. All frames share a colour scale, which context and truth set; all differences share one.
    The limits are those of ``plot_frames``: `vmin`, `vmax` and `difference_vmax`.
    """
    forecasts = forecast if isinstance(forecast, Mapping) else {"": forecast}
    named = {f"forecast[{name!r}]" if name else "forecast": s for name, s in forecasts.items()}
    ahead = named if actual is None else {"actual": actual, **named}
    grid = shared_grid({"history": history, **ahead})
    is_rgb = channel == "rgb" and "rgb" not in grid.channel_names
    number = None if is_rgb else channel_number(grid, channel)
    times = shared_times(ahead)
    n_before = int((history.time_index < times[0]).sum())
    before = history.time_index[max(0, n_before - len(times)) : n_before]
    if len(before) == 0:
        raise ValueError(
            f"`history` must begin before the forecast's first step {times[0]}, got "
            f"{time_span(history)}; pass the series that the model was given"
        )
    context = frames_of(history, grid, number, before)
    truth = None if actual is None else frames_of(actual, grid, number, times)
    predicted = {name: frames_of(each, grid, number, times) for name, each in forecasts.items()}
    known = [context, *(predicted.values() if truth is None else [truth])]
    scale, label = None, label or ("" if number is None else channel_label(grid, number))
    if number is None:
        _check_colours(grid, known)
    else:
        scale = value_scale(known, [*known, *predicted.values()], limits[:2], cmap, label)
    first_step = n_steps_between(times[0], before[-1], history.freq)
    steps = list(range(first_step, first_step + len(times)))
    strips = [Strip("context", "Context", context, scale, list(range(1 - len(before), 1)))]
    if truth is not None:
        strips.append(Strip("truth", "Truth", truth, scale, steps))
    for name, frames in predicted.items():
        median = "\n(median)" if is_distribution(forecasts[name]) else ""
        strips.append(Strip("forecast", (name or "Forecast") + median, frames, scale, steps))
    if truth is not None:
        differences = {name: difference_of(each, truth, signed) for name, each in predicted.items()}
        minus = "forecast \N{MINUS SIGN} truth"
        label = with_unit(minus if signed else f"|{minus}|", label)
        scale = difference_scale(list(differences.values()), limits[2], label, signed=signed)
        title = "Difference" if signed else "Absolute\ndifference"
        for name, frames in differences.items():
            text = f"{name}\n{title.lower()}" if name else title
            strips.append(Strip("difference", text, frames, scale, steps))
    return Scene(grid, before.append(times), strips)


def step_name(step: int) -> str:
    """Name a time step, counted from the last one of the context, ``t``."""
    return "t" if step == 0 else f"t{step:+d}".replace("-", "\N{MINUS SIGN}")


def channel_label(grid: Grid, channel: int) -> str:
    """Return the label of a channel, with its unit."""
    name = grid.channel_names[channel]
    is_nameless = name == f"channel_{channel}" and not grid.attributes_of(name)
    return "value" if is_nameless else label_of(grid, name)


def with_unit(name: str, label: str) -> str:
    """Add the unit of a label to the name of another quantity.

    Examples
    --------
    >>> with_unit("width", "sea surface temperature [°C]")
    'width [°C]'
    """
    _, bracket, unit = label.rpartition(" [")
    return name + bracket + unit if bracket else name


def shared_grid(named: Mapping[str, TimeSeries]) -> Grid:
    """Return the grid of series, given by the names of the arguments; refuse different grids.

    Coordinates, mask and attributes that only some of the series have hold for all.
    """
    for name, one in named.items():
        if not isinstance(one, TimeSeries):
            raise TypeError(
                f"`{name}` must be a TimeSeries, got {type(one).__name__}; convert frames with "
                "`frames_to_series`, and pass one element of a list"
            )
    grids = {name: grid_of_forecast(one) for name, one in named.items()}
    kinds = {name: (one.freq_str, grids[name].shape) for name, one in named.items()}
    if len(set(kinds.values())) > 1:
        raise ValueError(
            "the series must have one frequency and one grid, got frequencies and frames "
            f"(C, H, W) of {kinds}; resample or cut them first"
        )
    check_same_cells(grids)
    first, *others = grids.values()
    found = {
        field: next((held for grid in others if (held := getattr(grid, field)) is not None), None)
        for field in ("coordinates", "mask", "attributes")
        if getattr(first, field) is None
    }
    return first.evolve(**found)


def channel_number(grid: Grid, channel: int | str) -> int:
    """Return the number of a channel given by number or name."""
    names: list[Any] = list(grid.channel_names)
    number = names.index(channel) if channel in names else channel
    if number not in range(grid.channels):
        raise ValueError(f"`channel` must be one of {names} or its number, got {channel!r}")
    return int(number)


def shared_times(named: Mapping[str, TimeSeries]) -> pd.Index[Any]:
    """Return the times that all series have; refuse series that share none."""
    shared: pd.Index[Any] = reduce(pd.Index.intersection, (s.time_index for s in named.values()))
    if len(shared) == 0:
        spans = " and ".join(f"`{name}` ({time_span(series)})" for name, series in named.items())
        raise ValueError(
            f"{spans} must share time steps; pass the series that the forecast was made for"
        )
    return shared


def frames_of(
    series: TimeSeries,
    grid: Grid,
    channel: int | None,
    times: pd.Index[Any],
    level: float | None = 0.5,
) -> Floats:
    """Return one channel (T, H, W) or colours (T, H, W, 3) at some times; NaN where masked.

    Of a distribution it is the quantile of a level, or without a level the mean.
    """
    first = int((series.time_index < times[0]).sum())
    frames = grid.to_frames(values_of(series[first : first + len(times)], level))
    frames = frames if grid.mask is None else np.where(grid.mask, frames, np.nan)
    return np.moveaxis(frames, 1, -1) if channel is None else frames[:, channel]


def is_distribution(series: TimeSeries) -> bool:
    """Return whether a forecast holds samples or parameters of a distribution."""
    return series.is_stochastic or len(parameter_names(series)) > 1


def values_of(series: TimeSeries, level: float | None) -> Floats:
    """Return a quantile (T, N) of a distribution, or its mean; the values of any other series.

    Raises
    ------
    ValueError
        If the series holds other quantiles.
    """
    values: Floats = series.all_values(copy=False)
    if series.is_stochastic:
        return values.mean(axis=2) if level is None else np.quantile(values, level, axis=2)
    held, wanted = parameter_names(series), "mean" if level is None else f"q{level:.3f}"
    if len(held) < 2:
        return values[..., 0]
    if wanted not in held:
        raise ValueError(
            f"the forecast must hold {wanted} for this picture, got {', '.join(held)}; forecast "
            "samples with `predict(..., num_samples=...)`, or these quantiles"
        )
    return values[:, held.index(wanted) :: len(held), 0]


def difference_of(predicted: Floats, truth: Floats, signed: bool) -> Floats:
    """Return the difference (T, H, W); of colours it is the mean over the three."""
    difference = predicted - truth if signed else np.abs(predicted - truth)
    return difference if difference.ndim == 3 else difference.mean(axis=-1)


def _check_colours(grid: Grid, known: list[Floats]) -> None:
    low, high = range_of(known)
    if grid.channels != 3 or low < 0.0 or high > 1.0:
        raise ValueError(
            f'`channel="rgb"` needs three channels with values in [0, 1], got {grid.channels} and '
            f"{low:g} to {high:g}; scale the series, as in `series / 255`"
        )
