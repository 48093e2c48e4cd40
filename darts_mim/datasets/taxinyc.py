"""Taxis and bicycles of New York, in the two forms in which they are passed around.

Letters for shapes: T time, C channels, H height (rows), W width (columns).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from darts import TimeSeries

from darts_mim.adapters.flow import read_flow
from darts_mim.checks import checked_integer
from darts_mim.datasets.choices import checked_choices
from darts_mim.datasets.flow_covariates import (
    check_there,
    holiday_column,
    read_holidays,
    timeline,
    to_covariates,
)
from darts_mim.datasets.flow_files import (
    YearFiles,
    as_published,
    flow_attributes,
    read_years,
)
from darts_mim.datasets.flow_sets import FlowData, split_last_days

City: TypeAlias = Literal["NYTaxi", "NYBike"]

_YEARS: Final = (2010, 2011, 2012, 2013, 2014)
_KIND: Final = YearFiles(
    shape=(16, 8),
    freq=pd.tseries.frequencies.to_offset("h"),
    first_slot=0,
    units="taxis per hour",
    is_clean=False,
    has_outflow_first=True,
)
_HOLIDAY_FILE: Final = "NY_Holiday.txt"


class _City(NamedTuple):
    start: str
    shape: tuple[int, int]
    units: str


_CITIES: Final[dict[str, _City]] = {
    "NYTaxi": _City("2016-01-01", (16, 12), "taxis per 30 min"),
    "NYBike": _City("2016-08-01", (14, 8), "bicycles per 30 min"),
}
_STEP: Final = pd.Timedelta("30min")
_TRACE: Final = "T"  # less than can be measured
_WEATHER_COLUMNS: Final = {
    "maximum temperature": "maximum_temperature",
    "minimum temperature": "minimum_temperature",
    "average temperature": "average_temperature",
    "precipitation": "precipitation",
    "snow fall": "snow_fall",
    "snow depth": "snow_depth",
    "holiday": "holiday",
}


def load_taxinyc(
    root: str | os.PathLike[str],
    *,
    years: int | Sequence[int] = _YEARS,
    test_days: int = 28,
    min_length: int = 1,
    holidays: bool = True,
) -> FlowData:
    """Read TaxiNYC: taxis of New York from 2010 to 2014, every hour, an HDF5 file a year.

    The files are in TaxiBJ's layout but for the channels: they have trips that begin, the outflow,
    in front of trips that end. The series have the inflow first, like all of this package. Nor are
    the files clean. Frames that are zero in all cells are outages and go; each quarter of a year
    also holds frames of the few trips that reach over its ends, which have no outflow, and those of
    one hour are summed; those that stand alone, in which no trip begins, go; the rest is put in
    order. September is missing in all years: each stretch without a gap is a series, and nothing is
    filled. The log says for each file how many frames are left.

    Parameters
    ----------
    root
        Folder with ``NYC10_Taxi_M16x8_T60_InOut.h5`` to ``NYC14_Taxi_M16x8_T60_InOut.h5``, and with
        ``NY_Holiday.txt`` where holidays are asked for.
    years
        Which of the five files to read.
    test_days
        The last days of the calendar that are for testing. A stretch that goes across is cut.
    min_length
        The least number of frames of a series; shorter ones are dropped, with a warning in the log.
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
        If h5py is missing: ``pip install 'darts-mim[datasets]'``, or ``[flow]`` alone.
    TypeError
        If a file holds no numbers, or its dates are no text.
    ValueError
        If a file is damaged, has dates that do not exist or another grid; if no year is chosen or
        one is unknown; or if `test_days` leave nothing.

    Notes
    -----
    Times are those of the clock. On the Sunday in November on which clocks are put back, the frame
    of 01:00 counts two hours. In March the hour from 02:00 does not exist: it is a gap, and divides
    two series, but for 2010-03-14, whose frame of 02:00 counts few trips and is to be set to NaN
    where it would enter a score.

    References
    ----------
    S. Fiorini, M. Ciavotta, A. Maurino. Listening to the city, attentively: A Spatio-Temporal
    Attention Boosted Autoencoder for the Short-Term Flow Prediction Problem. arXiv:2103.00983.

    Examples
    --------
    >>> data = load_taxinyc("data/taxinyc", years=[2010], min_length=8)  # doctest: +SKIP
    """
    checked_integer("min_length", min_length)
    folder = Path(root)
    files = [_year_file(year, folder) for year in checked_choices("years", years, _YEARS)]
    series = read_years(files, _KIND, min_length)
    parts: list[Any] = []
    if holidays:
        parts.append(holiday_column(timeline(series), read_holidays(folder / _HOLIDAY_FILE)))
    return FlowData(*split_last_days(series, test_days, min_length), to_covariates(parts))


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
    if city not in _CITIES:
        raise ValueError(f"`city` must be one of {', '.join(_CITIES)}, got {city!r}")
    within = Path(root) / city
    folder, known = within if within.is_dir() else Path(root), _CITIES[city]
    train = _read_part(folder / "flow_train.npz", known, known.start)
    start = pd.Timestamp(known.start) + len(train) * _STEP
    test = _read_part(folder / "flow_test.npz", known, start)
    table = [_read_days(folder / "external_knowledge.csv", train, test)] if covariates else []
    return FlowData([train], [test], to_covariates([*table]))


def _year_file(year: int, folder: Path) -> Path:
    file = folder / f"NYC{year % 100}_Taxi_M16x8_T60_InOut.h5"
    if not file.is_file():
        raise FileNotFoundError(
            f"`root`: there is no file {file.absolute()}; put TaxiNYC's file there, which the "
            "authors of arXiv:2103.00983 publish, pass the `years` that you have, or correct `root`"
        )
    return file


def _read_part(file: Path, city: _City, start: Any) -> TimeSeries:
    if not file.is_file():
        raise FileNotFoundError(
            f"`root`: there is no file {file.absolute()}; get it from "
            "https://github.com/haoxingl/STSAN (data.zip), or correct `root`"
        )
    with as_published(file):
        [series] = read_flow(
            file,
            key="flow",
            layout="THWC",
            start=start,
            freq="30min",
            attributes=flow_attributes(city.units),
        )
    if (cells := 2 * city.shape[0] * city.shape[1]) != series.n_components:
        raise ValueError(
            f"`root`: {file} must hold in- and outflow of {city.shape[0]} x {city.shape[1]} cells, "
            f"{cells} values, got {series.n_components}; check `city`"
        )
    return series


def _read_days(file: Path, train: TimeSeries, test: TimeSeries) -> pd.DataFrame:
    """Read a table of days, and give each half hour what its day has."""
    check_there(file, "covariates=False")
    try:
        table = pd.read_csv(file, dtype=str)
        days = pd.to_datetime(table["date"], format="%d-%m-%Y")
        named = table[list(_WEATHER_COLUMNS)].rename(columns=_WEATHER_COLUMNS)
        values = (
            named.mask(named == _TRACE, "0").astype(np.float32).set_index(pd.DatetimeIndex(days))
        )
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"`root`: {file} must be a table of days, D-M-YYYY, with the columns "
            f"{', '.join(_WEATHER_COLUMNS)} ({error}); get it anew"
        ) from error
    first: Any = train.start_time()  # dates: pandas' stubs cannot tell
    last: Any = test.end_time()
    end = max(last, days.max() + pd.Timedelta(days=1) - _STEP)
    times = pd.date_range(first, end, freq=_STEP)
    if values.index.is_unique:
        placed = values.reindex(times.normalize()).set_axis(times)
        if not placed.isna().any(axis=None):
            return placed
    raise ValueError(
        f"`root`: {file} must have each day from {first:%Y-%m-%d} to {end:%Y-%m-%d} once, and no "
        "empty field; get it anew"
    )
