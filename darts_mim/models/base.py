"""What all grid models share: the grid of their series, validation, Darts' plumbing."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytorch_lightning as pl
import torch
from darts import TimeSeries
from darts.logging import get_logger
from darts.models.forecasting.pl_forecasting_module import PLForecastingModule
from darts.utils.data import TorchInferenceDataset, TorchTrainingDataset
from darts.utils.data.torch_datasets._data_module import TorchDataModule
from darts.utils.data.torch_datasets.utils import TorchInferenceSample, TorchTrainingSample

from darts_mim.checks import checked_integer
from darts_mim.grid import METADATA_KEY, Grid
from darts_mim.models.checks import (
    check_options,
    check_sample,
    check_shift,
    check_static,
    check_values,
    refuse_unobserved,
)
from darts_mim.models.covariates import (
    CovariateLayout,
    lay_out,
    lay_out_inputs,
    warn_of_spread,
)
from darts_mim.models.data import ResumableDataModule
from darts_mim.models.likelihoods import check_normalisation, check_priors, check_support
from darts_mim.models.memory import enough_memory
from darts_mim.models.module import GridForecastingModule
from darts_mim.models.saving import SavedGridModel

if TYPE_CHECKING:
    from darts_mim.models.summary import ModelSummary

logger = get_logger(__name__)

_COVARIATES = ("past_covariates", "future_covariates")


class GridForecastingModel(SavedGridModel, ABC):
    """Darts model of series whose components are the cells of a grid.

    A subclass stores its network's options and implements ``_create_model`` with
    ``_module_params``.

    Parameters
    ----------
    grid
        Grid of the target, ``None`` to read it from the series that the model is fitted on.
    use_static_covariates
        Whether to read the static covariates of the target, where it has any.
    """

    def __init__(self, grid: Grid | None, use_static_covariates: bool) -> None:
        check_options(**self.model_params)
        super().__init__(**self._extract_torch_model_params(**self.model_params))
        self.pl_module_params = self._extract_pl_module_params(**self.model_params)
        self._considers_static_covariates = use_static_covariates
        self._given_grid = grid
        self._fitted_grid: Grid | None = None
        self._covariate_layouts: dict[str, CovariateLayout] = {}

    @property
    def supports_static_covariates(self) -> bool:
        """Whether the model takes static covariates, of each component or shared."""
        return True

    def summary(
        self,
        series: TimeSeries | Sequence[TimeSeries] | Grid | None = None,
        past_covariates: TimeSeries | Sequence[TimeSeries] | None = None,
        future_covariates: TimeSeries | Sequence[TimeSeries] | None = None,
        *,
        batch_size: int | None = None,
    ) -> ModelSummary:
        """Summarise the model and what training will need, before it is trained.

        Small training steps are run and scaled up. Nothing large is allocated, the random state
        and the model stay as they are.

        Parameters
        ----------
        series
            Series to train on, as for ``fit``, or their grid if there are no covariates. Not needed
            after ``fit``.
        past_covariates, future_covariates
            As for ``fit``.
        batch_size
            Number of sequences in a step, by default the model's, or all if `series` give fewer.

        Returns
        -------
        ModelSummary
            Grid, patches, parameters, operations, memory and time; it prints as a table. If a step
            needs more memory than there is, it names the options that would help most.

        Raises
        ------
        TypeError
            If `series` is no series, or `batch_size` no integer.
        ValueError
            If the model cannot be trained on the series.

        Examples
        --------
        >>> from darts_mim import Grid, MIMModel
        >>> model = MIMModel(2, 2, hidden_channels=(8, 8), kernel_size=3, patch_size=4)
        >>> summary = model.summary(Grid(channels=1, height=64, width=64))
        >>> summary.folded_shape, summary.parameters
        ((16, 16), 32224)
        """
        from darts_mim.models.summary import summarise  # few need it

        return summarise(self, series, past_covariates, future_covariates, batch_size)

    # --- training -------------------------------------------------------------------------------

    def _setup_for_fit_from_dataset(
        self, *args: Any, **kwargs: Any
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        series, params = super()._setup_for_fit_from_dataset(*args, **kwargs)
        # here, so that Darts does not remember a training series that is refused
        self._accept_datasets(params["train_dataset"], params["val_dataset"])
        return series, params

    def _setup_for_train(
        self,
        train_dataset: TorchTrainingDataset,
        val_dataset: TorchTrainingDataset | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> dict[str, Any]:
        self._verify_train_dataset_type(train_dataset)
        self._accept_datasets(train_dataset, val_dataset)
        is_new = not self.model_created
        params: dict[str, Any] = super()._setup_for_train(
            train_dataset, val_dataset, *args, **kwargs
        )
        module = params["model"]
        if is_new:
            warn_of_spread(module.input_layout, module.grid)
        params["datamodule"] = ResumableDataModule(params["datamodule"], key=module.random_key)
        return params

    def _train(
        self,
        trainer: pl.Trainer,
        model: PLForecastingModule,
        datamodule: TorchDataModule,
        load_best: bool = False,
    ) -> None:
        # counted here: `lr_find` and `scale_batch_size` set training up, but do not train
        module = cast(GridForecastingModule, model)
        data = cast(ResumableDataModule, datamodule)
        try:
            with enough_memory(self, module, trainer, data):
                if self.load_ckpt_path is None:
                    module.n_fits += 1
                    data.key = module.random_key
                super()._train(trainer, model, datamodule, load_best)
        except MemoryError:
            self._fit_called = self.model_created  # Darts has taken it for fitted already
            raise

    def _accept_datasets(
        self, train_dataset: TorchTrainingDataset, val_dataset: TorchTrainingDataset | None
    ) -> None:
        """Check training data, and take over their grid if the model has none yet."""
        datasets = [train_dataset] if val_dataset is None else [train_dataset, val_dataset]
        expected, layouts = self._settle(datasets)
        known_layouts = self._covariate_layouts if self.model_created else layouts[0]
        horizon = self.output_chunk_length if self._requires_training else None
        for dataset, layout in zip(datasets, layouts, strict=True):
            check_shift(dataset, self.output_chunk_shift)
            if len(dataset):
                check_sample(dataset[0], self.input_chunk_length, horizon)
            _check_layouts(layout, known_layouts)
            self._check_target(dataset, expected, must_be_observed=dataset is train_dataset)
        self._fitted_grid, self._covariate_layouts = expected, known_layouts

    def _settle(
        self, datasets: Sequence[Any]
    ) -> tuple[Grid | None, list[dict[str, CovariateLayout]]]:
        """Return the one grid of data sets, and the layouts of the covariates of each."""
        grids = [self._grids_of(dataset) for dataset in datasets]
        is_settled = self.model_created or self._given_grid
        expected = self.grid if is_settled else _most_telling(grids[0])
        for grid in chain(*grids):
            self._check_grid(grid, expected)
        return expected, [self._layouts_of(dataset, expected) for dataset in datasets]

    def _check_target(
        self, dataset: TorchTrainingDataset, grid: Grid | None, must_be_observed: bool
    ) -> None:
        """Check the values of a data set's series and covariates, as far as it has any."""
        all_series: Sequence[TimeSeries] = getattr(dataset, "series", None) or ()
        if len(dataset) and dataset[0].static_covariates is not None:
            check_static(all_series)
        for name in _COVARIATES:
            all_covariates = getattr(dataset, name, None) or ()
            for series, covariates in zip(all_series, all_covariates, strict=False):
                times = covariates.time_index
                start, end = times.searchsorted([series.start_time(), series.end_time()])
                check_values(covariates, name=name, start=int(start), end=int(end) + 1)
        for weight in getattr(dataset, "sample_weight", None) or ():
            check_values(weight, name="sample_weight", grid=grid)
        known = [check_values(series, may_miss=True, grid=grid) for series in all_series]
        if not known:
            return
        grid = grid or Grid(channels=len(known[0]), height=1, width=1)
        if grid.n_components != len(known[0]):
            return  # the network's set-up says so
        if must_be_observed:
            refuse_unobserved(np.any(known, axis=0), grid)
        if self.likelihood is not None:
            for series in all_series:
                check_support(series, self.likelihood, grid)

    def _layouts_of(self, dataset: Any, grid: Grid | None) -> dict[str, CovariateLayout]:
        """Return the layouts of a data set's covariates, as far as it is made from series."""
        found = {name: getattr(dataset, name, None) for name in _COVARIATES}
        return {
            name: lay_out(name, covariates, grid)
            for name, covariates in found.items()
            if covariates
        }

    def _grids_of(self, dataset: Any) -> list[Grid | None]:
        """Return the grid that a data set brings, or those of the series it is made from."""
        if isinstance(grid := getattr(dataset, METADATA_KEY, None), Grid):
            return [grid]
        return [self._grid_of(series) for series in getattr(dataset, "series", ())] or [None]

    def _grid_of(self, series: TimeSeries) -> Grid | None:
        """Return the grid of a series: what it says itself, unless a grid was given."""
        given = self._given_grid
        if given is None or given.n_components != series.n_components:
            # where the sizes differ Darts, or the network's set-up, says so
            return Grid.from_series(series) if given is None else given
        return Grid.from_series(_with_grid(series, given))

    def _check_grid(self, grid: Grid | None, expected: Grid | None) -> None:
        """Refuse a grid that is not the model's; a series without one may pass."""
        if grid is None or expected is None or self._given_grid is not None:
            return
        is_other = grid.shape != expected.shape or grid.channel_names != expected.channel_names
        # a series that tells of no mask may lie on a grid with one
        if is_other or (grid.mask is not None and not _same_mask(grid, expected)):
            raise ValueError(
                f"`series` has the grid {grid}, but the model's grid is {expected}. Give series "
                "of one grid, or override what the series say with "
                f"`{type(self).__name__}(grid=...)`."
            )

    def _module_params(self, train_sample: TorchTrainingSample) -> dict[str, Any]:
        """Return the arguments of a ``GridForecastingModule`` for a first sample."""
        n_components = cast(np.ndarray, train_sample.past_target).shape[1]
        grid = self.grid
        if grid is None:
            logger.info(
                "The series has no grid: its %d components become the channels of a 1x1 grid. "
                "Build it with `frames_to_series` to give it one.",
                n_components,
            )
            grid = self._fitted_grid = Grid(channels=n_components, height=1, width=1)
        if grid.n_components != n_components:
            raise ValueError(
                f"`grid` is a {grid}: {grid.n_components} components, but the target has "
                f"{n_components}; give the grid that the series was made from"
            )
        params = cast(dict[str, Any], self.pl_module_params)
        check_priors(self.likelihood, grid)
        check_normalisation(self.likelihood, params.get("use_reversible_instance_norm", False))
        return {
            "grid": grid,
            "input_layout": lay_out_inputs(train_sample, self._covariate_layouts, grid),
            "seed": int(torch.randint(2**31, (), device="cpu")),
            **params,
        }

    # --- prediction -----------------------------------------------------------------------------

    def _build_inference_dataset(
        self, n: int, series: Sequence[TimeSeries], *args: Any, **kwargs: Any
    ) -> TorchInferenceDataset:
        grid = self.grid
        if grid is not None and (self._given_grid or grid.shape[1:] != (1, 1)):
            # a forecast inherits its history's metadata: let it carry the model's grid
            series = [self._with_own_grid(each, grid) for each in series]
        return super()._build_inference_dataset(n, series, *args, **kwargs)

    def _with_own_grid(self, series: TimeSeries, grid: Grid) -> TimeSeries:
        if grid.n_components != series.n_components:
            return series
        own = None if self._given_grid else Grid.from_series(series)
        if own is not None and (own.mask is not None or grid.mask is None):
            return series
        return _with_grid(series, grid)

    def _setup_for_predict(
        self, n: int, dataset: TorchInferenceDataset, *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        checked_integer("n", n)
        self._verify_inference_dataset_type(dataset)
        check_sample(dataset[0], self.input_chunk_length)
        self._check_history(n, dataset)
        params: dict[str, Any] = super()._setup_for_predict(n, dataset, *args, **kwargs)
        n_devices = params["trainer"].world_size
        _check_precision(
            dataset[0], cast(TorchTrainingSample, self.train_sample), params["trainer"]
        )
        if n_devices > 1:
            raise ValueError(
                f"`predict` works in one process, got a trainer of {n_devices} devices, each of "
                "which would forecast a part; give one of a single device, as in "
                "`predict(..., trainer=pl.Trainer(devices=1))`"
            )
        return params

    def _check_history(self, n: int, dataset: Any) -> None:
        """Check what forecasts read of the series and covariates that a data set is made from."""
        _check_layouts(self._layouts_of(dataset, self.grid), self._covariate_layouts)
        all_series, bounds = getattr(dataset, "series", ()), getattr(dataset, "bounds", None)
        if dataset[0].static_covariates is not None:
            check_static(all_series, cast(GridForecastingModule, self.model).input_layout.static)
        ahead = {
            "past_covariates": max(n - self.output_chunk_length, 0),
            "future_covariates": self.output_chunk_shift + n,
        }
        for index, series in enumerate(all_series):
            self._check_grid(self._grid_of(series), self.grid)
            # the last input chunk, or what Darts' historical forecasts span
            first, last = (len(series),) * 2 if bounds is None else map(int, bounds[index])
            start = max(first - self.input_chunk_length, 0)
            check_values(series, start=start, end=last, may_miss=True, grid=self.grid)
            for name in _COVARIATES:
                if covariates := getattr(dataset, name, None):
                    # outside of them, Darts has refused the forecast or will
                    [begin] = covariates[index].time_index.get_indexer(series.time_index[[start]])
                    end = begin + last - start + ahead[name]
                    check_values(covariates[index], name=name, start=int(begin), end=int(end))


def _most_telling(grids: Sequence[Grid | None]) -> Grid | None:
    """Return the first grid with a mask, else the first one that there is."""
    found = [grid for grid in grids if grid is not None]
    return next((grid for grid in found if grid.mask is not None), found[0] if found else None)


def _check_layouts(got: dict[str, CovariateLayout], expected: dict[str, CovariateLayout]) -> None:
    """Refuse covariates that lie on the grid in other channels than those fitted on.

    Where the model was fitted on a data set that does not say, all components are scalars.
    """
    for name, layout in got.items():
        fitted = expected.get(name, CovariateLayout(0))
        # Darts compares the numbers of components
        if layout[1:] != fitted[1:]:
            raise ValueError(
                f"`{name}` have {layout}, but the model was fitted on {fitted}; give covariates "
                "like those it was fitted on"
            )


def _check_precision(
    sample: TorchInferenceSample, fitted: TorchTrainingSample, trainer: pl.Trainer
) -> None:
    """Refuse a double precision series where the model is of single precision."""
    got, expected = (cast(np.ndarray, each.past_target).dtype for each in (sample, fitted))
    if got == np.float64 and expected != got and trainer.precision != "64-true":
        raise ValueError(
            f"`series` holds float64 values, but the model was trained on {expected}; give "
            f"`series.astype(np.{expected})`"
        )


def _same_mask(grid: Grid, other: Grid) -> bool:
    return other.mask is not None and np.array_equal(grid.mask, other.mask)  # type: ignore[arg-type]


def _with_grid(series: TimeSeries, grid: Grid) -> TimeSeries:
    """Return a series that says it has a grid; unlike ``with_metadata``, no values are copied."""
    return TimeSeries(
        times=series.time_index,
        values=series.all_values(copy=False),
        components=series.components.to_list(),
        static_covariates=series.static_covariates,
        hierarchy=series.hierarchy,
        metadata={**(series.metadata or {}), METADATA_KEY: grid.to_metadata()},
        copy=False,
    )
