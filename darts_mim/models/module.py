"""The Lightning module of grid models: frames to Darts' batches and back, loss, rollout.

Legend: B batch, L ``input_chunk_length``, S ``output_chunk_shift``, H ``output_chunk_length``,
N components (channels x height x width of the grid).
"""

from __future__ import annotations

from abc import ABC
from typing import Any, cast

import torch
from darts.logging import get_logger
from darts.models.forecasting.pl_forecasting_module import PLForecastingModule, io_processor
from darts.utils.data.torch_datasets.utils import (
    ModuleStage,
    PLModuleInput,
    PLModuleOutput,
    TorchInferenceBatch,
    TorchTrainingBatch,
)
from torch import Tensor, nn

from darts_mim.grid import Grid
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

    Attributes
    ----------
    n_fits
        How often training was begun anew, rather than resumed: each time in another order.
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
        self.n_fits = 0

    @property
    def random_key(self) -> tuple[int, ...]:
        """What training's random choices depend on: the seed, and the number of the fit."""
        return self.seed, self.n_fits

    @io_processor
    def forward(
        self, x_in: PLModuleInput, horizon: int | None = None, batch_idx: int = 0
    ) -> PLModuleOutput:
        """Predict frames.

        Parameters
        ----------
        x_in
            Darts' input, of which ``past_target`` (B, L, N) is read, and in training
            ``future_target`` (B, H, N) where scheduled sampling is on.
        horizon
            Number of frames to predict, by default H.
        batch_idx
            Number of the training batch: batches of one optimizer step draw for themselves.

        Returns
        -------
        PLModuleOutput
            The forecast (B, horizon, N, 1); in training preceded by the predictions of all
            context frames but the first: (B, L - 1 + horizon, N, 1).
        """
        if horizon is None:
            horizon = cast(int, self.output_chunk_length)
        is_training = x_in.stage is ModuleStage.TRAIN
        future, feed_true = self._true_frames(x_in, batch_idx) if is_training else (None, None)
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

    def _true_frames(
        self, x_in: PLModuleInput, batch_idx: int
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return the true frames after the context, and which inputs are true ones.

        Frames in the gap of ``output_chunk_shift`` are unknown: there the network runs freely.
        """
        if self.scheduled_sampling is None or x_in.future_target is None:
            return None, None
        future = x_in.future_target
        if self.rin is not None:
            # the statistics of the context, as the wrapper of forward() applied them to it
            future = self.rin.transform(future)
        length, gap = self.input_chunk_length, self.output_chunk_shift
        b, horizon, n = future.shape
        future = torch.cat([future.new_zeros(b, gap, n), future], dim=1)
        feed_true = self.scheduled_sampling.draw(
            self.global_step,
            batch=b,
            context=length,
            horizon=gap + horizon,
            key=(*self.random_key, self.global_rank, batch_idx),
        )
        feed_true[:, length - 1 : length - 1 + gap] = False
        return self.grid.to_frames(future), feed_true.to(future.device)

    def training_step(self, batch: TorchTrainingBatch, batch_idx: int) -> Tensor:
        """Return the loss over every next frame, the context's and the horizon's."""
        output = self(batch.to_module_input(stage=ModuleStage.TRAIN), batch_idx=batch_idx)
        future_target = cast(Tensor, batch.future_target)
        n_context = self.input_chunk_length - 1
        weight = batch.sample_weight
        if weight is not None:
            # the data set weighs the horizon alone: a component's context has its mean weight
            context_weight = weight.mean(dim=1, keepdim=True).expand(-1, n_context, -1)
            weight = torch.cat([context_weight, weight], dim=1)
        target = torch.cat([batch.past_target[:, 1:], future_target], dim=1)
        loss: Tensor = self._compute_loss(output, target, self.train_criterion, weight)
        self.log("train_loss", loss, batch_size=len(target), prog_bar=True, sync_dist=True)
        horizon = output.replace(prediction=output.prediction[:, n_context:])
        self._update_metrics(horizon, future_target, self.train_metrics)
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

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save what a resumed run needs besides what Darts and Lightning save."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["n_fits"] = self.n_fits

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore what ``on_save_checkpoint`` saved."""
        super().on_load_checkpoint(checkpoint)
        self.n_fits = checkpoint["n_fits"]
