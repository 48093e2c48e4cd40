"""What is usual at a time of the week, as a transformer of Darts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from darts import TimeSeries
from darts.dataprocessing.transformers import (
    FittableDataTransformer,
    InvertibleDataTransformer,
)


class WeeklyAverage(FittableDataTransformer, InvertibleDataTransformer):
    """Subtract from every component its historical average: the mean at that time of the week.

    The mean is over all series that it is fitted on. In a ``Pipeline`` and as
    ``data_transformers`` it is like any other of Darts: forecasts of what is left come back as
    forecasts of the whole.
    """

    def __init__(self) -> None:
        super().__init__(name="WeeklyAverage", global_fit=True)

    @staticmethod
    def ts_fit(
        series: Sequence[TimeSeries], params: Mapping[str, Any], *args: Any
    ) -> pd.DataFrame:
        """Return the means, a row for each time of the week."""
        frames = pd.concat([each.to_dataframe() for each in series])
        return frames.groupby(_slot(pd.DatetimeIndex(frames.index))).mean()

    @staticmethod
    def ts_transform(
        series: TimeSeries, params: Mapping[str, Any], *args: Any
    ) -> TimeSeries:
        """Return what is left."""
        return series - _average_at(series, params["fitted"])

    @staticmethod
    def ts_inverse_transform(
        series: TimeSeries, params: Mapping[str, Any], *args: Any
    ) -> TimeSeries:
        """Return the whole."""
        return series + _average_at(series, params["fitted"])


def _average_at(series: TimeSeries, means: pd.DataFrame) -> TimeSeries:
    """Return means at the times of a series."""
    rows = means.reindex(_slot(series.time_index)).to_numpy(series.dtype)
    if np.isnan(rows).any():
        raise ValueError(
            f"the training must hold each time of the week of {series.start_time()} to "
            f"{series.end_time()}; train on a week at least"
        )
    return series.with_values(np.broadcast_to(rows[..., None], series.shape))


def _slot(times: pd.DatetimeIndex) -> pd.Index:
    """Return the minute of the week, from Monday on."""
    return times.dayofweek * 1440 + times.hour * 60 + times.minute
