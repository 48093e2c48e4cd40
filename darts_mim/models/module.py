"""The Lightning module of grid models: training, validation and prediction.

Legend: B batch, L ``input_chunk_length``, S ``output_chunk_shift``, H ``output_chunk_length``,
N components (channels x height x width of the grid), P likelihood parameters (1 without one).
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, cast

import torch
from darts.logging import get_logger
from darts.utils.data.torch_datasets.utils import (
    ModuleStage,
    PLModuleInput,
    PLModuleOutput,
    TorchInferenceBatch,
    TorchTrainingBatch,
)
from torch import Tensor

from darts_mim.models.data import ResumableDataLoader
from darts_mim.models.missing import selector
from darts_mim.models.rollout import RolloutModule
from darts_mim.nn.sampling import HalfTeacherForced, ScheduledSampling
from darts_mim.nn.seeding import keyed_generator

logger = get_logger(__name__)

_DIVERGED = (
    "training has diverged. Scale the series and covariates to about the size of 1, lower the "
    'learning rate, or clip gradients with `pl_trainer_kwargs={"gradient_clip_val": 1.0}`'
)


class GridForecastingModule(RolloutModule, ABC):
    """Lightning module of a network that maps context frames to the frames after them.

    Parameters
    ----------
    scheduled_sampling
        Which frames training feeds the network. ``None`` for free running over the horizon;
        with a likelihood, for free running in one half of the sequences and true frames in the
        other.
    seed
        Seed of the training order and of scheduled sampling.
    **kwargs
        Passed on to ``RolloutModule``.

    Attributes
    ----------
    n_fits
        How often training was begun anew, rather than resumed: each time in another order.
    """

    def __init__(
        self, scheduled_sampling: ScheduledSampling | None, seed: int, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.scheduled_sampling = scheduled_sampling
        self.seed = seed
        self.n_fits = 0

    @property
    def random_key(self) -> tuple[int, ...]:
        """Key of training's random choices: the seed, and the number of the fit."""
        return self.seed, self.n_fits

    @property
    def sampling(self) -> ScheduledSampling | HalfTeacherForced | None:
        """Sampler of the frames that training feeds, ``None`` for the true ones of the context."""
        if self.scheduled_sampling is None and self.likelihood is not None:
            return HalfTeacherForced()
        return self.scheduled_sampling

    def forward(
        self,
        x_in: PLModuleInput,
        horizon: int | None = None,
        *,
        future_past_covariates: Tensor | None = None,
        feed_true: Tensor | None = None,
    ) -> PLModuleOutput:
        """Predict frames, or with a likelihood the parameters of their distributions.

        Over the horizon the network is fed the centre of its prediction, so that parameters
        describe each frame given the context alone.

        No ``io_processor`` wraps this method, unlike in Darts' own models: reversible instance
        normalisation must leave missing values out and apply to frames that are fed back.

        Parameters
        ----------
        x_in
            Darts' input. In the target, also in ``future_target`` (B, H, N), which is read beside
            ``feed_true``, NaN is a missing value.
        horizon
            Number of frames to predict, by default H.
        future_past_covariates
            Past covariates of the first frames of the horizon, as far as they are known.
        feed_true
            Booleans of shape (B, L + S + H - 2): which input frames after the first are true ones.

        Returns
        -------
        PLModuleOutput
            The forecast (B, horizon, N, P), in prediction with NaN where the grid's mask hides
            cells; in training preceded by the predictions of all context frames but the first,
            where the network makes any: (B, n_context + horizon, N, P).
        """
        horizon = horizon or cast(int, self.output_chunk_length)
        prediction = self.roll_out(
            x_in, horizon, future_past_covariates=future_past_covariates, feed_true=feed_true
        )
        forecast = prediction[:, -horizon:]
        if x_in.stage is ModuleStage.TRAIN:
            forecast = torch.cat([prediction[:, : self.n_context], forecast], dim=1)
        elif x_in.stage is ModuleStage.PREDICT:
            forecast = self.hide(forecast)
        return PLModuleOutput(prediction=forecast)

    # --- training and validation ----------------------------------------------------------------

    def on_fit_start(self) -> None:
        """Agree with other processes on a seed: without a `random_state` each drew its own."""
        self.seed = self.trainer.strategy.broadcast(self.seed)

    def on_train_end(self) -> None:
        """Refuse weights that the last step has made infinite."""
        if not all(torch.isfinite(each).all() for each in self.parameters()):
            raise FloatingPointError(f"the weights are no longer finite: {_DIVERGED}")

    def training_step(self, batch: TorchTrainingBatch, batch_idx: int) -> Tensor:
        """Return the loss over every frame that is predicted, of the context and the horizon."""
        with self._keyed_draws("training", batch_idx):
            feed_true = self._draw_true(batch, batch_idx)
            loss, output, target = self.next_frame_loss(batch, feed_true)
            horizon = output.replace(prediction=output.prediction[:, self.n_context :])
            if not self._stands_in(batch_idx):
                self._update_metrics(horizon, cast(Tensor, batch.future_target), self.train_metrics)
        n_known, n_everywhere, is_finite = self._counts(loss, target, batch_idx)
        if not is_finite:
            raise FloatingPointError(
                f"`train_loss` is {loss.item()} at step {self.global_step}: {_DIVERGED}"
            )
        if self.trainer.world_size > 1:
            # Lightning averages the gradients of processes, which may know unequally many values
            loss = loss * (n_known * self.trainer.world_size / max(n_everywhere, 1))
        if n_everywhere:
            self.log("train_loss", loss, batch_size=len(target), prog_bar=True, sync_dist=True)
        return loss

    def _counts(self, loss: Tensor, target: Tensor, batch_idx: int) -> tuple[int, int, bool]:
        """Return the known values of this process and of all, and whether all losses are finite."""
        known = self.known_values(target)
        n_known = target.numel() if known is None else int(known.sum())
        if self._stands_in(batch_idx):
            n_known = 0
        counts = torch.tensor([n_known, not torch.isfinite(loss)], device=loss.device)
        if self.trainer.world_size > 1:
            counts = cast(Tensor, self.trainer.strategy.reduce(counts, reduce_op="sum"))
        return n_known, int(counts[0]), not counts[1]

    def _stands_in(self, batch_idx: int) -> bool:
        """Return whether the batch only keeps this process in step with others that have more."""
        loader = self.trainer.train_dataloader
        return isinstance(loader, ResumableDataLoader) and loader.stands_in(batch_idx)

    @contextmanager
    def _keyed_draws(self, *key: int | str) -> Iterator[None]:
        """Let random numbers, as of dropout, depend on the step alone, for resumed runs."""
        key = (*self.random_key, self.global_step, self.global_rank, *key)
        seed = keyed_generator(*key).initial_seed()
        is_on_gpu = self.device.type == "cuda"
        with torch.random.fork_rng(devices=[self.device] if is_on_gpu else []):
            torch.default_generator.manual_seed(seed)
            if is_on_gpu:
                torch.cuda.manual_seed(seed)
            yield

    def next_frame_loss(
        self, batch: TorchTrainingBatch, feed_true: Tensor | None
    ) -> tuple[Tensor, PLModuleOutput, Tensor]:
        """Predict every next frame of a batch that the network can, as in training.

        Parameters
        ----------
        batch
            Darts' batch.
        feed_true
            As for ``forward``.

        Returns
        -------
        loss
            Mean loss over the horizon's frames, and the context's but the first where the network
            predicts them.
        output
            The predictions.
        target
            The true values, of shape (B, n_context + H, N).
        """
        output = self(batch.to_module_input(stage=ModuleStage.TRAIN), feed_true=feed_true)
        weight = batch.sample_weight
        if weight is not None:
            # the data set weighs the horizon alone: a component's context has its mean weight
            context_weight = weight.mean(dim=1, keepdim=True).expand(-1, self.n_context, -1)
            weight = torch.cat([context_weight, weight], dim=1)
        future_target = cast(Tensor, batch.future_target)
        first = self.input_chunk_length - self.n_context
        target = torch.cat([batch.past_target[:, first:], future_target], dim=1)
        return self._compute_loss(output, target, self.train_criterion, weight), output, target

    def validation_step(self, batch: TorchTrainingBatch, batch_idx: int) -> Tensor:
        """Return the loss over the horizon; in ``val_loss`` each known value weighs the same."""
        target = cast(Tensor, batch.future_target)
        output = self(batch.to_module_input(stage=ModuleStage.VALIDATE))
        loss = self._compute_loss(output, target, self.val_criterion, batch.sample_weight)
        known = self.known_values(target)
        size = target.numel() if known is None else int(known.sum())
        self.log("val_loss", loss, batch_size=size, prog_bar=True, sync_dist=True)
        with self._keyed_draws("validation", batch_idx):
            self._update_metrics(output, target, self.val_metrics)
        return loss

    def _draw_true(self, batch: TorchTrainingBatch, batch_idx: int) -> Tensor | None:
        """Draw which frames training feeds the network are true ones, ``None`` for the context's.

        Frames in the gap of ``output_chunk_shift`` are unknown: there the network runs freely.
        """
        sampling = self.sampling
        if sampling is None:
            return None
        b, length, _ = batch.past_target.shape
        gap, horizon = self.output_chunk_shift, cast(Tensor, batch.future_target).shape[1]
        # drawn for the joined batch of all processes, of which this one has every n-th sequence
        n_processes = self.trainer.world_size
        feed_true = sampling.draw(
            self.global_step,
            batch=b * n_processes,
            context=length,
            horizon=gap + horizon,
            key=(*self.random_key, batch_idx),
        )[self.global_rank :: n_processes]
        feed_true[:, length - 1 : length - 1 + gap] = False
        return feed_true.to(batch.past_target.device)

    def _compute_loss(
        self, output: PLModuleOutput, target: Tensor, criterion: Any, sample_weight: Tensor | None
    ) -> Tensor:
        """Return the mean loss of the values that are known."""
        prediction, known = output.prediction, self.known_values(target)
        if known is not None:
            select = selector(known, self.observed, self.components)
            prediction, target = select(prediction), select(target)
            if sample_weight is not None:
                sample_weight = select(sample_weight.expand_as(known))
            if not target.numel():
                return prediction.sum()
        if sample_weight is not None and bool((sample_weight < 0).any()):
            raise ValueError(
                f"`sample_weight` must not be negative, got {sample_weight.min().item():g}; give 0 "
                "to leave a value out"
            )
        loss: Tensor = super()._compute_loss(
            output.replace(prediction=prediction), target, criterion, sample_weight
        )
        return loss

    def _update_metrics(self, output: PLModuleOutput, target: Tensor, metrics: Any) -> None:
        """Update torchmetrics, a column for each component, with the values that are known."""
        known = self.known_values(target) if len(metrics) else None
        if known is None:
            super()._update_metrics(output, target, metrics)
            return
        select = selector(known, self.observed, self.components)
        prediction, target = select(output.prediction), select(target)
        if not target.numel():
            return
        prediction = self.likelihood.sample(prediction) if self.likelihood else prediction[..., 0]
        metrics.update(*(each.flatten(0, 1).contiguous() for each in (prediction, target)))

    # --- prediction -----------------------------------------------------------------------------

    def _get_batch_prediction(
        self, n: int, input_batch: TorchInferenceBatch, roll_size: int
    ) -> Tensor:
        """Return n frames (B, n, N), or their parameters (B, n, N * P), rolled out in one go.

        Darts calls ``forward`` again for every chunk; here the network instead reads the context
        once and goes on, with its state if it has one, for as many frames as are asked for. With a
        likelihood, each frame of the horizon is drawn given those drawn before it, and fed back.
        """
        x_in = PLModuleInput(
            past_target=input_batch.past_target,
            past_covariates=input_batch.past_covariates,
            historic_future_covariates=input_batch.historic_future_covariates,
            future_covariates=input_batch.future_covariates,
            static_covariates=input_batch.static_covariates,
            stage=ModuleStage.PREDICT,
        )
        future_past = input_batch.future_past_covariates
        likelihood = self.likelihood
        if likelihood is None:
            output = self(x_in, n, future_past_covariates=future_past)
            return cast(Tensor, output.prediction[..., 0])
        if self.predict_likelihood_parameters:

            def describe(output: Tensor) -> Tensor:
                return likelihood.predict_likelihood_parameters(output).reshape(output.shape)

            output = self.roll_out(x_in, n, future_past_covariates=future_past)[:, -n:]
            return self.hide(self.on_observed(describe, output)).flatten(2)
        samples: list[Tensor] = []

        def draw(parameters: Tensor) -> Tensor:
            samples.append(self.on_observed(likelihood.sample, parameters))
            return samples[-1]

        output = self.roll_out(x_in, n, future_past_covariates=future_past, draw=draw)
        draw(output[:, -1:])
        return self.hide(torch.cat(samples, dim=1)[..., None])[..., 0]

    def set_predict_parameters(
        self,
        n: int,
        num_samples: int,
        roll_size: int,
        batch_size: int,
        predict_likelihood_parameters: bool,
        mc_dropout: bool,
    ) -> None:
        """Store the arguments of ``predict``, as Darts does; ``roll_size`` has no effect."""
        if roll_size != self.output_chunk_length:
            logger.warning(
                "`roll_size=%d` has no effect: the model feeds back every frame that it predicts, "
                "in one rollout of all `n` frames.",
                roll_size,
            )
        super().set_predict_parameters(
            n, num_samples, roll_size, batch_size, predict_likelihood_parameters, mc_dropout
        )

    # --- checkpoints ----------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the number of fits, which a resumed run needs."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["n_fits"] = self.n_fits

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the number of fits and the loss functions."""
        super().on_load_checkpoint(checkpoint)
        self.n_fits = checkpoint["n_fits"]
        # Darts restores `criterion` alone: a model that was loaded would train with another loss
        if self.train_criterion_reduction is None:
            self.train_criterion = deepcopy(checkpoint["loss_fn"])
        if self.val_criterion_reduction is None:
            self.val_criterion = deepcopy(checkpoint["loss_fn"])
