"""A model and what it would be trained on: the modules that would come of it, without weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import numpy as np
import torch
from darts import TimeSeries
from darts.models.forecasting.torch_forecasting_model import MixedCovariatesTorchModel
from darts.utils.data.torch_datasets.utils import TorchTrainingSample

from darts_mim.grid import Grid
from darts_mim.models.costs import Setting, StepCosts, step_costs
from darts_mim.models.covariates import CovariateLayout
from darts_mim.models.module import GridForecastingModule

if TYPE_CHECKING:
    from darts_mim.models.base import GridForecastingModel

__all__ = ["Plan", "costs_of", "fitted_plan", "plan_for", "without_values"]

T = TypeVar("T")


class Plan(NamedTuple):
    """A model and what it would be trained on.

    Attributes
    ----------
    model
        The model, which stays as it is.
    sample
        A training sample.
    grid
        Grid of the target.
    layouts
        Layouts of the covariates.
    n_samples
        Number of training samples, ``None`` where that is not known.
    """

    model: GridForecastingModel
    sample: TorchTrainingSample
    grid: Grid
    layouts: dict[str, CovariateLayout]
    n_samples: int | None = None

    def module(self, device: str = "meta", **changes: Any) -> GridForecastingModule:
        """Return the module that training would begin with.

        Parameters
        ----------
        device
            Where it is built: on ``"meta"``, which allocates nothing, or on ``"cpu"``.
        **changes
            Options that differ from those of the model.
        """
        model = self.model._twin(self.grid, **changes)
        model._covariate_layouts = self.layouts
        cast(dict[str, Any], model.pl_module_params)["train_sample_shape"] = (
            self.sample.sample_shapes()
        )
        # a seed is drawn, and is of no use
        with torch.random.fork_rng(devices=[]), torch.device(device):
            module = cast(GridForecastingModule, model._create_model(self.sample))
        model._setup_finetuning(module)
        return module


def costs_of(plan: Plan, setting: Setting, **changes: Any) -> StepCosts:
    """Return what a training step costs.

    Parameters
    ----------
    plan, setting
        The model and its data, and under what the step is computed.
    **changes
        Options that differ from those of the model.

    Raises
    ------
    ValueError
        If it cannot be told, because the network, the loss or the optimizer asks for values.
    """
    return without_values(plan, lambda module: step_costs(module, plan.sample, setting), **changes)


def without_values(plan: Plan, measure: Callable[[GridForecastingModule], T], **changes: Any) -> T:
    """Measure a module that has no values, or had them while it was built if it must.

    Parameters
    ----------
    plan
        The model and its data.
    measure
        What is done with the module.
    **changes
        Options that differ from those of the model.

    Returns
    -------
    object
        What `measure` returns.

    Raises
    ------
    ValueError
        If that is not enough.
    """
    try:
        return measure(plan.module(**changes))
    except (RuntimeError, NotImplementedError):
        pass  # networks may compute with values while they are built
    try:
        return measure(plan.module("cpu", **changes))
    except (RuntimeError, NotImplementedError) as error:
        raise ValueError(
            f"what a step of {type(plan.model).__name__} costs cannot be told, because it asks for "
            f"values of tensors that have none: {error}"
        ) from error


def fitted_plan(model: GridForecastingModel) -> Plan:
    """Return the plan of a model that knows what it is trained on.

    Parameters
    ----------
    model
        A model that was fitted, or is about to be.

    Raises
    ------
    ValueError
        If it does not know.
    """
    if model.train_sample is None or model.grid is None:
        raise ValueError(
            "`series` must be given before `fit`: the series that the model will be trained on, "
            "or the grid of it"
        )
    return Plan(model, model.train_sample, model.grid, model._covariate_layouts)


def plan_for(
    model: GridForecastingModel,
    series: TimeSeries | Sequence[TimeSeries] | Grid,
    past_covariates: TimeSeries | Sequence[TimeSeries] | None = None,
    future_covariates: TimeSeries | Sequence[TimeSeries] | None = None,
) -> Plan:
    """Return the plan of a model and of the series that it would be trained on, or of their grid.

    Parameters
    ----------
    model
        The model.
    series
        The series, or a grid for series of that grid without covariates, in single precision.
    past_covariates, future_covariates
        As for ``fit``.

    Raises
    ------
    TypeError
        If `series` is neither a series, nor several, nor a grid.
    ValueError
        If the series cannot be trained on, the grid is not the model's, or there are covariates
        beside a grid.
    """
    if isinstance(series, Grid):
        if past_covariates is not None or future_covariates is not None:
            raise ValueError(
                "`past_covariates` and `future_covariates` need the series they belong to, got a "
                "grid; give `series`"
            )
        if model.grid is not None and model.grid.shape != series.shape:
            raise ValueError(
                f"`series` must be the grid that the model has, {model.grid}, got {series}; leave "
                "it out, or make a model without `grid`"
            )
        return Plan(model, _sample_on(series, model), series, {})
    several = [series] if isinstance(series, TimeSeries) else series
    if not (
        isinstance(several, Sequence)
        and several
        and all(isinstance(each, TimeSeries) for each in several)
    ):
        raise TypeError(
            f"`series` must be a TimeSeries, several, or a Grid, got {series!r:.60}; give for "
            "example Grid(channels=1, height=64, width=64)"
        )
    # Darts notes on a model what it uses: on another one
    _, params = MixedCovariatesTorchModel._setup_for_fit_from_dataset(
        model._twin(None), series, past_covariates, future_covariates
    )
    dataset = params["train_dataset"]
    grid, [layouts] = model._settle([dataset])
    sample = dataset[0]
    n_components = sample.past_target.shape[1]
    grid = grid or Grid(channels=n_components, height=1, width=1)
    return Plan(model, sample, grid, layouts, len(dataset))


def _sample_on(grid: Grid, model: GridForecastingModel) -> TorchTrainingSample:
    """Return a sample of zeros, which take no memory."""
    zero = np.float32(0)
    past, future = (
        np.broadcast_to(zero, (length, grid.n_components))
        for length in (model.input_chunk_length, model.output_chunk_length)
    )
    return TorchTrainingSample(past_target=past, future_target=future)
