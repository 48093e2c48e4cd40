"""What the data sets of traffic flow are: series for training and testing, and covariates."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from darts import TimeSeries
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from darts_mim.checks import checked_integer, counted
from darts_mim.transforms import GridScaler

logger = logging.getLogger(__name__)


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

    def test_with_history(self, length: int) -> list[TimeSeries]:
        """Return the test series with the frames just before them, for models to forecast from.

        A model that reads a week makes its first forecast a week after a series begins. With a week
        of history that is the first frame of the test. The scored part of series k starts at
        ``test[k].start_time()``; the frames before it are for reading.

        Parameters
        ----------
        length
            The most frames to put in front, at least 1: as many as a model reads.

        Returns
        -------
        list of TimeSeries
            A series for each of `test`. Those that do not directly follow a training series, as
            they begin after a gap, are as they were, and those that follow a shorter one have all
            of it in front.

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


def split_last_days(
    series: Sequence[TimeSeries], days: int, min_length: int
) -> tuple[list[TimeSeries], list[TimeSeries]]:
    """Divide stretches before the last days of the calendar, and cut the one that goes across."""
    checked_integer("test_days", days)
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
