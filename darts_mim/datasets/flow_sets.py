"""Data sets of traffic flow: series for training and testing, and covariates.

Letters for shapes: T time, C channels, H height (rows), W width (columns).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from darts import TimeSeries
from sklearn.preprocessing import MinMaxScaler

from darts_mim.adapters.flow import read_flow
from darts_mim.adapters.flow.gaps import check_span
from darts_mim.checks import checked_integer
from darts_mim.datasets.files import find_file
from darts_mim.grid import grid_of
from darts_mim.series import frames_to_series
from darts_mim.transforms import GridScaler

logger = logging.getLogger(__name__)


class FlowData(NamedTuple):
    """A data set of flows, in trips, taxis or bicycles per interval."""

    train: list[TimeSeries]
    """Stretches without gaps, in order of time, with the channels inflow and outflow."""

    test: list[TimeSeries]
    """Stretches without gaps, all of them later."""

    covariates: TimeSeries | None
    """Holidays and weather at every interval, from the first frame to a day after the last, the
    same for each series: ``future_covariates=[data.covariates] * len(data.train)``."""

    def scaled(
        self, feature_range: tuple[float, float] = (0.0, 1.0)
    ) -> tuple[FlowData, GridScaler]:
        """Scale flows by the least and the largest value of the training series.

        Inflow and outflow share the two, as in the papers on these data. Test values may lie beyond
        the range. Covariates stay what they are.

        Parameters
        ----------
        feature_range
            The scaled least and largest value: (0, 1), or (-1, 1) as in the papers.

        Returns
        -------
        data : FlowData
            The scaled series.
        scaler : GridScaler
            Its ``inverse_transform`` takes forecasts back to trips.

        Raises
        ------
        ValueError
            If `feature_range` does not rise.

        Examples
        --------
        >>> from darts_mim import frames_to_series
        >>> flows = frames_to_series(np.linspace(0, 50, 2 * 6).reshape(3, 2, 1, 2))
        >>> data, scaler = FlowData([flows], [flows * 2], None).scaled((-1, 1))
        >>> [float(part[0].values().max()) for part in (data.train, data.test)]
        [1.0, 3.0]
        """
        values = [one.values(copy=False) for one in self.train]
        ends = np.array([min(map(np.nanmin, values)), max(map(np.nanmax, values))])
        grid = grid_of(self.train[0])
        extremes: Any = frames_to_series(
            np.broadcast_to(ends.reshape(2, 1, 1, 1), (2, *grid.shape)),
            channel_names=grid.channel_names,
        )
        scaler = GridScaler(MinMaxScaler(feature_range))
        scaler.fit([extremes])
        train: Any = scaler.transform(self.train)  # lists, as what they are given
        test: Any = scaler.transform(self.test)
        return FlowData(train, test, self.covariates), scaler

    def test_with_history(self, length: int) -> list[TimeSeries]:
        """Return the test series with the frames just before them, for models to forecast from.

        A model that reads a week makes its first forecast a week after a series begins. With a week
        of history that is the first frame of the test. The scored part of series k starts at
        ``test[k].start_time()``; the frames before it are for reading.

        Parameters
        ----------
        length
            Number of frames to put in front, at least 1: as many as a model reads.

        Returns
        -------
        list of TimeSeries
            A series for each of `test`. A series that begins after a gap is unchanged; one that
            follows a shorter training series has all of it in front.

        Raises
        ------
        TypeError
            If `length` is no integer.
        ValueError
            If `length` is below 1.

        Examples
        --------
        >>> from darts_mim import frames_to_series
        >>> flows = frames_to_series(np.zeros((9, 2, 1, 2)))
        >>> data = FlowData([flows[:6]], [flows[6:]], None)
        >>> [one.start_time() for one in data.test_with_history(4)]
        [2]
        """
        checked_integer("length", length)
        ends: dict[Any, TimeSeries] = {}
        for one in self.train:
            last: Any = one.end_time()  # a date or a number, which pandas' stubs cannot tell
            ends[last + one.freq] = one
        return [
            ends[start][-length:].append(one) if (start := one.start_time()) in ends else one
            for one in self.test
        ]


def read_stretches(
    files: Sequence[Path], shape: tuple[int, int], units: str, **options: Any
) -> list[TimeSeries]:
    """Read files into series without gaps.

    Parameters
    ----------
    files
        HDF5 files in TaxiBJ's layout, or NumPy's.
    shape
        Height and width.
    units
        Unit of the flows.
    **options
        Arguments of `read_flow`.
    """
    units_of = {name: {"units": units} for name in ("inflow", "outflow")}
    series: Any = read_flow(files, gaps="split", attributes=units_of, **options)
    if (got := grid_of(series[0]).shape) != (2, *shape):
        raise ValueError(
            f"`root` must hold in- and outflow on {shape[0]} x {shape[1]} cells, got {got}: {files}"
        )
    return series  # type: ignore[no-any-return]


def split_last_days(
    series: Sequence[TimeSeries], days: int, min_length: int
) -> tuple[list[TimeSeries], list[TimeSeries]]:
    """Divide stretches before the last days of the calendar, and cut the one that goes across."""
    checked_integer("test_days", days)
    last: Any = max(one.end_time() for one in series)  # a date: pandas' stubs cannot tell
    cut = last.normalize() - pd.Timedelta(days=days - 1)
    before = [one[: int((one.time_index < cut).sum())] for one in series]
    after = [one[int((one.time_index < cut).sum()) :] for one in series]
    train, test = ([one for one in part if len(one) >= min_length] for part in (before, after))
    short = [one for one in (*before, *after) if 0 < len(one) < min_length]
    if short:
        logger.warning("Dropped %d stretches cut at %s: too short.", len(short), cut)
    if not train or not test:
        raise ValueError(
            f"`test_days={days}` leaves nothing to train on or to test, as frames go from "
            f"{series[0].start_time()} to {last}; pass another number of days"
        )
    return train, test


def timeline(series: Sequence[TimeSeries]) -> pd.DatetimeIndex:
    """Return the times from the first frame to the end of the day after the last."""
    step: Any = series[0].freq  # dates, which pandas' stubs cannot tell from numbers
    first: Any = series[0].start_time()
    last: Any = series[-1].end_time()
    length = int((last - first) / pd.Timedelta(step))
    check_span(length, sum(map(len, series)), first, last, "pass fewer `years`")
    return pd.date_range(first, last.normalize() + pd.Timedelta(days=2) - step, freq=step)


def read_holidays(file: Path, times: pd.DatetimeIndex) -> pd.Series[Any]:
    """Read a list of days, a line YYYYMMDD for each; return 1 for times on them, 0 for others."""
    find_file(file, "put it there, or pass holidays=False")
    listed = pd.read_csv(file, header=None, comment="#", dtype=str)[0].str.strip()
    days = pd.to_datetime(listed, format="%Y%m%d", errors="coerce")
    if days.isna().any():
        raise ValueError(f"{file} must hold days YYYYMMDD, got {listed[days.isna()].iloc[0]!r}")
    return pd.Series(times.normalize().isin(days).astype(np.float32), times, name="holiday")


def to_covariates(*columns: pd.Series[Any] | pd.DataFrame | None) -> TimeSeries | None:
    """Join columns of one timeline to a series of float32; None if there is no column."""
    parts: list[Any] = [each for each in columns if each is not None]
    if not parts:
        return None
    table = pd.concat(parts, axis=1).astype(np.float32)
    return TimeSeries.from_dataframe(table, freq=parts[0].index.freq)
