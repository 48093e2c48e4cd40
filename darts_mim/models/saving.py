"""How grid models are saved and loaded, and move to grids of other sizes."""

from __future__ import annotations

from abc import ABC
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
import pytorch_lightning as pl
from darts import TimeSeries
from darts.models.forecasting.pl_forecasting_module import PLForecastingModule
from darts.models.forecasting.torch_forecasting_model import MixedCovariatesTorchModel
from darts.utils.data.torch_datasets.utils import TorchTrainingSample
from darts.utils.torch import random_method
from pytorch_lightning.plugins.io import TorchCheckpointIO

from darts_mim.grid import Grid
from darts_mim.models.checkpoints import AtomicCheckpointIO
from darts_mim.models.covariates import CovariateLayout

if TYPE_CHECKING:
    from darts_mim.models.module import GridForecastingModule


class SavedGridModel(MixedCovariatesTorchModel, ABC):
    """Darts model whose files appear whole, and whose weights may fit grids of any size."""

    fits_any_grid: ClassVar[bool] = True
    """Whether the network's weights fit grids of any height and width."""

    _given_grid: Grid | None
    _fitted_grid: Grid | None
    _covariate_layouts: dict[str, CovariateLayout]

    @property
    def grid(self) -> Grid | None:
        """Grid of the target: the one given, else the fitted series' one, ``None`` before."""
        return self._given_grid or self._fitted_grid

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
        if self.model_created and self.trainer is None and not self.load_ckpt_path:
            # Darts saves weights through a trainer; a model just loaded would lose them silently
            trainer = pl.Trainer(
                accelerator="cpu",
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
            trainer.strategy.connect(cast(PLForecastingModule, self.model))
            self.trainer = trainer
        with TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as folder:
            super().save(str(Path(folder) / target.name), clean)
            # the weights first: a model without them would load, and know nothing
            for draft in sorted(Path(folder).iterdir(), reverse=True):
                draft.replace(target.with_name(draft.name))

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

    @random_method
    def load_weights_from_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        """Load weights as Darts does; training after it follows ``random_state``."""
        if kwargs.get("skip_checks") and self._given_grid is None:
            raise ValueError(
                "`skip_checks=True` skips reading the grid of the weights; give it with "
                f"`{type(self).__name__}(grid=...)`, or leave `skip_checks` out"
            )
        super().load_weights_from_checkpoint(*args, **kwargs)

    @property
    def _ckpt_skipped_params(self) -> list[str]:
        """Options that may differ between a model and the weights it loads."""
        return [
            *super()._ckpt_skipped_params,
            "fast_path",
            "grid",
            "recompute",
            "scheduled_sampling",
        ]

    def _check_ckpt_parameters(self, tfm_save: SavedGridModel) -> None:
        """Check the options of a model whose weights are loaded, and settle the grid.

        Where the network's weights fit any height and width, they move to another one with
        ``grid=``.
        """
        super()._check_ckpt_parameters(tfm_save)
        saved, given = cast(Grid, tfm_save.grid), self._given_grid
        self._covariate_layouts = tfm_save._covariate_layouts
        if given is None:
            self._fitted_grid = saved
            return
        if (given.mask is None) != (saved.mask is None):
            raise ValueError(
                f"`grid` is a {given}, but the weights are for a {saved}: the network reads the "
                "mask of the one and there is none in the other; give a grid with a mask of all "
                "cells, `np.ones((height, width), bool)`, or train with one"
            )
        if given.channels != saved.channels:
            raise ValueError(
                f"`grid` has {given.channels} channels, but the weights are for "
                f"{saved.channels}; give a grid of as many channels"
            )
        if not self.fits_any_grid and given.shape[1:] != saved.shape[1:]:
            raise ValueError(
                f"`grid` has {given.height} rows x {given.width} columns, but the weights are for "
                f"{saved.height} rows x {saved.width} columns: {type(self).__name__} has weights "
                "for each cell of its grid; give a grid of that size, or train a model on this one"
            )
        rin = self.model_params.get("use_reversible_instance_norm")
        is_affine = rin.get("affine", True) if isinstance(rin, dict) else rin
        if is_affine and given.n_components != saved.n_components:
            raise ValueError(
                "`use_reversible_instance_norm` has a gain and a bias for each component, which "
                "do not fit a grid of another size; train with "
                "`use_reversible_instance_norm={'affine': False}`"
            )
        self.train_sample = self._sample_on(given, saved)

    def _sample_on(self, given: Grid, saved: Grid) -> TorchTrainingSample:
        """Return the training sample on another grid, in zeros: just its shapes matter."""
        sample = cast(TorchTrainingSample, self.train_sample)

        def zeros(name: str, array: np.ndarray) -> np.ndarray:
            layout = self._covariate_layouts.get(name.removeprefix("historic_"))
            if name in ("past_target", "future_target"):
                shape = (len(array), given.n_components)
            elif layout is not None:
                extra = layout.channels * (given.height * given.width - saved.height * saved.width)
                shape = (len(array), array.shape[1] + extra)
            else:
                is_shared = len(array) == 1 or len(array) != saved.n_components
                rows = len(array) if is_shared else given.n_components
                shape = (rows, array.shape[1]) if name == "static_covariates" else array.shape
            return np.zeros(shape, dtype=array.dtype)

        arrays = sample.feature_arrays().items()
        return sample.replace(**{k: zeros(k, a) for k, a in arrays if a is not None})

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
