"""TaxiBJ: in- and outflow of taxis in Beijing every half hour, with weather and holidays.

Letters for shapes: T time, C channels, H height (rows), W width (columns).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from darts_mim.adapters.flow.files import read_hdf5, slot_times
from darts_mim.datasets.files import check_file, chosen, find_file
from darts_mim.datasets.flow_sets import (
    FlowData,
    read_holidays,
    read_stretches,
    split_last_days,
    timeline,
    to_covariates,
)

logger = logging.getLogger(__name__)

# The checksums are those of `md5sum.txt`, which comes with the data. Their makers offer them on
# OneDrive and BaiduYun, where no program can fetch them.
CHECKSUMS: Final = {
    "BJ13_M32x32_T30_InOut.h5": "md5:24cec8a5310d4982ffcee43c7aa3ad70",
    "BJ14_M32x32_T30_InOut.h5": "md5:bfe5144413e950207cad50999b3910ab",
    "BJ15_M32x32_T30_InOut.h5": "md5:70fa80fcb4441f2df18d3dde246dc5fb",
    "BJ16_M32x32_T30_InOut.h5": "md5:6592f29581f0ed5fc930d2c7f40f8e6f",
    "BJ_Meteorology.h5": "md5:cf749c9f9de700d7a9edfffb428aad42",
}
_YEARS: Final = (2013, 2014, 2015, 2016)
_REMEDY: Final = (
    "get TaxiBJ's files from https://1drv.ms/f/s!Akh6N7xv3uVmhOhDKwx3bm5zpHkDOQ (OneDrive) or "
    "http://pan.baidu.com/s/1qYq7ja8 and put them there, or pass the `years` that you have"
)
_SLOTS: Final[dict[str, Any]] = {"freq": "30min", "first_slot": 1}

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
    years: int | Sequence[int] = _YEARS,
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
        Number of days at the end that are for testing: the four weeks of the papers. A stretch that
        spans the cut is divided.
    min_length
        The least number of frames of a series; shorter ones are dropped.
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
        day after the last. The weather was observed; a real forecast would only have a forecast of
        it.

    Raises
    ------
    FileNotFoundError
        If a file is missing; none is fetched.
    ImportError
        If h5py is missing, which the extra ``datasets`` or ``flow`` installs.
    ValueError
        If a file is damaged, is not the published one, has dates that do not exist, go back or
        occur twice, or another grid; if no year is chosen or one is unknown; or if `test_days`
        leave nothing.

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
    folder = Path(root)
    names = [f"BJ{year % 100}_M32x32_T30_InOut.h5" for year in chosen("years", years, _YEARS)]
    files = [_find(folder, name, _REMEDY, verify) for name in names]
    series = read_stretches(files, (32, 32), "taxis per 30 min", min_length=min_length, **_SLOTS)
    times = timeline(series)
    days = read_holidays(folder / "BJ_Holiday.txt", times) if holidays else None
    sky = None
    if weather:
        file = _find(folder, "BJ_Meteorology.h5", "put it there, or pass weather=False", verify)
        sky = _read_weather(file, times)
    return FlowData(*split_last_days(series, test_days, min_length), to_covariates(days, sky))


def _find(folder: Path, name: str, remedy: str, verify: bool) -> Path:
    file = find_file(folder / name, remedy)
    if verify:
        check_file(file, CHECKSUMS[name])
    return file


def _read_weather(file: Path, times: pd.DatetimeIndex) -> pd.DataFrame:
    """Read the weather at some times; where there is no entry, that of the time before."""
    *columns, dates = read_hdf5(file, "Temperature", "WindSpeed", "Weather", "date")
    names = ["temperature", "wind_speed", *WEATHER]
    table = pd.DataFrame(np.column_stack(columns), slot_times(dates, file, **_SLOTS), names)
    placed = table.reindex(times)
    lacking = int(placed.isna().any(axis=1).sum())
    if lacking == len(times):
        raise ValueError(f"{file} must hold the weather of {times[0]} to {times[-1]}, got none")
    if lacking:
        logger.warning("%s: %d of %d times take the one before.", file.name, lacking, len(times))
    return placed.ffill().bfill()
