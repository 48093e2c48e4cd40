"""A model and what it would be trained on: the modules that would come of it, without weights."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import torch
from darts import TimeSeries
from darts.models.forecasting.torch_forecasting_model import MixedCovariatesTorchModel
from darts.utils.data.torch_datasets.utils import TorchTrainingSample

from darts_mim.grid import Grid
from darts_mim.models.covariates import CovariateLayout
from darts_mim.models.module import GridForecastingModule

if TYPE_CHECKING:
    from darts_mim.models.base import GridForecastingModel

__all__ = ["Plan", "fitted_plan", "plan_for"]

# what would leave files, or may not be copied, and changes nothing of a module
_SKIPPED = frozenset(
    {
        "force_reset",
        "log_tensorboard",
        "model_name",
        "pl_trainer_kwargs",
        "save_checkpoints",
        "torch_metrics",
        "work_dir",
    }
)


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
    """

    model: GridForecastingModel
    sample: TorchTrainingSample
    grid: Grid
    layouts: dict[str, CovariateLayout]

    def module(self, **changes: Any) -> GridForecastingModule:
        """Return the module that training would begin with, on the device ``"meta"``.

        Parameters
        ----------
        **changes
            Options that differ from those of the model.
        """
        model = _fresh(self.model, **changes, grid=self.grid)
        model._covariate_layouts = self.layouts
        cast(dict[str, Any], model.pl_module_params)["train_sample_shape"] = (
            self.sample.sample_shapes()
        )
        # a seed is drawn, and is of no use
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            module = cast(GridForecastingModule, model._create_model(self.sample))
        model._setup_finetuning(module)
        return module


def _fresh(model: GridForecastingModel, **changes: Any) -> GridForecastingModel:
    """Return an untrained model of the same options but some, which leaves no files."""
    options = {k: deepcopy(v) for k, v in model.model_params.items() if k not in _SKIPPED}
    return type(model)(**{**options, **changes})


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
    ValueError
        If the series cannot be trained on, or there are covariates beside a grid.
    """
    if isinstance(series, Grid):
        if past_covariates is not None or future_covariates is not None:
            raise ValueError(
                "`past_covariates` and `future_covariates` need the series they belong to, got a "
                "grid; give `series`"
            )
        return Plan(model, _sample_on(series, model), series, {})
    # Darts notes on a model what it uses: on another one
    _, params = MixedCovariatesTorchModel._setup_for_fit_from_dataset(
        _fresh(model), series, past_covariates, future_covariates
    )
    dataset = params["train_dataset"]
    grid, [layouts] = model._settle([dataset])
    sample = dataset[0]
    n_components = sample.past_target.shape[1]
    grid = grid or Grid(channels=n_components, height=1, width=1)
    return Plan(model, sample, grid, layouts)


def _sample_on(grid: Grid, model: GridForecastingModel) -> TorchTrainingSample:
    """Return a sample of zeros, which take no memory."""
    zero = np.float32(0)
    past, future = (
        np.broadcast_to(zero, (length, grid.n_components))
        for length in (model.input_chunk_length, model.output_chunk_length)
    )
    return TorchTrainingSample(past_target=past, future_target=future)
