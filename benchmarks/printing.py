"""Tables of what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

Row = dict[str, Any]


def tables_of(rows: Sequence[Row]) -> str:
    """Return a table for each kind of measurement, with what all its rows share above it.

    Examples
    --------
    >>> rows = [
    ...     {"measured": "rollout", "rounds": 5, "width": width, "seconds": {"plain": width / 8}}
    ...     for width in (4, 16)
    ... ]
    >>> print(tables_of(rows))
    rollout: rounds 5
      width  seconds
               plain
          4      0.5
         16        2
    """
    ordered = sorted(rows, key=lambda row: row["measured"])
    groups = groupby(ordered, key=lambda row: row["measured"])
    return "\n\n".join(
        _table(name, [dict(flatten(row)) for row in group]) for name, group in groups
    )


def flatten(row: Row, prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Yield names and values of a row, those of inner dictionaries with both names; no lists."""
    for name, value in row.items():
        words = f"{prefix}{name}".replace("_", " ")
        if isinstance(value, dict):
            yield from flatten(value, f"{words} ")
        elif not isinstance(value, list):
            yield words, value


def _table(name: str, rows: Sequence[Row]) -> str:
    columns = list(dict.fromkeys(column for row in rows for column in row if column != "measured"))
    texts = {column: [_text(row.get(column)) for row in rows] for column in columns}
    shared = [column for column in columns if len(rows) > 1 and len(set(texts[column])) == 1]
    title = ", ".join(f"{column} {texts[column][0]}" for column in shared)
    others = [column for column in columns if column not in shared]
    height = max(len(column.split()) for column in others)
    lines = [
        [*column.split(), *[""] * (height - len(column.split())), *texts[column]]
        for column in others
    ]
    widths = [max(map(len, line)) for line in lines]
    return "\n".join(
        [f"{name}: {title}" if title else name]
        + [
            "  " + "  ".join(map(str.rjust, cells, widths)).rstrip()
            for cells in zip(*lines, strict=True)
        ]
    )


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str("" if value is None else value)
