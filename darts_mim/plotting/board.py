"""Maps in rows and columns, with labels around them and colour bars below.

All lengths are in inches: maps keep their shape and labels their size. A figure of its own gets the
size that everything needs; inside given axes the maps take the room that the labels leave.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple, cast

from matplotlib.axes import Axes
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox
from mpl_toolkits.axes_grid1.axes_divider import Divider
from mpl_toolkits.axes_grid1.axes_size import Fixed, Scaled

from darts_mim.grid import Grid
from darts_mim.plotting.cells import GridMap
from darts_mim.plotting.colours import ColourScale, Floats
from darts_mim.plotting.figures import NotebookFigure

_ALL_COLUMNS = 6.6  # the most that the panels of a row take
_GAP, _PAD = 0.05, 0.07  # between panels, and around everything
_BAR_HEIGHT, _BAR_INSET, _SHORTEST_BAR = 0.1, 0.14, 1.4
_LETTER, _TITLE_LETTER = 0.07, 0.095  # the width of a letter in a label and in a title
_TICK_WIDTH, _TICK_HEIGHT = 0.5, 0.17  # what the label of a tick needs beside the next panel's


class Panel(NamedTuple):
    """A map: its place, its frame (H, W) or colours (H, W, 3), its colour scale and its title."""

    row: int
    column: int
    frame: Floats
    scale: ColourScale | None
    title: str = ""


class Board:
    """A picture of several maps of one grid.

    Parameters
    ----------
    grid
        The grid of the maps.
    panels
        The maps; a place may stay empty.
    size
        Width of a square map in a figure of its own, where the columns leave so much room.
    tallest
        The largest height of a map in a figure of its own.
    row_names
        What is written beside the rows.
    title
        Title of the figure, or of `ax`.
    ax
        Axes whose place the picture takes: they lose frame and ticks, and the panels become their
        children. ``None`` for a figure of its own.
    """

    def __init__(
        self,
        grid: Grid,
        panels: Sequence[Panel],
        *,
        size: float,
        tallest: float,
        row_names: Sequence[str] = (),
        title: str | None = None,
        ax: Axes | None = None,
    ) -> None:
        self._host, self._map = ax, GridMap(grid)
        self._n_columns = 1 + max(panel.column for panel in panels)
        n_rows = 1 + max(panel.row for panel in panels)
        ratio = self._map.ratio
        self._width = min(_ALL_COLUMNS / self._n_columns - _GAP, size / ratio**0.5, tallest / ratio)
        self._above = [_GAP] * n_rows  # above each row
        self._left = self._right = self._below = self._bars_width = 0.0
        self._title: Text | None = None
        self.figure: Any = NotebookFigure() if ax is None else ax.figure
        self._divider = Divider(self.figure, (0.0, 0.0, 1.0, 1.0), [], [], aspect=True, anchor="N")
        if ax is not None:
            ax.set_axis_off()
            self._divider.set_locator(self._region)
            if (engine := self.figure.get_layout_engine()) is not None:
                engine.execute(self.figure.figure)  # gives `ax` the room that it will have
        self._arrange()
        self._panels = {each[:2]: self._add_axes(self._locator(*each[:2])) for each in panels}
        self.meshes: list[Any] = [
            self._map.draw(self._panels[panel[:2]], panel.frame, panel.scale) for panel in panels
        ]
        self._label_panels(panels, row_names)
        self._write_y_label()
        self._add_bars(panels)
        self._write_title(title)

    def retitle(self, title: str) -> None:
        """Replace the title by another one of as many lines."""
        cast(Text, self._title).set_text(self._wrapped_title(title))

    def _label_panels(self, panels: Sequence[Panel], row_names: Sequence[str]) -> None:
        """Write ticks, titles and the names of rows, as far as they have room."""
        width = self._size_of(self._locator(0, 0))[0]
        longest = max(len(word) for panel in panels for word in [*panel.title.split(), ""])
        every = math.ceil(max(longest * _LETTER, _TICK_WIDTH) / width)
        for panel, axes in zip(panels, self._panels.values(), strict=True):
            if (panel.row, panel.column - 1) not in self._panels:
                self._map.rows.label_ticks(axes.yaxis)
            if (self._n_columns - 1 - panel.column) % every:
                continue  # too narrow for a label each
            if (panel.row + 1, panel.column) not in self._panels:
                self._map.columns.label_ticks(axes.xaxis)
            axes.set_title(_wrapped(panel.title, width), fontsize="small", pad=2.5)
        for row, name in enumerate(row_names):
            self._panels[row, 0].set_ylabel(
                name, rotation=0, ha="right", va="center", fontsize="small"
            )
        last_row = len(self._above) - 1
        last = max(place for place in self._panels if place[0] == last_row)
        block, box = self._block(), self._locator(*last)(None, None)
        middle = (block.x0 + block.width / 2.0 - box.x0) / box.width
        self._panels[last].set_xlabel(self._map.columns.label, x=middle, fontsize="small")
        self._make_room()

    def _make_room(self) -> None:
        """Make room for what stands around the panels."""
        rooms = {place: _overhang(axes) for place, axes in self._panels.items()}
        self._left = _PAD + max(room[0] for (_, column), room in rooms.items() if column == 0)
        self._right = _PAD + max(room[1] for room in rooms.values())
        below = _PAD
        for number in range(len(self._above)):
            in_row = [room for (row, _), room in rooms.items() if row == number]
            self._above[number] = max(room[3] for room in in_row) + below
            below = max(room[2] for room in in_row) + _GAP
        # panels in given axes shrink, and may have a label then where they have none yet
        self._below = max(below, _TICK_HEIGHT if self._map.columns.label else 0.0)
        self._arrange()

    def _write_y_label(self) -> None:
        """Write the name of the rows' coordinate at the left of everything, half-way up."""
        if not (label := self._map.rows.label):
            return
        block, box = self._block(), self._locator(0, 0)(None, None)
        height = block.height * self._figure_size[1]
        text = self._panels[0, 0].annotate(
            _wrapped(label, height),
            (0.0, 1.0 - block.height / box.height / 2.0),
            (-72.0 * self._left, 0.0),
            xycoords="axes fraction",
            textcoords="offset points",
            ha="right",
            va="center",
            rotation=90,
            fontsize="small",
            linespacing=1.0,
        )
        width, length = text.get_window_extent().size / self.figure.dpi
        self._left += float(width) + _PAD
        excess = float(length - height) / 2.0 + _PAD  # beyond the panels, at either end
        self._above[0], self._below = max(self._above[0], excess), max(self._below, excess)
        self._arrange()

    def _add_bars(self, panels: Sequence[Panel]) -> None:
        """Add a bar for each colour scale, under its columns if no other scale has them too."""
        scales = list(dict.fromkeys(panel.scale for panel in panels if panel.scale is not None))
        columns = [[each.column for each in panels if each.scale == scale] for scale in scales]
        spans = [
            (min(each) / self._n_columns, (max(each) + 1) / self._n_columns) for each in columns
        ]
        if any(start < end for (_, end), (start, _) in pairwise(spans)):
            spans = [(i / len(scales), (i + 1) / len(scales)) for i in range(len(scales))]
        self._bars_width = _SHORTEST_BAR * len(scales)
        self._arrange()
        foot, top = 0.0, self._below + _GAP
        for scale, span in zip(scales, spans, strict=True):
            place = partial(self._place_of_bar, span, top)
            axes, length = self._add_axes(place), self._size_of(place)[0]
            ticks = scale.ticks or MaxNLocator(max(int(length / 0.4), 2), steps=[1, 2, 2.5, 5, 10])
            mesh = self.meshes[[panel.scale for panel in panels].index(scale)]
            bar = self.figure.colorbar(
                mesh, cax=axes, orientation="horizontal", extendfrac=0.03, ticks=ticks
            )
            bar.outline.set(edgecolor="0.4", linewidth=0.5)
            axes.tick_params(labelsize="x-small", length=2.0, width=0.5, pad=1.5)
            axes.set_xlabel(_wrapped(scale.label, length), fontsize="small", labelpad=2.0)
            foot = max(foot, _GAP + _BAR_HEIGHT + _overhang(axes)[2])
        self._below += foot + _PAD
        self._arrange()

    def _write_title(self, title: str | None) -> None:
        if title is None:
            return
        if self._host is not None:
            self._host.set_title(title)
            return
        self._title = self.figure.suptitle(self._wrapped_title(title), fontsize="large")
        height = self._title.get_window_extent().height / self.figure.dpi
        self._above[0] += height + _PAD
        self._arrange()
        self._title.set_y(1.0 - _PAD / self._figure_size[1])

    def _wrapped_title(self, title: str) -> str:
        return _wrapped(title, self._figure_size[0], _TITLE_LETTER)

    # --- places ---------------------------------------------------------------------------------

    def _arrange(self) -> None:
        """Divide the room; a figure of its own gets the size that panels and labels need."""
        width, left, right = self._width, self._left, self._right
        if self._host is None:
            panels = self._n_columns * (width + _GAP) - _GAP
            lacking = max(self._bars_width - (left + panels + right), 0.0) / 2.0
            left, right = left + lacking, right + lacking
            rows = sum(self._above) + len(self._above) * width * self._map.ratio
            self.figure.set_size_inches(left + panels + right, self._below + rows)
        columns: list[Any] = [Scaled(1.0), Fixed(_GAP)] * self._n_columns
        self._divider.set_horizontal([Fixed(left), *columns[:-1], Fixed(right)])
        rows_upwards: list[Any] = [Fixed(self._below)]
        for above in reversed(self._above):
            rows_upwards += [Scaled(self._map.ratio), Fixed(above)]
        self._divider.set_vertical(rows_upwards)

    @property
    def _figure_size(self) -> tuple[float, float]:
        """Width and height of the figure, or of the part of one."""
        width, height = self.figure.bbox.size / self.figure.dpi
        return float(width), float(height)

    def _size_of(self, locator: Any) -> tuple[float, float]:
        width, height = locator(None, None).size * self._figure_size
        return float(width), float(height)

    def _region(self, *_: Any) -> Bbox:
        """Return the place of the picture, as shares of the figure."""
        return Bbox.unit() if self._host is None else self._host.get_position()

    def _locator(self, row: int, column: int) -> Any:
        return self._divider.new_locator(1 + 2 * column, 1 + 2 * (len(self._above) - 1 - row))

    def _block(self) -> Bbox:
        """Return the place of all panels together."""
        whole = self._divider.new_locator(1, 1, 2 * self._n_columns, 2 * len(self._above))
        return cast(Bbox, whole(None, None))

    def _place_of_bar(self, span: tuple[float, float], top: float, *_: Any) -> Bbox:
        """Return the place of a bar `top` inches below the panels; wider than them if need be."""
        (width, height), region, block = self._figure_size, self._region(), self._block()
        room, left = block.width, block.x0
        if room < (shortest := min(self._bars_width / width, region.width)):
            room, left = shortest, (region.x0 + region.x1 - shortest) / 2.0
        x0, x1 = (left + share * room for share in span)
        inset, y1 = _BAR_INSET / width, block.y0 - top / height
        return Bbox.from_extents(x0 + inset, y1 - _BAR_HEIGHT / height, x1 - inset, y1)

    def _add_axes(self, locator: Any) -> Axes:
        add = self.figure.add_axes if self._host is None else self._host.inset_axes
        axes: Axes = add(locator(None, None).bounds)
        axes.set(axes_locator=locator, in_layout=self._host is None)
        return axes


def _overhang(axes: Axes) -> tuple[float, float, float, float]:
    """Return what labels take at the left, at the right, below and above axes."""
    whole, own, dpi = cast(Bbox, axes.get_tightbbox()), axes.bbox, axes.figure.dpi
    sides = own.x0 - whole.x0, whole.x1 - own.x1, own.y0 - whole.y0, whole.y1 - own.y1
    left, right, below, above = (max(side, 0.0) / dpi for side in sides)
    return left, right, below, above


def _wrapped(label: str, inches: float, letter: float = _LETTER) -> str:
    """Break a label into lines of a length, but not within its unit."""
    kept = re.sub(r"\[.*?\]", lambda unit: unit[0].replace(" ", "\N{NO-BREAK SPACE}"), label)
    wrap = partial(textwrap.fill, width=max(int(inches / letter), 8), break_long_words=False)
    return "\n".join(map(wrap, kept.splitlines()))
