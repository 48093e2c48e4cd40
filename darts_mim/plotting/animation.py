"""A forecast frame by frame, in motion.

Legend: H height, W width.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from darts import TimeSeries
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from darts_mim.plotting.colours import PALETTE, ColourScale
from darts_mim.plotting.files import whole_file
from darts_mim.plotting.scene import Scene, step_name

_CONTEXT_COLOUR, _FORECAST_COLOUR = PALETTE[:2]
_PANEL_SIZE = 2.6  # inches, the longer side
_PADDING = 0.08  # inches
_DPI = 100
_MAX_FPS = 50  # viewers slow down where a frame lasts less than two hundredths of a second


def save_animation(
    path: str | os.PathLike[str],
    history: TimeSeries,
    actual: TimeSeries,
    forecast: TimeSeries,
    *,
    fps: int = 4,
    channel: int | str = 0,
    vmin: float | None = None,
    vmax: float | None = None,
    difference_vmax: float | None = None,
    cmap: str = "gray",
    value_label: str = "value",
    title: str | None = None,
) -> Path:
    """Write an endless animated GIF: truth, forecast and absolute difference side by side.

    It first runs through the context, which the middle panel shows as what the model is given, then
    through the forecast. The file appears whole or not at all; folders are made as needed.

    Parameters
    ----------
    path
        Where to write; the name ends in ".gif".
    history, actual, forecast, channel, vmin, vmax, difference_vmax, cmap, value_label, title
        As in ``plot_strip``.
    fps
        Frames per second, 1 to 50. A GIF counts time in hundredths of a second.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    TypeError
        If one of the three is not a series.
    ValueError
        If `path` does not end in ".gif" or `fps` is out of range, and as ``plot_strip`` does.

    Examples
    --------
    >>> import numpy as np
    >>> from darts_mim import frames_to_series
    >>> series = frames_to_series(np.random.default_rng(0).random((4, 1, 4, 6), dtype=np.float32))
    >>> save_animation("forecast.gif", series[:2], series[2:], series[2:]).name
    'forecast.gif'
    """
    target = Path(path)
    if target.suffix.lower() != ".gif":
        raise ValueError(f'`path` must end in ".gif", got {str(path)!r}; rename the file')
    if not 1 <= fps <= _MAX_FPS:
        raise ValueError(
            f"`fps` must be in 1..{_MAX_FPS} frames per second, got {fps}; 2 to 10 are easy to "
            f"follow"
        )
    scene = Scene.from_series(history, actual, forecast, channel)
    values = ColourScale.of_values(scene, vmin, vmax, cmap)
    differences = ColourScale.of_difference(scene, difference_vmax)
    figure, axes = _lay_out(scene.truth.shape[1:], title)
    values.add_bar(figure, axes[1:2], aspect=20.0, label=value_label)
    differences.add_bar(figure, axes[2:], aspect=20.0)
    canvas = FigureCanvasAgg(figure)
    pictures = []
    for panels in _panels_over_time(scene, values, differences):
        for ax, panel in zip(axes, panels, strict=True):
            _draw_panel(ax, panel)
        pictures.append(_render(canvas))
    with whole_file(target) as draft:
        pictures[0].save(
            draft, save_all=True, append_images=pictures[1:], duration=1000 / fps, loop=0
        )
    return target


class _Panel(NamedTuple):
    """What a panel shows at one moment: a frame (H, W) under a title."""

    title: str
    frame: npt.NDArray[np.floating[Any]]
    scale: ColourScale
    colour: str = "black"


def _lay_out(shape: tuple[int, ...], title: str | None) -> tuple[Figure, list[Axes]]:
    height, width = shape
    panel_width = min(_PANEL_SIZE, _PANEL_SIZE * width / height)
    panel_height = panel_width * height / width
    figure = Figure(
        figsize=(3.0 * panel_width + 2.0, panel_height + (0.9 if title else 0.5)),
        dpi=_DPI,
        layout=ConstrainedLayoutEngine(w_pad=_PADDING, h_pad=_PADDING, compress=True),
    )
    if title is not None:
        figure.suptitle(title)
    return figure, list(figure.subplots(1, 3))


def _panels_over_time(
    scene: Scene, values: ColourScale, differences: ColourScale
) -> Iterator[tuple[_Panel, _Panel, _Panel]]:
    """Yield truth, what the model gets or says, and the difference, moment after moment."""
    nothing = np.zeros_like(scene.truth[0])
    for frame, step in zip(scene.context, scene.context_steps, strict=True):
        yield (
            _Panel(f"Truth, {step_name(step)}", frame, values),
            _Panel("Context", frame, values, _CONTEXT_COLOUR),
            _Panel("Absolute difference", nothing, differences),
        )
    moments = (scene.truth, scene.forecast, scene.difference, scene.forecast_steps)
    for truth, forecast, difference, step in zip(*moments, strict=True):
        yield (
            _Panel(f"Truth, {step_name(step)}", truth, values),
            _Panel("Forecast", forecast, values, _FORECAST_COLOUR),
            _Panel("Absolute difference", difference, differences),
        )


def _draw_panel(ax: Axes, panel: _Panel) -> None:
    ax.clear()
    panel.scale.draw(ax, panel.frame)
    ax.set(xticks=[], yticks=[])
    ax.set_title(panel.title, color=panel.colour)
    ax.spines[:].set(color=panel.colour, linewidth=2.0)


def _render(canvas: FigureCanvasAgg) -> Image.Image:
    """Return the figure as a picture of 256 colours, chosen to cover the colour maps evenly."""
    canvas.draw()
    canvas.figure.set_layout_engine("none")  # found by the first drawing: nothing moves after it
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    return picture.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
