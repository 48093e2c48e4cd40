"""Maps of a forecast's distribution.

Legend: T time, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, cast, get_args

import numpy as np
from darts import TimeSeries
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from darts_mim.checks import checked_integer, checked_number
from darts_mim.plotting.board import Board, Panel
from darts_mim.plotting.colours import DEFAULT_CMAP, Floats, share_scale, value_scale
from darts_mim.plotting.scene import (
    channel_label,
    channel_number,
    frames_of,
    is_distribution,
    shared_grid,
    shared_times,
    with_unit,
)

Centre: TypeAlias = Literal["median", "mean"]

_SIZE, _TALLEST = 2.4, 4.0  # inches of a panel


def plot_uncertainty(
    forecast: TimeSeries | Sequence[TimeSeries],
    actual: TimeSeries | Sequence[TimeSeries] | None = None,
    *,
    channel: int | str = 0,
    frame: int | None = None,
    interval: float = 0.8,
    centre: Centre = "median",
    vmin: float | None = None,
    vmax: float | None = None,
    cmap: str = DEFAULT_CMAP,
    value_label: str | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Map a probabilistic forecast: its centre, the width of its interval, its coverage.

    The coverage is the share of frames in which the truth lies in the interval, cell by cell: near
    the interval's probability (white) where the forecast is calibrated, below it (red) where the
    interval is too narrow. A share needs many frames: pass the forecasts of
    ``historical_forecasts`` rather than a single one. Cells without a value are hatched.

    Parameters
    ----------
    forecast
        A forecast with samples, from ``predict(..., num_samples=...)``, or with quantiles as
        components, from ``predict(..., predict_likelihood_parameters=True)`` with
        ``QuantileRegression`` or from a conformal model; or several forecasts.
    actual
        The series to compare forecasts with: one for all of them, or one for each; ``None`` if it
        is not known. Without it, truth and coverage are not drawn.
    channel
        Number or name of the channel to draw.
    frame
        Number of the frame of the forecast to draw, from 1; by default the mean over all frames,
        with `actual` over those in which a cell has a truth.
    interval
        Probability of the central interval, 0.001 to 0.999: 0.8 is from the 10 % to the 90 %
        quantile.
    centre
        Whether the "median" or the "mean" is the centre of the forecast.
    vmin, vmax
        Ends of the colour scale of truth and centre, in the unit of the series; by default their
        range.
    cmap
        A colour map of matplotlib for truth and centre.
    value_label
        Label of the values, with the unit; by default that of the channel.
    title
        Title of the figure, or of `ax`.
    ax
        Axes to replace by the whole picture, as in ``plot_frames``.

    Returns
    -------
    matplotlib.figure.Figure
        A figure with an axes for each map - truth, centre, width, coverage - and their colour bars;
        or the one of `ax`.

    Raises
    ------
    TypeError
        If `forecast` or `actual` is not a series.
    ValueError
        If a forecast is not a distribution, or does not hold the quantiles of the interval or the
        frame; if `centre` is the mean of quantiles; and as in ``plot_frames``.

    Examples
    --------
    >>> from darts_mim import frames_to_series
    >>> rng = np.random.default_rng(0)
    >>> actual = frames_to_series(rng.normal(size=(5, 1, 4, 6)))
    >>> forecast = frames_to_series(rng.normal(size=(5, 1, 4, 6, 100)), layout="TCHWS")
    >>> figure = plot_uncertainty(forecast, actual, interval=0.9)
    >>> [axes.get_title() for axes in figure.axes[:2]]
    ['Truth', 'Median']
    """
    if centre not in get_args(Centre):
        raise ValueError(f"`centre` must be 'median' or 'mean', got {centre!r}")
    interval = checked_number("interval", interval, 0.001, 0.999)
    forecasts = [forecast] if isinstance(forecast, TimeSeries) else list(forecast)
    truths = list(actual) if isinstance(actual, Sequence) else [actual] * len(forecasts)
    named = {f"forecast[{i}]": each for i, each in enumerate(forecasts)}
    named |= {f"actual[{i}]": each for i, each in enumerate(truths) if each is not None}
    grid = shared_grid(named)
    number = channel_number(grid, channel)
    if len(truths) != len(forecasts):
        raise ValueError(
            f"`actual` must be one series or one for each forecast, got {len(truths)} for "
            f"{len(forecasts)} forecasts; repeat a series for each of its forecasts"
        )
    levels = [(1.0 - interval) / 2.0, (1.0 + interval) / 2.0, None if centre == "mean" else 0.5]
    parts = []
    for one, truth in zip(forecasts, truths, strict=True):
        drawn = _one_frame(one, frame)
        ahead = {"forecast": drawn} if truth is None else {"actual": truth, "forecast": drawn}
        times = shared_times(ahead)
        frames = [frames_of(drawn, grid, number, times, level) for level in levels]
        missing = np.full_like(frames[0], np.nan)
        observed = missing if truth is None else frames_of(truth, grid, number, times)
        parts.append([*frames, observed])
    low, high, middle, observed = (np.concatenate(each) for each in zip(*parts, strict=True))
    n_frames = len(middle)
    of_frames = "" if n_frames == 1 else f", mean of {n_frames} frames"
    label = value_label or channel_label(grid, number)
    # the frames that have a truth; all of them in cells that never have one
    is_known = np.isfinite(observed)
    centres = _mean(np.where(is_known | ~is_known.any(axis=0), middle, np.nan))
    truth_map, width = _mean(observed), _mean(high - low)
    shown = [truth_map, centres]
    values = value_scale(shown, shown, (vmin, vmax), cmap, label + of_frames)
    width_label = with_unit("width", label) + of_frames
    widths = value_scale([width], [width], (0.0, None), "cividis", width_label)
    name = f"Width of the {100.0 * interval:.4g} % interval"
    maps = [(centres, values, centre.capitalize()), (width, widths, name)]
    if actual is not None:
        is_known &= np.isfinite(high - low)
        inside = np.where(is_known, (low <= observed) & (observed <= high), np.nan)
        overall = f"{100.0 * inside[is_known].mean():.0f} %" if is_known.any() else "not known"
        shares = share_scale(interval, "share of frames with the truth inside")
        covered = (_mean(inside), shares, f"Coverage: {overall}")
        maps = [(truth_map, values, "Truth"), *maps, covered]
    panels = [Panel(0, column, *each) for column, each in enumerate(maps)]
    board = Board(grid, panels, size=_SIZE, tallest=_TALLEST, title=title, ax=ax)
    return cast(Figure, board.figure)


def _one_frame(forecast: TimeSeries, frame: int | None) -> TimeSeries:
    """Return a frame of a forecast, or all of them."""
    if not is_distribution(forecast):
        raise ValueError(
            "`forecast` must hold samples or quantiles, got one value for each cell; pass "
            "`num_samples=100` to `predict`, for a model with a likelihood or dropout"
        )
    if frame is None:
        return forecast
    if checked_integer("frame", frame) > len(forecast):
        raise ValueError(
            f"`frame` must be at most {len(forecast)}, the frames of the forecast, got {frame}; "
            "leave it out for the mean over all frames"
        )
    return forecast[frame - 1 : frame]


def _mean(frames: Floats) -> Floats:
    """Return the mean (H, W) of the values there are, NaN where there is none."""
    mean: Floats = np.ma.masked_invalid(frames).mean(axis=0).filled(np.nan)
    return mean
