"""Grid models that check what they are trained on, and what they read for a forecast."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from itertools import chain
from typing import Any, cast

import numpy as np
import pytorch_lightning as pl
from darts import TimeSeries
from darts.models.forecasting.pl_forecasting_module import PLForecastingModule
from darts.utils.data import TorchInferenceDataset, TorchTrainingDataset
from darts.utils.data.torch_datasets._data_module import TorchDataModule
from darts.utils.data.torch_datasets.utils import TorchTrainingSample

from darts_mim.checks import checked_integer
from darts_mim.grid import Grid
from darts_mim.models.agreement import (
    COVARIATES,
    check_contents,
    check_grid,
    check_layouts,
    grid_of,
    grids_of,
    layouts_of,
    most_telling,
    with_own_grid,
)
from darts_mim.models.checks import (
    check_precision,
    check_sample,
    check_series,
    check_shift,
    check_static,
    check_values,
)
from darts_mim.models.covariates import CovariateLayout, warn_of_spread
from darts_mim.models.data import ResumableDataModule
from darts_mim.models.memory import enough_memory
from darts_mim.models.module import GridForecastingModule
from darts_mim.models.saving import SavedGridModel


class CheckedGridModel(SavedGridModel, ABC):
    """Darts model that refuses series and data sets that it cannot be right about."""

    # --- training -------------------------------------------------------------------------------

    def _setup_for_fit_from_dataset(
        self, series: Any, *args: Any, **kwargs: Any
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        check_series("series", series)
        for name in ("val_series", *COVARIATES):
            if kwargs.get(name) is not None:
                check_series(name, kwargs[name])
        found, params = super()._setup_for_fit_from_dataset(series, *args, **kwargs)
        # here, so that Darts does not remember a training series that is refused
        self._accept_datasets(params["train_dataset"], params["val_dataset"], params["trainer"])
        return found, params

    def _accept_datasets(
        self,
        train_dataset: TorchTrainingDataset,
        val_dataset: TorchTrainingDataset | None,
        trainer: pl.Trainer | None,
    ) -> None:
        """Check training data, and take over their grid if the model has none yet."""
        self._verify_train_dataset_type(train_dataset)
        datasets: list[Any] = (
            [train_dataset] if val_dataset is None else [train_dataset, val_dataset]
        )
        expected, layouts = self._settle(datasets)
        known_layouts = self._covariate_layouts if self.model_created else layouts[0]
        horizon = self.output_chunk_length if self._requires_training else None
        precision = trainer.precision if trainer else self.trainer_params.get("precision")
        for dataset, layout in zip(datasets, layouts, strict=True):
            check_shift(dataset, self.output_chunk_shift)
            if len(dataset):
                check_sample(dataset[0], self.input_chunk_length, horizon)
                sample: Any = self.train_sample or train_dataset[0]
                check_precision(dataset, sample.past_target.dtype, precision)
            check_layouts(layout, known_layouts)
            check_contents(dataset, expected, self.likelihood, is_training=dataset is train_dataset)
        self._fitted_grid, self._covariate_layouts = expected, dict(known_layouts)

    def _settle(
        self, datasets: Sequence[Any]
    ) -> tuple[Grid | None, list[dict[str, CovariateLayout]]]:
        """Return the one grid of data sets, and the layouts of the covariates of each."""
        grids = [grids_of(dataset, self._given_grid) for dataset in datasets]
        is_settled = self.model_created or self._given_grid
        expected = self.grid if is_settled else most_telling(grids[0])
        if self._given_grid is None:
            for grid in chain(*grids):
                check_grid(grid, expected, type(self).__name__)
        return expected, [layouts_of(dataset, expected) for dataset in datasets]

    def _setup_for_train(  # type: ignore[override]  # what it does not read is in `kwargs`
        self,
        train_dataset: TorchTrainingDataset,
        val_dataset: TorchTrainingDataset | None = None,
        trainer: pl.Trainer | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        self._accept_datasets(train_dataset, val_dataset, trainer)
        is_new = not self.model_created
        params: dict[str, Any] = super()._setup_for_train(
            train_dataset, val_dataset, trainer, **kwargs
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

    # --- prediction -----------------------------------------------------------------------------

    def _build_inference_dataset(
        self, n: int, series: Sequence[TimeSeries], *args: Any, **kwargs: Any
    ) -> TorchInferenceDataset:
        grid, is_given = self.grid, self._given_grid is not None
        if grid is not None and (is_given or grid.shape[1:] != (1, 1)):
            series = [with_own_grid(each, grid, is_given=is_given) for each in series]
        return super()._build_inference_dataset(n, series, *args, **kwargs)

    def _setup_for_predict(
        self, n: int, dataset: TorchInferenceDataset, *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        checked_integer("n", n)
        if kwargs.get("batch_size") is not None:
            checked_integer("batch_size", kwargs["batch_size"])
        self._verify_inference_dataset_type(dataset)
        check_sample(dataset[0], self.input_chunk_length)
        self._check_history(n, dataset)
        params: dict[str, Any] = super()._setup_for_predict(n, dataset, *args, **kwargs)
        trainer, sample = params["trainer"], cast(TorchTrainingSample, self.train_sample)
        check_precision(dataset, cast(np.ndarray, sample.past_target).dtype, trainer.precision)
        if trainer.world_size > 1:
            raise ValueError(
                f"`predict` works in one process, got a trainer of {trainer.world_size} devices, "
                "each of which would forecast a part; give one of a single device, as in "
                "`predict(..., trainer=pl.Trainer(devices=1))`"
            )
        return params

    def _check_history(self, n: int, dataset: Any) -> None:
        """Check what forecasts read of the series and covariates that a data set is made from."""
        check_layouts(layouts_of(dataset, self.grid), self._covariate_layouts)
        all_series, bounds = getattr(dataset, "series", ()), getattr(dataset, "bounds", None)
        if dataset[0].static_covariates is not None:
            check_static(all_series, cast(GridForecastingModule, self.model).input_layout.static)
        ahead = {
            "past_covariates": max(n - self.output_chunk_length, 0),
            "future_covariates": self.output_chunk_shift + n,
        }
        for index, series in enumerate(all_series):
            own = grid_of(series, self._given_grid)
            if self._given_grid is None:
                check_grid(own, self.grid, type(self).__name__)
            # the last input chunk, or what Darts' historical forecasts span
            first, last = (len(series),) * 2 if bounds is None else map(int, bounds[index])
            start = max(first - self.input_chunk_length, 0)
            check_values(series, start=start, end=last, may_miss=True, grid=self.grid)
            for name in COVARIATES:
                if covariates := getattr(dataset, name, None):
                    # outside of them, Darts has refused the forecast or will
                    [begin] = covariates[index].time_index.get_indexer(series.time_index[[start]])
                    end = begin + last - start + ahead[name]
                    check_values(covariates[index], name=name, start=int(begin), end=int(end))
