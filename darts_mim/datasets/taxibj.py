"""TaxiBJ: in- and outflow of taxis in Beijing every half hour, with weather and holidays.

Letters for shapes: T time, C channels, H height (rows), W width (columns).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from darts import TimeSeries

from darts_mim.adapters.flow.files import read_hdf5, slot_times
from darts_mim.checks import checked_integer
from darts_mim.datasets.choices import checked_choices
from darts_mim.datasets.downloads import RemoteFile, check_file, find_file
from darts_mim.datasets.flow_covariates import (
    check_overlap,
    check_there,
    holiday_column,
    read_holidays,
    spread,
    timeline,
    to_covariates,
)
from darts_mim.datasets.flow_files import YearFiles, as_published, read_years
from darts_mim.datasets.flow_sets import FlowData, split_last_days

# The checksums are those of `md5sum.txt`, which comes with the data. Their makers offer them on
# OneDrive and BaiduYun, where no program can fetch them.
FLOW_FILES: Final = {
    2013: RemoteFile("BJ13_M32x32_T30_InOut.h5", "md5:24cec8a5310d4982ffcee43c7aa3ad70"),
    2014: RemoteFile("BJ14_M32x32_T30_InOut.h5", "md5:bfe5144413e950207cad50999b3910ab"),
    2015: RemoteFile("BJ15_M32x32_T30_InOut.h5", "md5:70fa80fcb4441f2df18d3dde246dc5fb"),
    2016: RemoteFile("BJ16_M32x32_T30_InOut.h5", "md5:6592f29581f0ed5fc930d2c7f40f8e6f"),
}
WEATHER_FILE: Final = RemoteFile("BJ_Meteorology.h5", "md5:cf749c9f9de700d7a9edfffb428aad42")
_HOLIDAY_FILE: Final = "BJ_Holiday.txt"
_REMEDY: Final = (
    "get TaxiBJ's files from https://1drv.ms/f/s!Akh6N7xv3uVmhOhDKwx3bm5zpHkDOQ (OneDrive) or "
    "http://pan.baidu.com/s/1qYq7ja8 and put them there, pass the `years` that you have"
)
_FREQ: Final = pd.tseries.frequencies.to_offset("30min")
_FIRST_SLOT: Final = 1
_KIND: Final = YearFiles(
    shape=(32, 32), freq=_FREQ, first_slot=_FIRST_SLOT, units="taxis per 30 min", is_clean=True
)

WEATHER: Final = (
    "sunny",
    "cloudy",
    "overcast",
    "rainy",
    "sprinkle",
    "moderate_rain",
    "heavy_rain",
    "rainstorm",
    "thunderstorm",
    "freezing_rain",
    "snowy",
    "light_snow",
    "moderate_snow",
    "heavy_snow",
    "foggy",
    "sandstorm",
    "dusty",
)
"""The 17 kinds of weather, in the order of TaxiBJ's one-hot vectors."""


def load_taxibj(
    root: str | os.PathLike[str],
    *,
    years: int | Sequence[int] = (2013, 2014, 2015, 2016),
    test_days: int = 28,
    min_length: int = 1,
    holidays: bool = True,
    weather: bool = True,
    verify: bool = True,
) -> FlowData:
    """Read TaxiBJ: taxis that enter and leave the cells of Beijing, every half hour.

    The recording has four parts of some months and gaps within them. Each stretch without a gap is
    a series, and nothing is filled.

    Parameters
    ----------
    root
        Folder with ``BJ13_M32x32_T30_InOut.h5`` to ``BJ16_M32x32_T30_InOut.h5``, and with
        ``BJ_Holiday.txt`` and ``BJ_Meteorology.h5`` where they are asked for.
    years
        Which of the four files to read.
    test_days
        The last days of the calendar that are for testing: the four weeks of the papers. A stretch
        that goes across is cut.
    min_length
        The least number of frames of a series; shorter ones are dropped, with a warning in the log.
    holidays, weather
        Whether to read them, as covariates.
    verify
        Whether to compare the checksums of the HDF5 files with the published ones.

    Returns
    -------
    FlowData
        Taxis per 30 minutes, channels inflow and outflow on 32 x 32 cells, in local time. The
        covariates have the columns ``holiday`` (0 or 1), ``temperature`` (degrees Celsius),
        ``wind_speed`` (miles per hour) and the 17 of `WEATHER` (0 or 1), from the first frame to a
        day after the last, or as far as the weather is known. It was observed: a forecast made in
        time would have to do with a forecast of it.

    Raises
    ------
    FileNotFoundError
        If a file is missing; none is fetched.
    ImportError
        If h5py is missing: ``pip install 'darts-mim[datasets]'``, or ``[flow]`` alone.
    TypeError
        If a file holds no numbers, or its dates are no text.
    ValueError
        If a file is damaged, is not the published one, has dates that do not exist, are doubled or
        go back, or another grid; if no year is chosen or one is unknown; or if
        `test_days` leave nothing.

    Notes
    -----
    The authors of TaxiBJ use the weather of the interval before the one that is forecast; that of
    the interval itself is an advantage over them. The weather's columns of the covariates with
    ``shift(1)`` are theirs, and a day's holiday is known before it.

    The code that came with the MIM paper takes the days that are complete, sets negative flows to
    zero, and tests on the last 1,344 windows rather than days.

    References
    ----------
    J. Zhang, Y. Zheng, D. Qi. Deep Spatio-Temporal Residual Networks for Citywide Crowd Flows
    Prediction. AAAI 2017.

    Examples
    --------
    >>> data, scaler = load_taxibj("data/taxibj", min_length=8).scaled((-1, 1))  # doctest: +SKIP
    >>> model.fit(  # doctest: +SKIP
    ...     data.train, future_covariates=[data.covariates] * len(data.train)
    ... )
    """
    checked_integer("min_length", min_length)
    folder = Path(root)
    chosen = checked_choices("years", years, FLOW_FILES)
    files = [_checked(FLOW_FILES[year], folder, verify) for year in chosen]
    series = read_years(files, _KIND, min_length)
    covariates = _covariates(folder, series, holidays, weather, verify)
    return FlowData(*split_last_days(series, test_days, min_length), covariates)


def _checked(file: RemoteFile, folder: Path, verify: bool) -> Path:
    path = find_file(file, folder, remedy=_REMEDY)
    if verify:
        try:
            check_file(file, path)
        except ValueError as error:
            raise ValueError(f"{error}, or pass verify=False to read it as it is") from error
    return path


def _covariates(
    folder: Path, series: list[TimeSeries], holidays: bool, weather: bool, verify: bool
) -> TimeSeries | None:
    table = _read_weather(folder, verify) if weather else None
    times = timeline(series)
    if table is not None:
        check_overlap(table, times, folder / WEATHER_FILE.name)
        times = timeline(series, end=table.index[-1])
    parts: list[Any] = []
    if holidays:
        parts.append(holiday_column(times, read_holidays(folder / _HOLIDAY_FILE)))
    if table is not None:
        parts.append(spread(table, times, folder / WEATHER_FILE.name))
    return to_covariates(parts)


def _read_weather(folder: Path, verify: bool) -> pd.DataFrame:
    check_there(folder / WEATHER_FILE.name, "weather=False")
    file = _checked(WEATHER_FILE, folder, verify)
    columns = {}
    with as_published(file):
        for key in ("Temperature", "WindSpeed", "Weather"):
            columns[key], dates = read_hdf5(file, key)
        times = slot_times(dates, file, _FREQ, _FIRST_SLOT)
    expected = {"Temperature": (), "WindSpeed": (), "Weather": (len(WEATHER),)}
    for key, values in columns.items():
        if values.shape != (len(times), *expected[key]) or values.dtype.kind not in "fiu":
            raise ValueError(
                f"`root`: {key!r} in {file} must be numbers of shape "
                f"{(len(times), *expected[key])}, got {values.dtype} of shape {values.shape}; get "
                "the file anew"
            )
    if len(times) == 0 or not (times.is_monotonic_increasing and times.is_unique):
        raise ValueError(
            f"`root`: dates in {file} must rise, and there must be some; get the file anew"
        )
    names = ["temperature", "wind_speed", *WEATHER]
    return pd.DataFrame(np.column_stack(list(columns.values())), times, names)
