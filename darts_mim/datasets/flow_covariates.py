"""Holidays and weather beside flows, on one timeline without gaps."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from darts import TimeSeries

logger = logging.getLogger(__name__)

_DATE: Final = re.compile(r"\d{8}")


def timeline(series: list[TimeSeries], *, end: pd.Timestamp | None = None) -> pd.DatetimeIndex:
    """Return the times from the first of the series to the end of the day after the last.

    If `end` is later, they go on to it.
    """
    step: Any = series[0].freq  # dates, which pandas' stubs cannot tell from numbers
    first: Any = min(one.start_time() for one in series)
    last: Any = max(one.end_time() for one in series)
    last = last.normalize() + pd.Timedelta(days=2) - step
    return pd.date_range(first, last if end is None else max(last, end), freq=step)


def read_holidays(file: Path) -> pd.DatetimeIndex:
    """Read a list of days, a line YYYYMMDD for each.

    Blank lines are passed over, and what follows a #.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a line is no day, and the message has its number; or if there is no day.
    """
    check_there(file, "holidays=False")
    lines = file.read_text(encoding="ascii", errors="replace").splitlines()
    texts = {number: line.partition("#")[0].strip() for number, line in enumerate(lines, start=1)}
    listed = pd.Series({number: text for number, text in texts.items() if text}, dtype=object)
    if listed.empty:
        raise ValueError(
            f"`root`: {file} must hold days YYYYMMDD, a line for each, got none; get the file "
            "anew, or pass holidays=False to do without"
        )
    days = pd.to_datetime(listed, format="%Y%m%d", errors="coerce")
    for (number, text), is_day in zip(listed.items(), days.notna(), strict=True):
        if not _DATE.fullmatch(text) or not is_day:
            raise ValueError(
                f"`root`: line {number} of {file} must be a day YYYYMMDD, got {text!r:.40}; get "
                "the file anew"
            )
    return pd.DatetimeIndex(days)


def check_overlap(table: pd.DataFrame, times: pd.DatetimeIndex, file: Path) -> None:
    """Raise if a table of rising times tells nothing of the times of the flows."""
    if not table.index.isin(times).any():
        raise ValueError(
            f"`root`: {file} must tell of the time of the flows, {times[0]} to {times[-1]}, got "
            f"{table.index[0]} to {table.index[-1]}; put the file that belongs to them there"
        )


def check_there(file: Path, without: str) -> None:
    """Raise if a file of covariates is missing."""
    if not file.is_file():
        raise FileNotFoundError(
            f"`root`: there is no file {file.absolute()}; put it there, or pass {without} to do "
            "without"
        )


def holiday_column(times: pd.DatetimeIndex, days: pd.DatetimeIndex) -> pd.Series[Any]:
    """Return 1 for times on holidays and 0 for others."""
    return pd.Series(times.normalize().isin(days).astype(np.float32), times, name="holiday")


def spread(table: pd.DataFrame, times: pd.DatetimeIndex, file: Path) -> pd.DataFrame:
    """Bring a table to a timeline; times without an entry have the one before, or the first."""
    placed = table.reindex(times)
    lacking = int(placed.isna().any(axis=1).sum())
    if lacking:
        logger.warning(
            "%s: %d of %d times have no entry, and take the one before (at the start, the one "
            "after).",
            file.name,
            lacking,
            len(times),
        )
    return placed.ffill().bfill()


def to_covariates(parts: list[pd.Series[Any] | pd.DataFrame]) -> TimeSeries | None:
    """Join columns of one timeline to a series of float32; None of no columns."""
    if not parts:
        return None
    table = pd.concat(parts, axis=1).astype(np.float32)
    return TimeSeries.from_dataframe(table, freq=table.index.freq)  # type: ignore[attr-defined]
