"""What the data sets of traffic flow share: years of files, their split, their covariates.

Letters for shapes: T time, C channels, H height (rows), W width (columns).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from darts import TimeSeries
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from darts_mim.adapters.flow import from_flow
from darts_mim.adapters.flow.files import DatedFrames, read_files
from darts_mim.adapters.flow.timeline import in_order, without_doubles, without_zero_frames
from darts_mim.grid_checks import checked_size, counted
from darts_mim.scaler import GridScaler

logger = logging.getLogger(__name__)

_LAYOUT: Final = "TCHW"
_CHANNELS: Final = 2


class FlowData(NamedTuple):
    """A data set of flows, in trips, taxis or bicycles per interval."""

    train: list[TimeSeries]
    """Stretches without gaps, in order of time, with the channels inflow and outflow."""

    test: list[TimeSeries]
    """Stretches without gaps, all of them later."""

    covariates: TimeSeries | None
    """What is known beside the flow at every interval from the first to the last and beyond; for
    each series the same: ``future_covariates=[data.covariates] * len(data.train)``."""

    def scaled(
        self, feature_range: tuple[float, float] = (0.0, 1.0)
    ) -> tuple[FlowData, GridScaler]:
        """Scale flows by the least and the largest value of the training series.

        Inflow and outflow share the two, as in the papers on these data. Test values may lie beyond
        the range. Covariates stay what they are.

        Parameters
        ----------
        feature_range
            What the least and the largest value become: (0, 1), or (-1, 1) as the papers have it.

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
        scaler = GridScaler(_JointMinMax(feature_range), global_fit=True)
        train: Any = scaler.fit_transform(self.train)  # lists, as what they are given
        test: Any = scaler.transform(self.test)
        return FlowData(train, test, self.covariates), scaler


class _JointMinMax(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # untyped bases
    """Bring all columns to a range by one minimum and one maximum."""

    def __init__(self, feature_range: tuple[float, float]) -> None:
        self.feature_range = feature_range
        low, high = feature_range
        if not low < high:
            raise ValueError(f"`feature_range` must rise, got {feature_range}; pass (0, 1)")

    def fit(self, rows: NDArray[Any], y: None = None) -> _JointMinMax:
        self.least_, self.largest_ = np.inf, -np.inf
        return self.partial_fit(rows)

    def partial_fit(self, rows: NDArray[Any], y: None = None) -> _JointMinMax:
        self.least_ = min(self.least_, float(np.nanmin(rows)))
        self.largest_ = max(self.largest_, float(np.nanmax(rows)))
        return self

    def transform(self, rows: NDArray[Any]) -> NDArray[Any]:
        low, high = self.feature_range
        return (rows - self.least_) / self._span() * (high - low) + low

    def inverse_transform(self, rows: NDArray[Any]) -> NDArray[Any]:
        low, high = self.feature_range
        return (rows - low) / (high - low) * self._span() + self.least_

    def _span(self) -> float:
        return (self.largest_ - self.least_) or 1.0  # all alike: they become the least


def checked_years(years: int | Sequence[int], known: Iterable[int]) -> list[int]:
    """Return years in rising order, each once.

    Raises
    ------
    ValueError
        If there is none, or one is not known.
    """
    wanted = sorted({years} if isinstance(years, int) else set(years))
    unknown = [year for year in wanted if year not in set(known)]
    if unknown or not wanted:
        got = unknown[0] if unknown else "none"
        raise ValueError(f"`years` must be some of {', '.join(map(str, known))}, got {got}")
    return wanted


def read_years(
    files: Sequence[Path],
    shape: tuple[int, int],
    *,
    units: str,
    is_clean: bool,
    min_length: int,
) -> list[TimeSeries]:
    """Read a file for each year, and join them to stretches without gaps.

    Parameters
    ----------
    files
        HDF5 files in TaxiBJ's layout.
    shape
        Height and width that they must have.
    units
        Unit of the flows.
    is_clean
        Whether frames out of order or doubled are an error, and inflow comes first, as in TaxiBJ's
        files. If not, as in TaxiNYC's, frames that are zero in all cells go, the rest is sorted,
        those of one time are summed, and those in which no trip begins go; outflow comes first.
    min_length
        The least number of frames of a stretch; shorter ones are dropped.

    Returns
    -------
    list of TimeSeries
        In order of time. What was dropped, summed and cut is in the log.
    """
    parts = [(file, _read_year(file, shape, is_clean)) for file in files]
    parts.sort(key=lambda part: part[1].times[0])
    for (early, one), (late, other) in pairwise(parts):
        if other.times[0] <= one.times[-1]:
            raise ValueError(
                f"`root`: {early} and {late} must not overlap in time, got {one.times[-1]} as the "
                f"end of one and {other.times[0]} as the start of the other; get them anew"
            )
    first = parts[0][1]
    return from_flow(
        np.concatenate([part.frames for _, part in parts]),
        first.times.append([part.times for _, part in parts[1:]]),
        freq=first.freq,
        min_length=min_length,
        attributes=flow_attributes(units),
    )


def flow_attributes(units: str) -> dict[str, dict[str, str]]:
    """Return the attributes of the two channels."""
    return {name: {"units": units} for name in ("inflow", "outflow")}


def split_last_days(
    series: Sequence[TimeSeries], days: int, min_length: int
) -> tuple[list[TimeSeries], list[TimeSeries]]:
    """Divide stretches before the last days of the calendar, and cut the one that goes across."""
    checked_size("test_days", days)
    last: Any = max(one.end_time() for one in series)  # a date: pandas' stubs cannot tell
    cut = last.normalize() - pd.Timedelta(days=days - 1)
    train: list[TimeSeries] = []
    test: list[TimeSeries] = []
    for one in series:
        before = int((one.time_index < cut).sum())
        for part, goal in ((one[:before], train), (one[before:], test)):
            if 0 < len(part) < min_length:
                logger.warning(
                    "Dropped %s from %s on, cut off at the start of the test at %s: fewer than "
                    "min_length=%d.",
                    counted(len(part), "frame"),
                    part.start_time(),
                    cut,
                    min_length,
                )
            elif len(part):
                goal.append(part)
    for name, parts in (("training", train), ("test", test)):
        if not parts:
            raise ValueError(
                f"`test_days={days}` leaves no {name} series, as frames go from "
                f"{series[0].start_time()} to {series[-1].end_time()}; pass another number of days"
            )
    return train, test


def _read_year(file: Path, shape: tuple[int, int], is_clean: bool) -> DatedFrames:
    frames, times, freq = read_files(
        [file],
        freq=None,
        first_slot=None,
        start=None,
        key=None,
        layout=_LAYOUT,
        channels=_CHANNELS,
    )
    if frames.shape[2:] != shape:
        raise ValueError(
            f"`root`: {file} must hold frames of {shape[0]} x {shape[1]} cells, got shape "
            f"{frames.shape}; get the file anew"
        )
    flows = frames.astype(np.float32)
    if not np.isfinite(flows).all():
        raise ValueError(f"`root`: {file} must hold finite flows, got NaN or infinity; get it anew")
    try:
        if is_clean:
            ordered = without_doubles(*in_order(flows, times, sort=False), "raise")
        else:
            known = without_zero_frames(flows[:, ::-1], times, None)
            ordered = _with_beginnings(*without_doubles(*in_order(*known, sort=True), "sum"))
    except ValueError as error:
        raise ValueError(f"`root`: {file} is not as it was published: {error}") from error
    if len(ordered[0]) < len(flows):
        logger.warning(
            "%s: %d of %d frames are left without those that are zero, of one time, or of trips "
            "that end alone.",
            file.name,
            len(ordered[0]),
            len(flows),
        )
    return DatedFrames(*ordered, freq)


def _with_beginnings(
    flows: NDArray[Any], times: pd.Index[Any]
) -> tuple[NDArray[Any], pd.Index[Any]]:
    """Leave out frames in which trips end and none begins in the whole city."""
    begins = np.flatnonzero(flows[:, 1].any(axis=(1, 2)))
    return flows[begins], times[begins]
