"""What a forecast's distributions say, cell by cell.

Legend: T time, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias, cast, get_args

import numpy as np
from darts import TimeSeries
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from darts_mim.grid import Grid
from darts_mim.plotting.board import Bar, Board
from darts_mim.plotting.colours import DEFAULT_CMAP, ColourScale
from darts_mim.plotting.distributions import Floats, central_values, is_distribution, quantiles
from darts_mim.plotting.layout import GAP
from darts_mim.plotting.maps import GridMap
from darts_mim.plotting.scene import (
    channel_number,
    channel_of,
    cut,
    frames_of,
    shared_grid,
    shared_times,
    value_label,
    with_unit,
)

Centre: TypeAlias = Literal["median", "mean"]

_ALL_COLUMNS = 7.0  # inches, the most that the panels take
_WIDEST, _TALLEST = 2.4, 3.2  # inches of a panel


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
    the interval's probability (white) where the forecast is calibrated, below it (red) where it is
    too sure. A share needs many frames: pass the forecasts of ``historical_forecasts`` rather than
    one.

    Parameters
    ----------
    forecast
        A forecast with samples, from ``predict(..., num_samples=...)``, or with quantiles as
        components, from ``predict(..., predict_likelihood_parameters=True)`` with
        ``QuantileRegression`` or from a conformal model; or several forecasts.
    actual
        What came, for all forecasts or a series for each; ``None`` where nobody knows yet. With it
        the truth and the coverage are drawn too.
    channel
        Number or name of the channel to draw.
    frame
        Number of the frame of the forecast to draw, from 1; by default the mean over all frames,
        with `actual` over those in which a cell has a truth.
    interval
        Probability of the central interval, in (0, 1): 0.8 is from the 10 % to the 90 % quantile.
    centre
        Whether the "median" or the "mean" is the centre of the forecast.
    vmin, vmax
        Values of the ends of the colour scale of truth and centre, in the unit of the series; by
        default their range.
    cmap
        A colour map of matplotlib for truth and centre.
    value_label
        What the values are, with the unit; by default what the grid says of the channel.
    title
        Title of the figure, or of `ax`.
    ax
        Axes whose place the whole picture takes, as in ``plot_frames``.

    Returns
    -------
    matplotlib.figure.Figure
        A figure with an axes for each map - truth, centre, width, coverage - and their colour bars;
        or the one of `ax`.

    Raises
    ------
    TypeError
        If `forecast` or `actual` is no series.
    ValueError
        If a forecast is no distribution, does not hold the quantiles of the interval, or has no
        such frame; if there is no mean of quantiles; and as ``plot_frames`` does.

    Examples
    --------
    >>> from darts_mim import frames_to_series
    >>> rng = np.random.default_rng(0)
    >>> actual = frames_to_series(rng.normal(size=(5, 1, 4, 6)))
    >>> forecast = frames_to_series(rng.normal(size=(5, 1, 4, 6, 100)), layout="TCHWS")
    >>> figure = plot_uncertainty(forecast, actual, interval=0.9)
    >>> [axes.get_title() for axes in figure.axes[:3]]
    ['Truth', 'Median', 'Width of the 90 % interval']
    """
    if not isinstance(forecast, TimeSeries | Sequence):
        raise TypeError(
            f"`forecast` must be a TimeSeries or several, got {type(forecast).__name__}; pass what "
            "`predict` or `historical_forecasts` returns"
        )
    forecasts = [forecast] if isinstance(forecast, TimeSeries) else list(forecast)
    if not forecasts:
        raise ValueError("`forecast` must hold at least one forecast, got none")
    if centre not in get_args(Centre):
        raise ValueError(f"`centre` must be 'median' or 'mean', got {centre!r}")
    truths = _matched(actual, len(forecasts))
    if not 0.0 < interval < 1.0:
        raise ValueError(
            f"`interval` must be a probability in (0, 1), got {interval}; 0.8 is from the 10 % to "
            f"the 90 % quantile"
        )
    grid = shared_grid(_named(forecasts, truths))
    number = cast(int, channel_number(grid, channel))
    _check_forecasts(forecasts, frame)
    parts = []
    for one, truth in zip(forecasts, truths, strict=True):
        part = one if frame is None else one[frame - 1 : frame]
        if truth is not None:
            times = shared_times({"actual": truth, "forecast": part})
            part, truth = cut(part, times), cut(truth, times)
        parts.append(_summarise(part, truth, grid, number, interval, centre))
    whole = _Summary(*map(np.concatenate, zip(*parts, strict=True)))
    panels = _panels(whole, grid, number, interval, centre, (vmin, vmax), cmap, value_label)
    return _draw(GridMap.of(grid), panels, title, ax)


class _Summary(NamedTuple):
    """What is known of each frame, (T, H, W) each; T is 0 of what needs a truth, without one."""

    truth: Floats
    centre: Floats
    width: Floats
    inside: Floats


class _Panel(NamedTuple):
    """A map (H, W) and its colours."""

    title: str
    frame: Floats
    scale: ColourScale


def _named(
    forecasts: Sequence[TimeSeries], truths: Sequence[TimeSeries | None]
) -> dict[str, TimeSeries]:
    """Name series as the arguments of the caller are named."""

    def named(name: str, group: Sequence[TimeSeries | None]) -> dict[str, TimeSeries]:
        is_one = len(group) == 1
        return {
            name if is_one else f"{name}[{i}]": each
            for i, each in enumerate(group)
            if each is not None
        }

    unique = list({id(truth): truth for truth in truths}.values())
    return {**named("forecast", forecasts), **named("actual", unique)}


def _matched(
    actual: TimeSeries | Sequence[TimeSeries] | None, n_forecasts: int
) -> list[TimeSeries | None]:
    """Return the truth for each forecast."""
    if actual is None or isinstance(actual, TimeSeries):
        return [actual] * n_forecasts
    truths: list[TimeSeries | None] = list(actual)
    if len(truths) != n_forecasts:
        raise ValueError(
            f"`actual` must be one series for all of the {n_forecasts} forecasts or as many, got "
            f"{len(truths)}; repeat a series for each of its forecasts"
        )
    return truths


def _check_forecasts(forecasts: Sequence[TimeSeries], frame: int | None) -> None:
    for forecast in forecasts:
        if not is_distribution(forecast):
            raise ValueError(
                "`forecast` must hold samples or quantiles, got one value for each cell; pass "
                "`num_samples=100` to `predict`, for a model with a likelihood or dropout"
            )
    shortest = min(map(len, forecasts))
    if frame is not None and not (isinstance(frame, int | np.integer) and 1 <= frame <= shortest):
        raise ValueError(
            f"`frame` must be in 1..{shortest}, the frames of the forecast, got {frame}; leave it "
            f"out for the mean over all frames"
        )


def _summarise(
    forecast: TimeSeries,
    truth: TimeSeries | None,
    grid: Grid,
    channel: int,
    interval: float,
    centre: Centre,
) -> _Summary:
    bounds = quantiles(forecast, [(1.0 - interval) / 2.0, (1.0 + interval) / 2.0])
    low, high = (channel_of(values, grid, channel) for values in bounds)
    middle = channel_of(central_values(forecast, mean=centre == "mean"), grid, channel)
    if truth is None:
        return _Summary(middle[:0], middle, high - low, middle[:0])
    came = frames_of(truth, grid, channel)
    is_known = np.isfinite(came) & np.isfinite(low) & np.isfinite(high)
    inside = np.where(is_known, (low <= came) & (came <= high), np.nan)
    return _Summary(came, middle, high - low, inside)


def _panels(
    whole: _Summary,
    grid: Grid,
    channel: int,
    interval: float,
    centre: Centre,
    limits: tuple[float | None, float | None],
    cmap: str,
    label: str | None,
) -> list[_Panel]:
    """Return the mean over all frames, map by map."""
    centres = whole.centre
    if len(whole.truth):
        # means of the same frames, but of all of them where there is never a truth
        is_known = np.isfinite(whole.truth)
        centres = np.where(is_known | ~is_known.any(axis=0), centres, np.nan)
    maps = _Summary(*(_mean(frames) for frames in whole._replace(centre=centres)))
    n_frames = len(whole.centre)
    of_frames = "" if n_frames == 1 else f", mean of {n_frames} frames"
    label = label or value_label(grid, channel)
    shown = np.concatenate([maps.truth.ravel(), maps.centre.ravel()])
    values = ColourScale.of_values(shown, shown, *limits, cmap, f"{label}{of_frames}")
    widths = ColourScale.of_width(maps.width, with_unit("width", grid, channel) + of_frames)
    percent = f"{100.0 * interval:.4g} %"
    panels = [
        _Panel(centre.capitalize(), maps.centre, values),
        _Panel(f"Width of the {percent} interval", maps.width, widths),
    ]
    if len(whole.truth) == 0:
        return panels
    share = ColourScale.of_share(interval, "share of frames with the truth inside")
    known = whole.inside[np.isfinite(whole.inside)]
    overall = f"Coverage: {100.0 * known.mean():.0f} %" if known.size else "Coverage: not known"
    return [_Panel("Truth", maps.truth, values), *panels, _Panel(overall, maps.inside, share)]


def _mean(frames: Floats) -> Floats:
    """Return the mean (H, W) of the values there are, NaN where there is none."""
    mean: Floats = np.ma.masked_invalid(frames).mean(axis=0).filled(np.nan)
    return mean


def _draw(
    grid_map: GridMap, panels: Sequence[_Panel], title: str | None, ax: Axes | None
) -> Figure:
    n_columns, ratio = len(panels), grid_map.ratio
    width = min(_ALL_COLUMNS / n_columns - GAP, _WIDEST / ratio**0.5, _TALLEST / ratio)
    board = Board(ax, 1, n_columns, ratio=ratio, width=width)
    bars: dict[ColourScale, Bar] = {}
    for column, panel in enumerate(panels):
        axes = board.add_panel(0, column)
        grid_map.draw(axes, panel.frame, panel.scale)
        grid_map.label_columns(axes, board.panel_size[0])
        if column == 0:
            grid_map.label_rows(axes, board.panel_size[1])
        axes.set_title(panel.title, fontsize="small", pad=3.0)
        first = bars.get(panel.scale, Bar(panel.scale, column / n_columns))
        bars[panel.scale] = first._replace(end=(column + 1) / n_columns)
    board.finish(
        list(bars.values()),
        x_label=grid_map.columns.label,
        y_label=grid_map.rows.label,
        title=title,
    )
    return cast(Figure, board.figure)
