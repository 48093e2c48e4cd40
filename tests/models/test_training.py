"""Training counts what it should, stops when it diverges, and resumes exactly."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from darts.utils.likelihood_models.torch import GaussianLikelihood
from torch import Tensor

from darts_mim import MIMModel
from tests.models.small_models import GRID, make_model, make_series, weights

FRAMES = np.random.default_rng(0).random((12, *GRID.shape), dtype=np.float32)


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
    gone = FRAMES[:5].copy()
    gone[1:] = np.nan
    losses = Losses()
    model = make_model(batch_size=1, optimizer_kwargs={"lr": 0.0}, trainer={"callbacks": [losses]})
    series = [make_series(frames=FRAMES[:5]), make_series(frames=gone)]
    model.fit(series, dataloader_kwargs={"shuffle": False})
    assert losses.seen[0] == losses.seen[1] > 0


@pytest.mark.parametrize(
    ("options", "frames"),
    [
        ({}, FRAMES * np.float32(1e19)),
        ({"likelihood": GaussianLikelihood()}, FRAMES * np.float32(1e30)),
        ({"optimizer_kwargs": {"lr": 1e30}}, FRAMES),
    ],
)
def test_a_run_that_diverges_stops_with_the_reason(
    options: dict[str, Any], frames: np.ndarray
) -> None:
    with pytest.raises(FloatingPointError, match=r"(inf|nan|no longer finite).*Scale the series"):
        make_model(**options).fit(make_series(frames=frames))


def test_negative_sample_weights_are_refused() -> None:
    series = make_series()
    with pytest.raises(ValueError, match=r"`sample_weight` must .* negative, got -0\.25"):
        make_model().fit(series, sample_weight=series * 0 - 0.25)


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
@pytest.mark.filterwarnings("ignore:.*could not find the monitored key")
def test_a_resumed_run_with_dropout_ends_with_the_weights_of_an_uninterrupted_one(
    tmp_path: Path,
) -> None:
    checkpoint = pl.callbacks.ModelCheckpoint(tmp_path, "middle", every_n_train_steps=4)
    options: dict[str, Any] = {"dropout": 0.5, "n_epochs": 3, "work_dir": str(tmp_path)}
    model = make_model(
        **options,
        model_name="run",
        save_checkpoints=True,
        trainer={"callbacks": [checkpoint]},
    )
    model.fit(make_series())
    folder = tmp_path / "run" / "checkpoints"
    (tmp_path / "middle.ckpt").rename(folder / "middle.ckpt")
    resumed = MIMModel.load_from_checkpoint("run", str(tmp_path), "middle.ckpt", trusted=True)
    assert not torch.equal(weights(resumed), weights(model))
    torch.rand(7)  # as other work in between may draw
    resumed.fit(make_series())
    assert torch.equal(weights(resumed), weights(model))
