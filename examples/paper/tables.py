"""Tables of errors as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from published import Published


def means_of(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the errors of each model, averaged over the frames: a row for each."""
    return pd.DataFrame(
        {name: table.loc["mean"] for name, table in tables.items()}
    ).T


def as_markdown(
    tables: Mapping[str, pd.DataFrame],
    published: Published | None,
    record: Mapping[str, Any],
) -> str:
    """Return the tables of a run: means, the published ones, and each metric by frame."""
    means = means_of(tables)
    names = ("dataset", "data", "seed")
    said = ", ".join(f"{name} {record[name]}" for name in names)
    parts = [f"Measured ({said}):", as_lines(means)]
    if published is not None:
        origin = f"Published ({published.source}; {published.setting}):"
        parts += [origin, as_lines(published.figures)]
    for metric in means:
        columns = {name: table[metric] for name, table in tables.items()}
        parts += [f"{metric} by frame:", as_lines(pd.DataFrame(columns).T)]
    return "\n\n".join(parts) + "\n"


def as_lines(table: pd.DataFrame) -> str:
    """Return a table as Markdown."""
    rows = [["model", *map(str, table)], ["---"] * (1 + table.shape[1])]
    rows += [
        [
            str(name),
            *(each if isinstance(each, str) else f"{each:.4g}" for each in row),
        ]
        for name, row in zip(table.index, table.to_numpy(), strict=True)
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
