"""Training counts what it should, stops when it diverges, and resumes exactly."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from darts.utils.likelihood_models.torch import GaussianLikelihood
from torch import Tensor

from darts_mim import MIMModel, ScheduledSampling
from tests.models.small_models import make_frames, make_model, make_series, to_series, weights


class Direct(torch.nn.Module):
    """A network that predicts all frames at once, and so never asks for a frame to be fed."""

    def forward(self, context: Tensor, horizon: int, **_: Any) -> tuple[Tensor, None]:
        steps = context.shape[1] - 1 + horizon
        return context[:, :1].repeat(1, steps, 2, 1, 1), None


def test_a_network_that_never_calls_feed_back_draws_no_samples() -> None:
    model = make_model(likelihood=GaussianLikelihood()).fit(make_series())
    model.model.network = Direct()
    assert len(model.predict(2, predict_likelihood_parameters=True)) == 2
    with pytest.raises(ValueError, match=r"`feed_back\(prediction, step\)` .* got 0 calls for 4"):
        model.predict(4, num_samples=5)


class Losses(pl.Callback):
    """Note the training loss that other callbacks see after each step."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self.seen.append(float(trainer.callback_metrics["train_loss"]))


def test_a_step_in_which_nothing_was_observed_logs_no_loss() -> None:
    gone = make_frames(5)
    gone[1:] = np.nan
    losses = Losses()
    model = make_model(batch_size=1, optimizer_kwargs={"lr": 0.0}, trainer={"callbacks": [losses]})
    model.fit([make_series(5), to_series(gone)], dataloader_kwargs={"shuffle": False})
    assert losses.seen[0] == losses.seen[1] > 0


@pytest.mark.parametrize(
    ("options", "factor"),
    [
        ({}, 1e19),
        ({"likelihood": GaussianLikelihood()}, 1e30),
        ({"optimizer_kwargs": {"lr": 1e30}}, 1.0),
    ],
)
def test_a_run_that_diverges_stops_with_the_reason(options: dict[str, Any], factor: float) -> None:
    with pytest.raises(FloatingPointError, match=r"(inf|nan|no longer finite).*Scale the series"):
        make_model(**options).fit(to_series(make_frames() * np.float32(factor)))


def test_negative_sample_weights_are_refused() -> None:
    series = make_series()
    with pytest.raises(ValueError, match=r"`sample_weight` must .* negative, got -0\.25"):
        make_model().fit(series, sample_weight=series * 0 - 0.25)


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
@pytest.mark.filterwarnings("ignore:.*could not find the monitored key")
@pytest.mark.parametrize(
    "limit", [None, *(pytest.param(n, marks=pytest.mark.slow) for n in (3, 0.5))]
)
def test_a_run_resumed_at_any_step_ends_like_an_uninterrupted_one(
    tmp_path: Path, limit: float | None
) -> None:
    checkpoints = pl.callbacks.ModelCheckpoint(
        tmp_path / "run" / "checkpoints", "{step}", every_n_train_steps=1, save_top_k=-1
    )
    model = make_model(
        dropout=0.5,
        scheduled_sampling=ScheduledSampling.reverse(begin=2, until=12, steps=4),
        lr_scheduler_cls=torch.optim.lr_scheduler.StepLR,
        lr_scheduler_kwargs={"step_size": 1, "gamma": 0.8},
        n_epochs=-1,
        save_checkpoints=True,
        model_name="run",
        work_dir=str(tmp_path),
        trainer={"callbacks": [checkpoints], "max_steps": 13, "limit_train_batches": limit},
    )
    series = make_series(22)  # 5 steps in an epoch
    model.fit(series)
    for n_steps in (1, 5, 7, 10):
        resumed = MIMModel.load_from_checkpoint(
            "run", str(tmp_path), f"step={n_steps}.ckpt", trusted=True
        )
        assert not torch.equal(weights(resumed), weights(model))
        torch.rand(7)  # as other work in between may draw
        resumed.fit(series)
        assert resumed.trainer.global_step == model.trainer.global_step == 13
        assert torch.equal(weights(resumed), weights(model))
