"""How grid models are saved and loaded, and move to grids and chunks of other sizes."""

from __future__ import annotations

from abc import ABC
from os import PathLike
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
import pytorch_lightning as pl
from darts import TimeSeries
from darts.models.forecasting.pl_forecasting_module import PLForecastingModule
from darts.models.forecasting.torch_forecasting_model import (
    DEFAULT_DARTS_FOLDER,
    INIT_MODEL_NAME,
    MixedCovariatesTorchModel,
    _get_checkpoint_fname,
)
from darts.utils.data.torch_datasets.utils import TorchTrainingSample
from darts.utils.serialization import safe_globals
from darts.utils.torch import random_method
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.utilities import rank_zero_only
from torch.utils._pytree import tree_leaves

from darts_mim.grid import Grid
from darts_mim.models.checkpoints import (
    AtomicCheckpointIO,
    check_pair,
    draft_of,
    seal,
    verify,
    weights_of,
)
from darts_mim.models.covariates import CovariateLayout, lay_out_inputs, sample_sizes
from darts_mim.models.locking import one_at_a_time

if TYPE_CHECKING:
    from darts_mim.models.module import GridForecastingModule

# options of networks that the shapes of the weights do not depend on
_FREE_OPTIONS = ("fast_path", "forget_bias", "recompute")


class SavedGridModel(MixedCovariatesTorchModel, ABC):
    """Darts model whose files are whole, and whose weights may fit grids of any size."""

    fits_any_grid: ClassVar[bool] = True
    """Whether the network's weights fit grids of any height and width."""

    fits_any_length: ClassVar[bool] = True
    """Whether the network's weights fit input and output chunks of any length."""

    network_options: dict[str, Any]
    _given_grid: Grid | None
    _fitted_grid: Grid | None
    _covariate_layouts: dict[str, CovariateLayout]

    @property
    def grid(self) -> Grid | None:
        """Grid of the target: the one given, else the fitted series' one, ``None`` before."""
        return self._given_grid or self._fitted_grid

    @one_at_a_time
    def save(  # type: ignore[override]  # like Darts' own torch models: files alone, no options
        self, path: str | PathLike[str] | None = None, clean: bool = False
    ) -> None:
        """Save the model as Darts does, but so that a save that is killed leaves an earlier one.

        Both files carry checksums, which ``load`` verifies.

        Parameters
        ----------
        path
            Path of the model; its weights lie beside it in ``path + ".ckpt"``. By default the
            name of the class and the time, in the current folder.
        clean
            Whether to leave out the training series and Lightning's options.
        """
        target = Path(path or f"{self._default_save_path()}.pt")
        draft = draft_of(target)
        if self.model_created and (self.trainer or not self.load_ckpt_path):
            # Darts saves weights through a trainer: a model just loaded has none, and a forecast
            # that was refused leaves one without a module
            self.trainer = self.trainer or self._init_trainer(
                {"accelerator": "cpu", "logger": False}
            )
            if self.trainer.model is None:
                self.trainer.strategy.connect(cast(PLForecastingModule, self.model))
        if getattr(rank_zero_only, "rank", 0) > 0:
            if self.trainer is not None:  # all processes take part, and the first one writes
                self.trainer.save_checkpoint(weights_of(draft), weights_only=clean)
            return
        try:
            super().save(str(draft), clean)
            has_weights = weights_of(draft).exists()
            seal(draft, *([seal(weights_of(draft))] if has_weights else []))
            # the weights first: `check_pair` goes on from there
            if has_weights:
                weights_of(draft).replace(weights_of(target))
            else:
                weights_of(target).unlink(missing_ok=True)
            draft.replace(target)
        finally:
            for each in (draft, weights_of(draft)):
                each.unlink(missing_ok=True)

    @staticmethod
    def load(  # type: ignore[override]  # as Darts' own torch models
        path: str | PathLike[str], *args: Any, **kwargs: Any
    ) -> Any:
        """Load a model as Darts does, from files that are whole and belong together.

        Parameters
        ----------
        path
            Path that the model was saved to.
        *args, **kwargs
            As for Darts' torch models.

        Raises
        ------
        ValueError
            If a file is damaged, or the weights are not those of the model.
        """
        check_pair(Path(path))
        verify(Path(path))
        return MixedCovariatesTorchModel.load(str(path), *args, **kwargs)

    @staticmethod
    def load_from_checkpoint(
        model_name: str, work_dir: str | None = None, *args: Any, **kwargs: Any
    ) -> Any:
        """Load a model from the folder of its run as Darts does, from files that are whole."""
        verify(Path(work_dir or DEFAULT_DARTS_FOLDER) / model_name / INIT_MODEL_NAME)
        return MixedCovariatesTorchModel.load_from_checkpoint(model_name, work_dir, *args, **kwargs)

    def _load_from_checkpoint(
        self, file_path: str | PathLike[str], trusted: bool = False, **kwargs: Any
    ) -> PLForecastingModule:
        # `load_best` trusts any file that a checkpoint in the run's folder names: no file is, but
        # classes in the options of this model may be in it
        verify(Path(file_path))
        with safe_globals(self._classes_in_use()):
            module: PLForecastingModule = super()._load_from_checkpoint(file_path, **kwargs)
        return module

    def _classes_in_use(self) -> list[Any]:
        leaves = (
            each if isinstance(each, type | FunctionType) else type(each)
            for each in tree_leaves(self.model_params)
        )
        return [each for each in leaves if each.__module__ != "builtins"]

    @one_at_a_time
    @random_method
    def load_weights_from_checkpoint(
        self,
        model_name: str | None = None,
        work_dir: str | None = None,
        file_name: str | None = None,
        best: bool = True,
        **kwargs: Any,
    ) -> None:
        """Load weights as Darts does; training after it follows ``random_state``."""
        folder = Path(work_dir or DEFAULT_DARTS_FOLDER) / (model_name or self.model_name)
        file_name = file_name or _get_checkpoint_fname(folder.parent, folder.name, best=best)
        if file_name.startswith(("last-", "best-")):
            files = [folder / INIT_MODEL_NAME, folder / "checkpoints" / file_name]
        else:
            files = [Path(file_name).with_suffix(""), Path(file_name)]
            check_pair(files[0])
        for file in files:
            verify(file)
        super().load_weights_from_checkpoint(model_name, work_dir, file_name, best, **kwargs)

    def _weight_options(self, grid: Grid) -> dict[str, Any]:
        """Return the options that a model on a grid must share with the weights it loads."""
        module_options = cast(dict[str, Any], self.pl_module_params)
        norm = module_options.get("use_reversible_instance_norm")
        options = {k: v for k, v in self.network_options.items() if k not in _FREE_OPTIONS}
        options["likelihood"] = module_options.get("likelihood")
        options["use_reversible_instance_norm"] = norm
        options["use_static_covariates"] = self.considers_static_covariates
        if not self.fits_any_length:
            options["input_chunk_length"] = self.input_chunk_length
            options["output_chunk_length"] = self.output_chunk_length
        options["grid.channels"], options["grid.has_mask"] = grid.channels, grid.mask is not None
        # an affine norm has a gain and a bias for each component
        if not self.fits_any_grid or (norm and norm != {"affine": False}):
            options["grid.height"], options["grid.width"] = grid.shape[1:]
        return options

    def _check_ckpt_parameters(self, tfm_save: SavedGridModel) -> None:
        """Check the options of a model whose weights are loaded, and settle grid and encoders."""
        saved = cast(Grid, tfm_save.grid)
        grid = self._given_grid or saved
        got, expected = self._weight_options(grid), tfm_save._weight_options(saved)
        wrong = [
            f"found {name}={got.get(name)!r}, should be {name}={expected.get(name)!r}"
            for name in {**expected, **got}
            if got.get(name) != expected.get(name)
        ]
        if wrong:
            raise ValueError(
                f"the weights do not fit this {type(self).__name__}: {'; '.join(wrong)}. Make it "
                "with the options of the model that the weights are from"
            )
        self._covariate_layouts, self._fitted_grid = tfm_save._covariate_layouts, grid
        sample = cast(TorchTrainingSample, self.train_sample)
        layout = lay_out_inputs(sample, self._covariate_layouts, saved)
        sizes = sample_sizes(layout, grid, self.input_chunk_length, self.output_chunk_length)
        self.train_sample = sample.replace(
            **{name: np.zeros(size, getattr(sample, name).dtype) for name, size in sizes.items()}
        )
        if self._model_encoder_settings != tfm_save._model_encoder_settings:
            self.encoders = self.initialize_encoders()  # they are for chunks of a length

    @one_at_a_time
    def to_onnx(
        self, path: str | PathLike[str] | None = None, *, horizon: int | None = None, **kwargs: Any
    ) -> None:
        """Export the model to an ONNX file, for forecasts without PyTorch.

        ``darts.utils.onnx.run_onnx_prediction`` makes of the file what ``predict`` forecasts, for
        any ``n``. With a likelihood, reversible instance normalisation, past covariates or
        ``output_chunk_shift``, the file holds forecasts of up to ``horizon`` frames: beyond, Darts
        refuses with a likelihood, and all is NaN without. A likelihood's parameters are those of
        ``predict(..., predict_likelihood_parameters=True)``.

        Parameters
        ----------
        path
            Path of the file. By default the name of the class and the time, in the current folder.
        horizon
            Number of frames of a forecast, where one call of the graph is to make all of it. By
            default the graph makes a frame a call, if it can, else ``output_chunk_length`` frames.
            With past covariates or ``output_chunk_shift`` at most as many.
        **kwargs
            Passed on to ``torch.onnx.export``.

        Raises
        ------
        ImportError
            If a package of the extra ``onnx`` is missing.
        ValueError
            If the model is not fitted, or ``horizon`` out of its range.
        """
        if not self._fit_called:
            raise ValueError("`fit()` needs to be called before `to_onnx()`.")
        # here: few need what it imports
        from darts_mim.models.onnx import export_onnx

        export_onnx(
            cast("GridForecastingModule", self.model),
            cast(TorchTrainingSample, self.train_sample),
            Path(path or f"{self._default_save_path()}.onnx"),
            horizon,
            **kwargs,
        )

    def __getstate__(self) -> dict[str, Any]:
        """Return the state to pickle, in which no array is mapped from a file.

        Darts refuses to load memory maps. Of a memory-mapped training series, which may be
        larger than memory, just the frames are kept that ``predict(n)`` reads.
        """
        state: dict[str, Any] = super().__getstate__()
        series = state["training_series"]
        if series is not None:
            start = series.time_index[-self.input_chunk_length]
            for name in ("training_series", "past_covariate_series", "future_covariate_series"):
                if state[name] is not None:
                    state[name] = _in_memory(state[name], start)
        sample = state["train_sample"]
        if sample is not None:
            arrays = sample.feature_arrays().items()
            mapped = {name: np.array(a) for name, a in arrays if isinstance(a, np.memmap)}
            state["train_sample"] = sample.replace(**mapped)
        return state

    @staticmethod
    def _init_trainer(trainer_params: dict[str, Any], max_epochs: int | None = None) -> pl.Trainer:
        plugins = trainer_params.get("plugins") or []
        if not any(isinstance(plugin, TorchCheckpointIO) for plugin in plugins):
            trainer_params = {**trainer_params, "plugins": [*plugins, AtomicCheckpointIO()]}
        return MixedCovariatesTorchModel._init_trainer(trainer_params, max_epochs)


def _in_memory(series: TimeSeries, start: Any) -> TimeSeries:
    """Return a series whose values are mapped from a file from ``start`` on, in memory."""
    if not isinstance(series.all_values(copy=False), np.memmap):
        return series
    tail = series[series.get_index_at_point(start) :]
    return tail.with_values(np.array(tail.all_values(copy=False)))
