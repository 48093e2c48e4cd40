"""Where the parts of a picture lie: panels in rows and columns, lines of colour bars below."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

# inches
PAD: Final = 0.06  # between a panel and what is written beside it, and around all
SHORTEST_BAR: Final = 1.2
GAP: Final = 0.05  # between panels
_BAR = 0.1  # the height of a colour bar
_BAR_INSET = 0.16  # from the edge of its share to the bar: half of a tick's label
_NARROWEST = 0.05  # a panel, however small the axes that it shares


class Box(NamedTuple):
    """A place in inches, from the left and from the top of the picture."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class Plan:
    """Where everything lies, given the width of a panel; all lengths in inches.

    Parameters
    ----------
    n_rows, n_columns, ratio
        As for ``darts_mim.plotting.board.Board``.
    left, right, top
        Room beside and above the panels.
    heads
        Room above each row.
    foot
        Room below the last row.
    bar_feet
        Room below each line of colour bars.
    bar_room
        Width that the colour bars may take where the panels take less.
    """

    n_rows: int
    n_columns: int
    ratio: float
    left: float = 0.0
    right: float = 0.0
    top: float = 0.0
    heads: tuple[float, ...] = ()
    foot: float = 0.0
    bar_feet: tuple[float, ...] = ()
    bar_room: float = 0.0

    def fitting_panel(self, width: float, height: float) -> float:
        """Return the width of a panel with which all fits into a picture."""
        columns = (width - self.left - self.right + GAP) / self.n_columns - GAP
        rows = (height - self.height(0.0)) / (self.n_rows * self.ratio)
        return max(min(columns, rows), _NARROWEST)

    def width(self, panel: float) -> float:
        """Return the width of the whole."""
        return self.left + self._bar_room(panel) + self.right

    def height(self, panel: float) -> float:
        """Return the height of the whole."""
        return self._bar_top(panel, len(self.bar_feet))

    def panel(self, panel: float, row: int, column: int) -> Box:
        """Return the place of a panel."""
        height = panel * self.ratio
        top = self.top + sum(self.heads[: row + 1]) + row * (height + GAP)
        return Box(self.left + column * (panel + GAP), top, panel, height)

    def block(self, panel: float) -> Box:
        """Return the place of all panels together."""
        first, last = self.panel(panel, 0, 0), self.panel(panel, self.n_rows - 1, 0)
        height = last.top + last.height - first.top
        return Box(first.left, first.top, self._block_width(panel), height)

    def bar(self, panel: float, line: int, start: float, end: float) -> Box:
        """Return the place of a colour bar."""
        room = self._bar_room(panel)
        left = self.left + start * room + _BAR_INSET
        width = (end - start) * room - 2.0 * _BAR_INSET
        return Box(left, self._bar_top(panel, line), width, _BAR)

    def _block_width(self, panel: float) -> float:
        return self.n_columns * (panel + GAP) - GAP

    def _bar_room(self, panel: float) -> float:
        if not self.bar_feet:
            return self._block_width(panel)
        return max(self._block_width(panel), self.bar_room, SHORTEST_BAR + 2.0 * _BAR_INSET)

    def _bar_top(self, panel: float, line: int) -> float:
        block = self.block(panel)
        above = sum(_BAR + foot + PAD for foot in self.bar_feet[:line])
        return block.top + block.height + self.foot + PAD + above
