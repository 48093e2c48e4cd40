"""Checks of what users give a grid model: options, data sets, values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from darts import TimeSeries
from darts.utils.data.torch_datasets.utils import TorchInferenceSample, TorchTrainingSample
from darts.utils.likelihood_models.torch import TorchLikelihood
from numpy.typing import NDArray

from darts_mim.checks import checked_integer
from darts_mim.grid import Grid
from darts_mim.nn.sampling import ScheduledSampling

_STRETCH = 2**24  # values looked at in one go, so that memory maps stay out of memory
_INTEGERS = {
    "input_chunk_length": 1,
    "output_chunk_length": 1,
    "output_chunk_shift": 0,
    "max_steps": 1,
    "batch_size": 1,
    "n_epochs": -1,
}
_KINDS: dict[str, tuple[Any, str]] = {
    "grid": (Grid, "darts_mim.Grid(channels=1, height=64, width=64)"),
    "likelihood": (TorchLikelihood, "darts.utils.likelihood_models.GaussianLikelihood()"),
    "loss_fn": (Callable, "torch.nn.L1Loss()"),
    "scheduled_sampling": (ScheduledSampling, "darts_mim.ScheduledSampling.linear(steps=50_000)"),
}


def check_options(options: Mapping[str, Any]) -> None:
    """Check the options that all grid models have, as far as they are given.

    Raises
    ------
    TypeError
        If an option is of a wrong type.
    ValueError
        If an option is out of its range.
    """
    for name, least in _INTEGERS.items():
        if options.get(name) is not None:
            checked_integer(name, options[name], least)
    for name, (kind, example) in _KINDS.items():
        value = options.get(name)
        if value is not None and (isinstance(value, type) or not isinstance(value, kind)):
            raise TypeError(
                f"`{name}` must be an object such as {example}, got {value!r} of type "
                f"{type(value).__name__}; make one, or leave `{name}` out"
            )


def check_series(name: str, series: Any) -> None:
    """Refuse what is neither a series nor several."""
    several = series if isinstance(series, Sequence) else [series]
    if not several or not all(isinstance(each, TimeSeries) for each in several):
        raise TypeError(
            f"`{name}` must be a TimeSeries or a sequence of them, got {series!r:.60} of type "
            f"{type(series).__name__}; `frames_to_series` makes a series of frames"
        )


def check_precision(dataset: Any, expected: Any, precision: Any) -> None:
    """Refuse double precision series where the model is of single precision.

    Parameters
    ----------
    dataset
        A data set, of series or with samples.
    expected
        Type of the values that the model is trained on.
    precision
        Lightning's precision, ``None`` for that of the values.

    Raises
    ------
    ValueError
        If there is one.
    """
    all_values = [dataset[0].past_target, *getattr(dataset, "series", ())]
    is_double = any(each.dtype == np.float64 for each in all_values)
    if is_double and expected != np.float64 and not str(precision).startswith("64"):
        raise ValueError(
            f"`series` holds float64 values, but the model is trained on {expected}; give "
            f"`series.astype(np.{expected})`"
        )


def check_sampling(sampling: ScheduledSampling | None, *, predicts_context: bool) -> None:
    """Refuse scheduled sampling that would replace frames of the context by predictions of them.

    Parameters
    ----------
    sampling
        Scheduled sampling.
    predicts_context
        Whether the network predicts the frames of the context.

    Raises
    ------
    ValueError
        If there are no such predictions.
    """
    if sampling is None or predicts_context:
        return
    context = sampling.context
    stays = context.end == 1 or (context.shape == "constant" and context.until is None)
    if context.start < 1 or not stays:
        raise ValueError(
            "`scheduled_sampling` must leave all frames of the context true, because the network "
            f"predicts none of them, got context={context}; give a schedule for the horizon "
            "alone, such as ScheduledSampling.linear(steps=...)"
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
        If the sample has other numbers of frames.
    """
    names = ["past_target", "past_covariates", "historic_future_covariates"]
    lengths = dict.fromkeys(names, context)
    if horizon is not None:
        lengths |= {"future_target": horizon, "future_covariates": horizon}
    for name, expected in lengths.items():
        array = getattr(sample, name, None)
        if array is not None and len(array) != expected:
            raise ValueError(
                f"`{name}` of the data set has {len(array)} frames, but the model is for "
                f"{expected}; make the data set with the model's chunk lengths"
            )


def check_shift(dataset: Any, shift: int) -> None:
    """Refuse a data set that says that it leaves another gap between the chunks than the model."""
    got = getattr(dataset, "output_chunk_shift", shift)
    if got != shift:
        raise ValueError(
            f"`output_chunk_shift` of the data set is {got}, but that of the model is {shift}; "
            f"make the data set with output_chunk_shift={shift}"
        )


def stretches(
    series: TimeSeries, start: int = 0, end: int | None = None
) -> Iterator[tuple[int, NDArray[np.floating[Any]]]]:
    """Yield the values from ``start`` to before ``end`` in stretches that fit in memory.

    Yields
    ------
    first
        Position of the stretch's first frame.
    part
        Values of shape (frames, N, samples).
    """
    values = series.all_values(copy=False)
    end = len(values) if end is None else min(end, len(values))
    stretch = max(1, _STRETCH // values[0].size)
    for first in range(max(start, 0), end, stretch):
        yield first, values[first : min(first + stretch, end)]


def check_values(
    series: TimeSeries,
    *,
    name: str = "series",
    start: int = 0,
    end: int | None = None,
    may_miss: bool = False,
    grid: Grid | None = None,
) -> NDArray[np.bool_]:
    """Refuse infinity, and unless values ``may_miss`` also NaN, from ``start`` to before ``end``.

    What the mask of a ``grid`` hides may be anything.

    Returns
    -------
    numpy.ndarray
        Which of the N components are ever known.

    Raises
    ------
    ValueError
        If there is a value that may not be.
    """
    is_known = np.zeros(series.n_components, dtype=bool)
    is_hidden = _hidden(grid, series.n_components)[:, None]  # (N, 1), for all samples
    for first, part in stretches(series, start, end):
        is_finite = np.isfinite(part)
        is_known |= is_finite.any(axis=(0, 2))
        is_refused = (np.isinf(part) if may_miss else ~is_finite) & ~is_hidden
        if not is_refused.any():
            continue
        time, component, sample = np.argwhere(is_refused)[0]
        value, component = part[time, component, sample], str(series.components[component])
        raise ValueError(
            f"`{name}` must be finite, got {value} in component {component!r} at "
            f"{series.time_index[first + time]}; {_remedy(component, value, may_miss)}"
        )
    return is_known


def _remedy(component: str, value: float, may_miss: bool) -> str:
    if component.startswith("darts_enc"):
        return "`add_encoders` makes this component: change its function or its transformer"
    if may_miss:
        return "give NaN where a value is missing"
    if np.isnan(value):
        return "fill the gaps first, as with `darts.utils.missing_values.fill_missing_values`"
    return "correct it where it is computed, such as a division by zero"


def _hidden(grid: Grid | None, n_components: int) -> NDArray[np.bool_]:
    """Return which components the mask hides: none where the grid is not theirs."""
    if grid is None or grid.mask is None or grid.n_components != n_components:
        return np.zeros(n_components, dtype=bool)
    return grid.to_components(np.broadcast_to(~grid.mask, grid.shape))


def check_static(all_series: Sequence[TimeSeries], expected: tuple[int, int] | None = None) -> None:
    """Refuse static covariates with missing values, or of unlike shapes.

    Parameters
    ----------
    all_series
        The series.
    expected
        The shape (rows, columns), by default that of the first series.

    Raises
    ------
    ValueError
        If there are any.
    """
    for index, series in enumerate(all_series):
        table = series.static_covariates
        shape = None if table is None else table.shape
        expected = expected or shape
        if table is None or shape != expected:
            raise ValueError(
                "`static_covariates` must have the same rows and columns in all series, expected "
                f"{expected}, got {shape} in series {index}; give all of them one row, or a row "
                "for each component"
            )
        for row, column in np.argwhere(~np.isfinite(table.to_numpy(dtype=float))):
            raise ValueError(
                f"`static_covariates` must be finite, got {table.iloc[row, column]} in column "
                f"{table.columns[column]!r} of {table.index[row]!r} in series {index}; fill it, "
                "for example with `fillna`"
            )


def refuse_unobserved(is_known: NDArray[np.bool_], grid: Grid) -> None:
    """Refuse cells that are never observed, unless the grid's mask says so.

    Parameters
    ----------
    is_known
        Which of the N components are ever known in the training data.
    grid
        Grid of the target.

    Raises
    ------
    ValueError
        If there is one.
    """
    is_lost = ~grid.to_frames(is_known)
    if grid.mask is not None:
        is_lost = is_lost & grid.mask
    if is_lost.any():
        channel, row, column = np.argwhere(is_lost)[0]
        raise ValueError(
            f"`series` has {is_lost.sum()} components that are never observed (NaN at all times), "
            f"such as channel {grid.channel_names[channel]!r} in row {row}, column {column}; leave "
            "them out or fill them, or hide their cells, as in `frames_to_series(frames, "
            "mask=~np.isnan(frames).all(axis=0).any(axis=0))`"
        )
