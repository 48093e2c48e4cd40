"""What all grid models share: the grid of their series, validation, Darts' plumbing."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
import torch
from darts import TimeSeries
from darts.logging import get_logger
from darts.models.forecasting.torch_forecasting_model import TorchForecastingModel
from darts.utils.data import TorchInferenceDataset, TorchTrainingDataset
from darts.utils.data.torch_datasets.utils import TorchTrainingSample

from darts_mim.grid import METADATA_KEY, Grid
from darts_mim.models.checks import check_finite, check_options, check_sample
from darts_mim.models.data import ResumableDataModule
from darts_mim.nn.checks import checked_integer

logger = get_logger(__name__)


class GridForecastingModel(TorchForecastingModel, ABC):
    """Darts model of series whose components are the cells of a grid.

    A subclass stores its network's options and implements ``_create_model`` with
    ``_module_params``.

    Parameters
    ----------
    grid
        Grid of the target, ``None`` to read it from the series that the model is fitted on.
    """

    def __init__(self, grid: Grid | None) -> None:
        check_options(**self.model_params)
        super().__init__(**self._extract_torch_model_params(**self.model_params))
        self.pl_module_params = self._extract_pl_module_params(**self.model_params)
        self._given_grid = grid
        self._fitted_grid: Grid | None = None

    @property
    def grid(self) -> Grid | None:
        """Grid of the target: the one given, else the fitted series' one, ``None`` before."""
        return self._given_grid or self._fitted_grid

    # --- covariates: none yet; Darts refuses them with its own errors -------------------------

    @property
    def supports_past_covariates(self) -> bool:
        """Whether the model takes past covariates."""
        return False

    @property
    def supports_future_covariates(self) -> bool:
        """Whether the model takes future covariates."""
        return False

    @property
    def extreme_lags(
        self,
    ) -> tuple[int | None, int | None, int | None, int | None, int | None, int | None, int]:
        """Darts' lags: first and last of target, past and future covariates, then the shift."""
        last = self.output_chunk_length - 1 + self.output_chunk_shift
        return -self.input_chunk_length, last, None, None, None, None, self.output_chunk_shift

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
        params: dict[str, Any] = super()._setup_for_train(
            train_dataset, val_dataset, *args, **kwargs
        )
        module = params["model"]
        if self.load_ckpt_path is None:
            module.n_fits += 1
        params["datamodule"] = ResumableDataModule(params["datamodule"], key=module.random_key)
        return params

    def _accept_datasets(
        self, train_dataset: TorchTrainingDataset, val_dataset: TorchTrainingDataset | None
    ) -> None:
        """Check training data, and take over their grid if the model has none yet."""
        datasets = [train_dataset] if val_dataset is None else [train_dataset, val_dataset]
        grids = [grid for dataset in datasets for grid in self._grids_of(dataset)]
        expected = self.grid if self.model_created or self._given_grid else grids[0]
        for grid in grids:
            self._check_grid(grid, expected)
        for dataset in datasets:
            horizon = self.output_chunk_length if self._requires_training else None
            if len(dataset):
                check_sample(dataset[0], self.input_chunk_length, horizon)
            for series in getattr(dataset, "series", ()):
                check_finite(series)
        self._fitted_grid = expected

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
        if grid.shape != expected.shape or grid.channel_names != expected.channel_names:
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
        return {
            "grid_shape": grid.shape,
            "seed": int(torch.randint(2**31, (), device="cpu")),
            **cast(dict[str, Any], self.pl_module_params),
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
        has_grid = self._given_grid is None and METADATA_KEY in (series.metadata or {})
        if has_grid or grid.n_components != series.n_components:
            return series
        return _with_grid(series, grid)

    def _setup_for_predict(
        self, n: int, dataset: TorchInferenceDataset, *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        checked_integer("n", n)
        self._verify_inference_dataset_type(dataset)
        check_sample(dataset[0], self.input_chunk_length)
        bounds = getattr(dataset, "bounds", None)
        for index, series in enumerate(getattr(dataset, "series", ())):
            self._check_grid(self._grid_of(series), self.grid)
            # what forecasts read: the last input chunk, or what Darts' historical forecasts span
            first, last = (len(series),) * 2 if bounds is None else bounds[index]
            check_finite(series, start=int(first) - self.input_chunk_length, end=int(last))
        params: dict[str, Any] = super()._setup_for_predict(n, dataset, *args, **kwargs)
        return params

    # --- saving and loading ---------------------------------------------------------------------

    def save(  # type: ignore[override]  # like Darts' own torch models: files alone, no options
        self, path: str | PathLike[str] | None = None, clean: bool = False
    ) -> None:
        """Save the model as Darts does, but so that each file appears whole or not at all.

        Parameters
        ----------
        path
            Path of the model; its weights lie beside it in ``path + ".ckpt"``. By default the
            name of the class and the time, in the current folder.
        clean
            Whether to leave out the training series and Lightning's options.
        """
        target = Path(path or f"{self._default_save_path()}.pt")
        with TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as folder:
            super().save(str(Path(folder) / target.name), clean)
            # the weights first: a model without them would load, and know nothing
            for draft in sorted(Path(folder).iterdir(), reverse=True):
                draft.replace(target.with_name(draft.name))

    @property
    def _ckpt_skipped_params(self) -> list[str]:
        """Options that may differ between a model and the weights it loads."""
        return [*super()._ckpt_skipped_params, "grid", "scheduled_sampling"]

    def _check_ckpt_parameters(self, tfm_save: GridForecastingModel) -> None:
        """Check the options of a model whose weights are loaded, and settle the grid.

        The network's weights fit any height and width: with ``grid=`` they move to another one.
        """
        super()._check_ckpt_parameters(tfm_save)
        saved, given = cast(Grid, tfm_save.grid), self._given_grid
        if given is None:
            self._fitted_grid = saved
            return
        if given.channels != saved.channels:
            raise ValueError(
                f"`grid` has {given.channels} channels, but the weights are for "
                f"{saved.channels}; give a grid of as many channels"
            )
        sample = cast(TorchTrainingSample, self.train_sample)
        self.train_sample = sample.replace(
            **{
                name: np.zeros((len(array), given.n_components), dtype=array.dtype)
                for name, array in sample.feature_arrays().items()
                if array is not None
            }
        )

    def __getstate__(self) -> dict[str, Any]:
        """Return the state to pickle, in which no array is mapped from a file.

        Darts refuses to load memory maps. Of a memory-mapped training series, which may be
        larger than memory, just the frames are kept that ``predict(n)`` reads.
        """
        state: dict[str, Any] = super().__getstate__()
        series = state["training_series"]
        if series is not None and isinstance(series.all_values(copy=False), np.memmap):
            tail = series[-self.input_chunk_length :]
            state["training_series"] = tail.with_values(np.array(tail.all_values(copy=False)))
        sample = state["train_sample"]
        if sample is not None:
            arrays = sample.feature_arrays().items()
            mapped = {name: np.array(a) for name, a in arrays if isinstance(a, np.memmap)}
            state["train_sample"] = sample.replace(**mapped)
        return state


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
