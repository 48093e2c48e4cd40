"""Checks of what users give a grid model: options, data sets, values."""

from __future__ import annotations

from typing import Any

import numpy as np
from darts import TimeSeries
from darts.utils.data.torch_datasets.utils import TorchInferenceSample, TorchTrainingSample

from darts_mim.grid import Grid
from darts_mim.nn.checks import checked_integer

__all__ = ["check_finite", "check_options", "check_sample"]

_STRETCH = 2**24  # values looked at in one go, so that memory maps stay out of memory


def check_options(
    *,
    grid: Grid | None,
    input_chunk_length: int,
    output_chunk_length: int,
    output_chunk_shift: int = 0,
    likelihood: Any = None,
    add_encoders: Any = None,
    **_: Any,
) -> None:
    """Check the options that all grid models have.

    Raises
    ------
    TypeError
        If an option is of a wrong type.
    ValueError
        If an option is out of its range, or not supported.
    """
    if grid is not None and not isinstance(grid, Grid):
        raise TypeError(f"`grid` must be a darts_mim.Grid or None, got {type(grid).__name__}")
    checked_integer("input_chunk_length", input_chunk_length)
    checked_integer("output_chunk_length", output_chunk_length)
    checked_integer("output_chunk_shift", output_chunk_shift, least=0)
    if likelihood is not None:
        raise ValueError(
            f"`likelihood={likelihood}` is not supported: the model forecasts one value per "
            "component; leave `likelihood` out and choose the error to minimise with `loss_fn`"
        )
    if add_encoders is not None:
        raise ValueError(
            f"`add_encoders={add_encoders}` is not supported: encoders make covariates, and the "
            "model takes none; leave `add_encoders` out"
        )


def check_sample(
    sample: TorchTrainingSample | TorchInferenceSample, context: int, horizon: int | None = None
) -> None:
    """Check the first sample of a data set, which users may have made themselves.

    Parameters
    ----------
    sample
        The sample.
    context
        Frames that the model reads.
    horizon
        Frames that training predicts, ``None`` where there is no training.

    Raises
    ------
    ValueError
        If the sample has other numbers of frames, or covariates.
    """
    lengths = {"past_target": context, "future_target": horizon}
    for name, expected in lengths.items():
        array = getattr(sample, name, None)
        if array is not None and expected is not None and len(array) != expected:
            raise ValueError(
                f"`{name}` of the data set has {len(array)} frames, but the model is for "
                f"{expected}; make the data set with the model's chunk lengths"
            )
    for name in ("past_covariates", "historic_future_covariates", "future_covariates"):
        if getattr(sample, name) is not None:
            raise ValueError(
                f"The model does not support `{name}`, which the data set has. It does not support "
                "any covariates."
            )


def check_finite(series: TimeSeries, start: int = 0, end: int | None = None) -> None:
    """Refuse NaN and infinity in the frames from ``start`` to before ``end``.

    Raises
    ------
    ValueError
        If there is one.
    """
    values = series.all_values(copy=False)
    end = len(values) if end is None else end
    stretch = max(1, _STRETCH // values[0].size)
    for first in range(max(start, 0), end, stretch):
        part = values[first : min(first + stretch, end)]
        is_finite = np.isfinite(part)
        if is_finite.all():
            continue
        time, component, sample = np.argwhere(~is_finite)[0]
        raise ValueError(
            f"`series` must be finite, got {part[time, component, sample]} in component "
            f"{series.components[component]!r} at {series.time_index[first + time]}; fill the "
            "gaps first, for example with `darts.utils.missing_values.fill_missing_values`"
        )
