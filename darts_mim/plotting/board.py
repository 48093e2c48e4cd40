"""Pictures of several panels: frames in rows and columns, colour bars below.

Panels keep the shape of a frame and labels their size, so that places are computed in inches: in a
figure of its own, which gets the size that all of it takes, or inside given axes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from darts_mim.plotting.colours import ColourScale
from darts_mim.plotting.figures import NotebookFigure
from darts_mim.plotting.layout import PAD, SHORTEST_BAR, Box, Plan
from darts_mim.plotting.texts import Room, overhang, size_of, wrapped, write_below, write_left

_LETTER, _TITLE_LETTER = 0.07, 0.095  # inches, the width of a letter in a label and in a title
_WIDEST_BARS = 4.0  # inches beside panels that are narrower
_LOWEST = 0.15  # inches of a panel in which something is seen

logger = logging.getLogger(__name__)


class Bar(NamedTuple):
    """A colour bar, and between which shares of the panels' width it lies."""

    scale: ColourScale
    start: float = 0.0
    end: float = 1.0


class Board:
    """Rows and columns of panels of one shape, colour bars below them.

    Parameters
    ----------
    ax
        Axes whose place the picture takes: they lose frame and ticks, and the panels become their
        children. ``None`` for a figure of its own.
    n_rows, n_columns
        Number of panels; a place may stay empty.
    ratio
        Height of a panel by its width.
    width
        Width of a panel in inches in a figure of its own.
    """

    def __init__(
        self, ax: Axes | None, n_rows: int, n_columns: int, *, ratio: float, width: float
    ) -> None:
        self._place = ax
        self._plan = Plan(n_rows, n_columns, ratio, heads=(0.0,) * n_rows)
        self._axes: list[tuple[Axes, Callable[[Plan, float], Box]]] = []
        self._panels: dict[tuple[int, int], Axes] = {}
        self._title: Text | None = None
        if ax is None:
            size = (self._plan.width(width), self._plan.height(width))
            self.figure: Any = NotebookFigure(figsize=size)
        else:
            self.figure = ax.figure
            ax.set_axis_off()
            if (engine := self.figure.get_layout_engine()) is not None:
                engine.execute(self.figure.figure)  # for the room that there is about to be

    @property
    def panel_size(self) -> tuple[float, float]:
        """Width and height of a panel in inches; in given axes, labels will still take a share."""
        return self._panel, self._panel * self._plan.ratio

    def add_panel(self, row: int, column: int) -> Axes:
        """Make a panel."""
        panel = self._add_axes(partial(Plan.panel, row=row, column=column))
        self._panels[row, column] = panel
        return panel

    def finish(
        self,
        bars: Sequence[Bar],
        *,
        row_names: Sequence[str] = (),
        x_label: str = "",
        y_label: str = "",
        title: str | None = None,
    ) -> None:
        """Draw the bars, write what stands beside the panels, and give everything its place.

        Bars that would be too short side by side stand one below the other.
        """
        rooms = [self._room_of_row(row) for row in range(self._plan.n_rows)]
        self._make_room(
            left=max(room.left for room in rooms),
            right=max(room.right for room in rooms) + PAD,
            top=PAD,
            heads=tuple(room.top for room in rooms),
            foot=rooms[-1].bottom,
        )
        self._write_labels(x_label, y_label)
        self._write_row_names(row_names)
        self._add_bars(bars)
        self._write_title(title)
        for axes, place in self._axes:
            axes.set_position(self._locate(place))  # known before anything is drawn
        if min(self.panel_size) < _LOWEST:
            logger.warning(
                "A frame is drawn %.2f x %.2f inches large: draw fewer of them, for instance with "
                "`every`, or give `ax` more room.",
                *self.panel_size,
            )

    def retitle(self, title: str) -> None:
        """Write another title of as many lines in place of the one there is."""
        if self._title is not None:
            self._title.set_text(self._wrapped(title))

    # --- what stands beside the panels ----------------------------------------------------------

    def _room_of_row(self, row: int) -> Room:
        """Return what labels take around a row: its first and its last panel tell."""
        columns = [column for each, column in self._panels if each == row]
        ends = [overhang(self._panels[row, column]) for column in (min(columns), max(columns))]
        left = ends[0].left if min(columns) == 0 else 0.0
        return Room(left, ends[1].right, *(max(end[i] for end in ends) for i in (2, 3)))

    def _write_labels(self, x_label: str, y_label: str) -> None:
        # they belong to all panels: to axes that cover them, a child of the first
        block = self._panels[0, 0].inset_axes((0.0, 0.0, 1.0, 1.0))
        block.set_axes_locator(partial(self._locate, Plan.block))
        block.set_axis_off()
        plan = self._plan
        if y_label:
            left, height = plan.left + PAD / 2.0, plan.block(self._panel).height
            text = wrapped(y_label, max(int(height / _LETTER), 8))
            label = write_left(block, text, left, rotation=90, fontsize="small", linespacing=1.0)
            excess = (size_of(label).height - height) / 2.0  # beyond the panels, at either end
            heads = (max(plan.heads[0], excess), *plan.heads[1:])
            self._make_room(
                left=left + size_of(label).width, heads=heads, foot=max(plan.foot, excess)
            )
            plan = self._plan
        if x_label:
            foot = plan.foot + PAD / 2.0
            label = write_below(block, x_label, foot, fontsize="small")
            self._make_room(foot=foot + size_of(label).height)

    def _write_row_names(self, row_names: Sequence[str]) -> None:
        plan = self._plan
        left = plan.left + PAD
        names = [
            size_of(write_left(self._panels[row, 0], name, left, fontsize="small", linespacing=1.0))
            for row, name in enumerate(row_names)
        ]
        if names:
            height = self.panel_size[1]
            heads = (
                max(head, name.height - height)
                for head, name in zip(plan.heads, names, strict=True)
            )
            self._make_room(left=left + max(name.width for name in names), heads=tuple(heads))
        self._make_room(left=self._plan.left + PAD)

    def _write_title(self, title: str | None) -> None:
        if title is None:
            return
        if self._place is not None:
            self._place.set_title(title)
            return
        self._title = self.figure.suptitle(self._wrapped(title), fontsize="large")
        self._make_room(top=PAD + size_of(self._title).height + PAD)

    def _wrapped(self, title: str) -> str:
        return wrapped(title, int(self.figure.get_figwidth() / _TITLE_LETTER))

    def _add_bars(self, bars: Sequence[Bar]) -> None:
        if not bars:
            return
        self._make_room(bar_room=self._bar_room, bar_feet=(0.0,))
        plan, width = self._plan, self._panel
        shortest = min(plan.bar(width, 0, bar.start, bar.end).width for bar in bars)
        if shortest < SHORTEST_BAR and len(bars) > 1:
            lines = [[bar._replace(start=0.0, end=1.0)] for bar in bars]
        else:
            lines = [list(bars)]
        self._make_room(bar_feet=(0.0,) * len(lines))
        feet = [
            max(overhang(self._add_bar(bar, number)).bottom for bar in line)
            for number, line in enumerate(lines)
        ]
        self._make_room(bar_feet=tuple(feet))

    def _add_bar(self, bar: Bar, line: int) -> Axes:
        place = partial(Plan.bar, line=line, start=bar.start, end=bar.end)
        axes = self._add_axes(place)
        letters = max(int(place(self._plan, self._panel).width / _LETTER), 8)
        made = self.figure.colorbar(
            bar.scale.mappable,
            cax=axes,
            orientation="horizontal",
            extend=bar.scale.extend,
            extendfrac=0.03,
            ticks=bar.scale.ticks,
        )
        made.outline.set(edgecolor="0.4", linewidth=0.5)
        axes.tick_params(labelsize="x-small", length=2.0, width=0.5, pad=1.5)
        axes.set_xlabel(wrapped(bar.scale.label, letters), fontsize="small", labelpad=2.0)
        return axes

    @property
    def _bar_room(self) -> float:
        """Inches that colour bars may take where the panels take less."""
        if self._place is None:
            return 0.0
        room = self._region.width * self._figure_size[0]
        return min(room - self._plan.left - self._plan.right, _WIDEST_BARS)

    # --- places ---------------------------------------------------------------------------------

    def _make_room(self, **changes: Any) -> None:
        """Change the plan: a figure of its own grows, in given axes the panels shrink."""
        panel = self._panel
        self._plan = replace(self._plan, **changes)
        if self._place is None:
            height = self._plan.height(panel)
            self.figure.set_size_inches(self._plan.width(panel), height)
            if self._title is not None:
                self._title.set_y(1.0 - PAD / height)

    @property
    def _region(self) -> Bbox:
        """The place of the picture, as shares of the figure."""
        return Bbox.unit() if self._place is None else self._place.get_position()

    @property
    def _panel(self) -> float:
        """The width of a panel in inches."""
        region, (width, height) = self._region, self._figure_size
        return self._plan.fitting_panel(region.width * width, region.height * height)

    @property
    def _figure_size(self) -> tuple[float, float]:
        """Width and height of the figure, or of the part of one, in inches."""
        width, height = self.figure.bbox.size / self.figure.dpi
        return float(width), float(height)

    def _add_axes(self, place: Callable[[Plan, float], Box]) -> Axes:
        """Add axes that lie where the plan says, also when it or the figure has changed."""
        axes: Axes
        if self._place is None:
            axes = self.figure.add_axes(self._locate(place).bounds)
        else:
            axes = self._place.inset_axes((0.0, 0.0, 1.0, 1.0))
        axes.set_axes_locator(partial(self._locate, place))
        self._axes.append((axes, place))
        return axes

    def _locate(self, place: Callable[[Plan, float], Box], *_: Any) -> Bbox:
        """Return where axes lie, as shares of the figure."""
        panel, region, size = self._panel, self._region, self._figure_size
        left, top, width, height = place(self._plan, panel)
        free = region.width * size[0] - self._plan.width(panel)
        x = region.x0 + (max(free / 2.0, 0.0) + left) / size[0]
        y = region.y1 - (top + height) / size[1]
        return Bbox.from_bounds(x, y, width / size[0], height / size[1])
