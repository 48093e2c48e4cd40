"""What all grid models share: frames and series, sizes, validation, Darts' plumbing.

Legend: B batch, L ``input_chunk_length``, S ``output_chunk_shift``, H ``output_chunk_length``,
N components (channels x height x width of the grid).
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from darts import TimeSeries
from darts.logging import get_logger
from darts.models.forecasting.pl_forecasting_module import PLForecastingModule, io_processor
from darts.models.forecasting.torch_forecasting_model import TorchForecastingModel
from darts.utils.data import TorchInferenceDataset, TorchTrainingDataset
from darts.utils.data.torch_datasets.utils import (
    ModuleStage,
    PLModuleInput,
    PLModuleOutput,
    TorchInferenceBatch,
    TorchTrainingBatch,
    TorchTrainingSample,
)
from torch import Tensor, nn

from darts_mim.grid import METADATA_KEY, Grid
from darts_mim.models.data import ResumableDataModule
from darts_mim.nn.sampling import ScheduledSampling

logger = get_logger(__name__)


class GridForecastingModule(PLForecastingModule, ABC):
    """Lightning module of a network that maps context frames to the frames after them.

    A subclass sets ``network``, called as
    ``network(context, horizon, future=..., feed_true=...)`` like
    ``darts_mim.nn.MIMNetwork.forward``.

    Parameters
    ----------
    grid_shape
        Channels, height and width of a frame.
    scheduled_sampling
        Which frames training feeds the network, ``None`` for free running over the horizon.
    seed
        Seed of the training order and of scheduled sampling.
    **kwargs
        Passed on to Darts' ``PLForecastingModule``.
    """

    network: nn.Module

    def __init__(
        self,
        grid_shape: tuple[int, int, int],
        scheduled_sampling: ScheduledSampling | None,
        seed: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.grid = Grid(*grid_shape)
        self.scheduled_sampling = scheduled_sampling
        self.seed = seed

    @io_processor
    def forward(self, x_in: PLModuleInput, horizon: int | None = None) -> PLModuleOutput:
        """Predict frames.

        Parameters
        ----------
        x_in
            Darts' input, of which ``past_target`` (B, L, N) is read, and in training
            ``future_target`` (B, H, N) where scheduled sampling is on.
        horizon
            Number of frames to predict, by default H.

        Returns
        -------
        PLModuleOutput
            The forecast (B, horizon, N, 1); in training preceded by the predictions of all
            context frames but the first: (B, L - 1 + horizon, N, 1).
        """
        horizon = horizon or cast(int, self.output_chunk_length)
        is_training = x_in.stage is ModuleStage.TRAIN
        future, feed_true = self._true_frames(x_in) if is_training else (None, None)
        frames, _ = self.network(
            self.grid.to_frames(x_in.past_target),
            self.output_chunk_shift + horizon,
            future=future,
            feed_true=feed_true,
        )
        prediction = self.grid.to_components(frames).unsqueeze(-1)
        forecast = prediction[:, -horizon:]
        if is_training:
            context = prediction[:, : self.input_chunk_length - 1]
            forecast = torch.cat([context, forecast], dim=1)
        return PLModuleOutput(prediction=forecast)

    def _true_frames(self, x_in: PLModuleInput) -> tuple[Tensor | None, Tensor | None]:
        """Return the true frames after the context, and which inputs are true ones.

        Frames in the gap of ``output_chunk_shift`` are unknown: there the network runs freely.
        """
        if self.scheduled_sampling is None or x_in.future_target is None:
            return None, None
        future = x_in.future_target
        if self.rin is not None:
            # the statistics of the context, as the wrapper of forward() applied them to it
            future = self.rin.transform(future)
        gap = self.output_chunk_shift
        b, horizon, n = future.shape
        future = torch.cat([future.new_zeros(b, gap, n), future], dim=1)
        feed_true = self.scheduled_sampling.draw(
            self.global_step,
            batch=b,
            context=self.input_chunk_length,
            horizon=gap + horizon,
            seed=self.seed + self.global_rank,
        )
        feed_true[:, self.input_chunk_length - 1 :][:, :gap] = False
        return self.grid.to_frames(future), feed_true.to(future.device)

    def _train_val_step(
        self, batch: TorchTrainingBatch, stage: ModuleStage, criterion: Any, metrics: Any
    ) -> Tensor:
        """Return the loss: in training over every next frame, else over the horizon alone."""
        if stage is not ModuleStage.TRAIN:
            return super()._train_val_step(batch, stage, criterion, metrics)
        output = self(batch.to_module_input(stage=stage))
        future_target = cast(Tensor, batch.future_target)
        n_context = self.input_chunk_length - 1
        weight = batch.sample_weight
        if weight is not None:
            # the data set weighs the horizon alone: a component's context has its mean weight
            context_weight = weight.mean(dim=1, keepdim=True).expand(-1, n_context, -1)
            weight = torch.cat([context_weight, weight], dim=1)
        target = torch.cat([batch.past_target[:, 1:], future_target], dim=1)
        loss: Tensor = self._compute_loss(output, target, criterion, weight)
        self.log(
            f"{stage.value}_loss",
            loss,
            batch_size=target.shape[0],
            prog_bar=True,
            sync_dist=True,
        )
        horizon = output.replace(prediction=output.prediction[:, n_context:])
        self._update_metrics(horizon, future_target, metrics)
        return loss

    def _get_batch_prediction(
        self, n: int, input_batch: TorchInferenceBatch, roll_size: int
    ) -> Tensor:
        """Return n frames (B, n, N), rolled out in one go.

        Darts calls ``forward`` again for every chunk; a recurrent network instead encodes the
        context once and carries its state on for as many frames as are asked for.
        """
        x_in = PLModuleInput(past_target=input_batch.past_target, stage=ModuleStage.PREDICT)
        prediction: Tensor = self(x_in, horizon=n).prediction
        return prediction.squeeze(-1)

    def set_predict_parameters(
        self,
        n: int,
        num_samples: int,
        roll_size: int,
        batch_size: int,
        predict_likelihood_parameters: bool,
        mc_dropout: bool,
    ) -> None:
        """Store what ``predict`` was asked for, as Darts does; ``roll_size`` has no effect."""
        if roll_size != self.output_chunk_length:
            logger.warning(
                "`roll_size=%d` has no effect: the model feeds back every frame that it predicts "
                "and carries its recurrent state on through all `n` frames.",
                roll_size,
            )
        super().set_predict_parameters(
            n, num_samples, roll_size, batch_size, predict_likelihood_parameters, mc_dropout
        )


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
        super().__init__(**self._extract_torch_model_params(**self.model_params))
        self.pl_module_params = self._extract_pl_module_params(**self.model_params)
        _check_options(**self.model_params)
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

    # --- from series to data sets ---------------------------------------------------------------

    def _build_inference_dataset(
        self,
        n: int,
        series: Sequence[TimeSeries],
        past_covariates: Sequence[TimeSeries] | None,
        future_covariates: Sequence[TimeSeries] | None,
        stride: int = 0,
        bounds: Any = None,
    ) -> TorchInferenceDataset:
        for index, each in enumerate(series):
            if self._given_grid is None:
                self._check_grid(Grid.from_series(each))
            # what forecasts read: the last input chunk, or what Darts' historical forecasts span
            first, last = (len(each), len(each)) if bounds is None else bounds[index]
            _check_finite(each, start=int(first) - self.input_chunk_length, end=int(last))
        if self._given_grid is not None:
            # a forecast inherits its history's metadata: let it carry the model's grid
            series = [_with_grid(each, self._given_grid) for each in series]
        return super()._build_inference_dataset(
            n, series, past_covariates, future_covariates, stride, bounds
        )

    def _check_grid(self, grid: Grid | None) -> None:
        """Refuse a grid that is not the model's; a series without one may pass."""
        expected = self.grid
        if grid is None or expected is None:
            return
        if grid.shape != expected.shape or grid.channel_names != expected.channel_names:
            raise ValueError(
                f"`series` has the grid {grid}, but the model was fitted on {expected}. Give "
                "series of one grid, or override what the series say with "
                f"`{type(self).__name__}(grid=...)`."
            )

    # --- from data sets to the network ----------------------------------------------------------

    def _setup_for_train(
        self,
        train_dataset: TorchTrainingDataset,
        val_dataset: TorchTrainingDataset | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> dict[str, Any]:
        for dataset in (train_dataset, val_dataset):
            grids = _grids_of(dataset) if self._given_grid is None else []
            if dataset is train_dataset and not self.model_created:
                self._fitted_grid = grids[0] if grids else None
            for grid in grids:
                self._check_grid(grid)
            for series in getattr(dataset, "series", ()):
                _check_finite(series)
        params: dict[str, Any] = super()._setup_for_train(
            train_dataset, val_dataset, *args, **kwargs
        )
        params["datamodule"] = ResumableDataModule(params["datamodule"], seed=params["model"].seed)
        return params

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
            "seed": int(torch.randint(2**31, ())),
            **cast(dict[str, Any], self.pl_module_params),
        }

    # --- saving and loading ----------------------------------------------------------------------

    @property
    def _ckpt_skipped_params(self) -> list[str]:
        """Options that may differ between a model and the weights it loads."""
        return [*super()._ckpt_skipped_params, "grid", "scheduled_sampling"]

    def _check_ckpt_parameters(self, tfm_save: GridForecastingModel) -> None:
        """Check the options of a model whose weights are loaded, and take over its grid."""
        super()._check_ckpt_parameters(tfm_save)
        self._fitted_grid = tfm_save.grid

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


def _check_options(
    *,
    grid: Grid | None,
    input_chunk_length: int,
    output_chunk_length: int,
    output_chunk_shift: int = 0,
    likelihood: Any = None,
    add_encoders: Any = None,
    **_: Any,
) -> None:
    if grid is not None and not isinstance(grid, Grid):
        raise TypeError(f"`grid` must be a darts_mim.Grid or None, got {type(grid).__name__}")
    for name, value, least in (
        ("input_chunk_length", input_chunk_length, 1),
        ("output_chunk_length", output_chunk_length, 1),
        ("output_chunk_shift", output_chunk_shift, 0),
    ):
        if not isinstance(value, int) or value < least:
            raise ValueError(f"`{name}` must be an integer of at least {least}, got {value!r}")
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


def _grids_of(dataset: TorchTrainingDataset | None) -> list[Grid | None]:
    """Return the grid that a data set brings, or those of the series it is made from."""
    if isinstance(grid := getattr(dataset, METADATA_KEY, None), Grid):
        return [grid]
    return [Grid.from_series(series) for series in getattr(dataset, "series", ())]


def _check_finite(series: TimeSeries, start: int = 0, end: int | None = None) -> None:
    """Refuse NaN and infinity, a stretch of frames at a time so that memory maps stay small."""
    values = series.all_values(copy=False)
    end = len(values) if end is None else end
    stretch = max(1, 2**24 // values[0].size)
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


def _with_grid(series: TimeSeries, grid: Grid) -> TimeSeries:
    if grid.n_components != series.n_components:
        return series  # Darts refuses it with a message of its own
    return series.with_metadata({**(series.metadata or {}), METADATA_KEY: grid.to_metadata()})
