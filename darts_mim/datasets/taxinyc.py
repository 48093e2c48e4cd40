"""Taxis and bicycles of New York, in the two forms in which they are passed around.

Letters for shapes: T time, C channels, H height (rows), W width (columns).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import pandas as pd

from darts_mim.adapters.flow import from_flow, to_flow
from darts_mim.datasets.files import chosen, find_file
from darts_mim.datasets.flow_sets import (
    FlowData,
    read_holidays,
    read_stretches,
    split_last_days,
    timeline,
    to_covariates,
)
from darts_mim.grid import grid_of

logger = logging.getLogger(__name__)

City: TypeAlias = Literal["NYTaxi", "NYBike"]

_YEARS: Final = (2010, 2011, 2012, 2013, 2014)


# first day, shape and units
_CITIES: Final = {
    "NYTaxi": ("2016-01-01", (16, 12), "taxis per 30 min"),
    "NYBike": ("2016-08-01", (14, 8), "bicycles per 30 min"),
}
_STEP: Final = pd.Timedelta("30min")
_DAY: Final = pd.Timedelta("1D")


def load_taxinyc(
    root: str | os.PathLike[str],
    *,
    years: int | Sequence[int] = _YEARS,
    test_days: int = 28,
    min_length: int = 1,
    holidays: bool = True,
) -> FlowData:
    """Read TaxiNYC: taxis of New York from 2010 to 2014, every hour, an HDF5 file a year.

    The files are in TaxiBJ's layout, but hold trips that begin, the outflow, before trips that end.
    The series have the inflow first, like all of this package. The files are not clean. Frames that
    are zero in all cells are outages, and are dropped. Each quarter of a year also holds frames of
    the few trips that reach over its ends: frames of the same hour are summed, and frames in which
    no trip begins are dropped. The rest is sorted. September is missing in all years: each stretch
    without a gap is a series, and nothing is filled. The log counts what is dropped.

    Parameters
    ----------
    root
        Folder with ``NYC10_Taxi_M16x8_T60_InOut.h5`` to ``NYC14_Taxi_M16x8_T60_InOut.h5``, and with
        ``NY_Holiday.txt`` where holidays are asked for.
    years
        Which of the five files to read.
    test_days
        Number of days at the end that are for testing. A stretch that spans the cut is divided.
    min_length
        The least number of frames of a series; shorter ones are dropped.
    holidays
        Whether to read them, as a covariate.

    Returns
    -------
    FlowData
        Taxis per hour, channels inflow and outflow on 16 x 8 cells, in local time. The covariate
        ``holiday``, 0 or 1, goes from the first frame to a day after the last.

    Raises
    ------
    FileNotFoundError
        If a file is missing; none is fetched.
    ImportError
        If h5py is missing, which the extra ``datasets`` or ``flow`` installs.
    ValueError
        If a file is damaged, has dates that do not exist or another grid; if no year is chosen or
        one is unknown; or if `test_days` leave nothing.

    Notes
    -----
    Times are those of the clock. On the Sunday in November on which clocks are put back, the frame
    of 01:00 counts two hours. In March the hour from 02:00 does not exist: it is a gap, and divides
    two series. Only 2010-03-14 has a frame of 02:00, with few trips; set it to NaN before scoring.

    References
    ----------
    S. Fiorini, M. Ciavotta, A. Maurino. Listening to the city, attentively: A Spatio-Temporal
    Attention Boosted Autoencoder for the Short-Term Flow Prediction Problem. arXiv:2103.00983.

    Examples
    --------
    >>> data = load_taxinyc("data/taxinyc", years=[2010], min_length=8)  # doctest: +SKIP
    """
    folder = Path(root)
    files = [
        find_file(
            folder / f"NYC{year % 100}_Taxi_M16x8_T60_InOut.h5",
            "put TaxiNYC's file there, which the authors of arXiv:2103.00983 publish, or pass the "
            "`years` that you have",
        )
        for year in chosen("years", years, _YEARS)
    ]
    stretches = read_stretches(
        files,
        (16, 8),
        "taxis per hour",
        channel_names=("outflow", "inflow"),
        freq="h",
        first_slot=0,
        drop_zero_frames=True,
        sort=True,
        duplicates="sum",
    )
    times: Any  # dates
    frames, times = to_flow(stretches)
    begins = frames[:, 0].any(axis=(1, 2))
    logger.info("Dropped %d frames in which no trip begins.", (~begins).sum())
    series: Any = from_flow(
        frames[begins, ::-1],
        times[begins],
        freq="h",
        gaps="split",
        min_length=min_length,
        attributes=grid_of(stretches[0]).attributes,
    )
    column = read_holidays(folder / "NY_Holiday.txt", timeline(series)) if holidays else None
    return FlowData(*split_last_days(series, test_days, min_length), to_covariates(column))


def load_nyc_flow(
    root: str | os.PathLike[str], city: City = "NYTaxi", *, covariates: bool = True
) -> FlowData:
    """Read NYTaxi or NYBike: 90 days of 2016 without a gap, every half hour, from NumPy's files.

    Parameters
    ----------
    root
        Folder with ``flow_train.npz``, ``flow_test.npz`` and ``external_knowledge.csv``, or with
        the folders ``NYTaxi`` and ``NYBike`` that hold them.
    city
        ``"NYTaxi"``, 16 x 12 cells from 2016-01-01 on, or ``"NYBike"``, 14 x 8 cells from
        2016-08-01 on.
    covariates
        Whether to read holidays and the weather of each day.

    Returns
    -------
    FlowData
        Taxis or bicycles per 30 minutes, channels inflow and outflow, 63 days for training and 27
        for testing. The covariates, alike for the half hours of a day, have the columns
        ``maximum_temperature``, ``minimum_temperature``, ``average_temperature`` (degrees
        Fahrenheit), ``precipitation``, ``snow_fall``, ``snow_depth`` (inches; a trace is 0) and
        ``holiday`` (0 or 1). They were observed, and cover the days of the file.

    Raises
    ------
    FileNotFoundError
        If a file is missing; none is fetched.
    ValueError
        If `city` is unknown, or a file is damaged or another than expected.

    Notes
    -----
    Times are those of the clock, which in New York was put forward on 2016-03-13: its frames of
    02:00 and 02:30, in the test of NYTaxi, are of an hour that does not exist, with 36 and 41 trips
    in the whole city. To leave them out of a score, set them to NaN, as in the second example.

    References
    ----------
    H. Lin, W. Jia, Y. You, Y. Sun. Interpretable Crowd Flow Prediction with Spatial-Temporal
    Self-Attention. arXiv:2002.09693. The files are those of https://github.com/haoxingl/STSAN.

    Examples
    --------
    >>> data = load_nyc_flow("data/nyc", "NYBike")  # doctest: +SKIP
    >>> [len(part[0]) for part in (data.train, data.test)]  # doctest: +SKIP
    [3024, 1296]

    >>> [test] = load_nyc_flow("data/nyc", "NYTaxi").test  # doctest: +SKIP
    >>> values = test.values()  # doctest: +SKIP
    >>> unreal = ["2016-03-13 02:00", "2016-03-13 02:30"]  # doctest: +SKIP
    >>> values[test.time_index.isin(unreal)] = np.nan  # doctest: +SKIP
    >>> test = test.with_values(values)  # doctest: +SKIP
    """
    chosen("city", city, list(_CITIES))
    folder = Path(root, city) if Path(root, city).is_dir() else Path(root)
    first, shape, units = _CITIES[city]
    files = [
        find_file(folder / name, "get it from https://github.com/haoxingl/STSAN (data.zip)")
        for name in ("flow_train.npz", "flow_test.npz")
    ]
    options: Any = {"key": "flow", "layout": "THWC", "start": first, "freq": _STEP}
    [series] = read_stretches(files, shape, units, **options)
    n_test = len(read_stretches(files[1:], shape, units, **options)[0])
    columns = None
    if covariates:
        columns = _read_days(folder / "external_knowledge.csv", first, series.end_time())
    return FlowData([series[:-n_test]], [series[-n_test:]], to_covariates(columns))


def _read_days(file: Path, first: str, last: Any) -> pd.DataFrame:
    """Read a table of days, and give each half hour the values of its day."""
    find_file(file, "put it there, or pass covariates=False")
    table = pd.read_csv(file, dtype=str)
    days = pd.DatetimeIndex(pd.to_datetime(table["date"], format="%d-%m-%Y"))
    # "day" is that of the week; holidays and the weather remain
    named = table.drop(columns=["date", "day"]).rename(columns=lambda name: name.replace(" ", "_"))
    # T is a trace, less than can be measured
    values = named.mask(named == "T", "0").astype(np.float32).set_index(days)
    # no more half hours than the table has days for, whatever its dates are
    is_complete = days.equals(pd.date_range(first, periods=len(days))) and values.notna().all(None)
    if not is_complete or last > days[-1] + _DAY:
        raise ValueError(f"{file} must hold each day from {first} to {last:%Y-%m-%d}, in order")
    times = pd.date_range(first, periods=len(days) * int(_DAY / _STEP), freq=_STEP)
    return values.loc[times.normalize()].set_axis(times)
