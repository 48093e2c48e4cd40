"""Several processes train one model as one process trains it with their batches joined.

Run as a script, this file trains in two processes: see the end.
"""

import subprocess
import sys
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import torchmetrics

from darts_mim import MIMModel, ScheduledSampling, frames_to_series
from darts_mim.datasets import ClipTrainingDataset
from darts_mim.models.data import ResumableDataLoader

# 6 clips a step: the last step of an epoch has 4, 3 (an odd number), or 1 (none for one process)
CASES: dict[str, tuple[int, dict[str, Any]]] = {
    "both units": (16, {}),
    "without MIM-N": (15, {"nonstationary_unit": False}),
    "without MIM-S": (13, {"stationary_unit": False}),
}
QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


def trainer_options(processes: int, **options: Any) -> dict[str, Any]:
    strategy = "ddp" if processes > 1 else "auto"
    return {**QUIET, "devices": processes, "strategy": strategy, **options}


def make_clips(number: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((number, 7, 2, 5, 6), dtype=np.float32)


def make_dataset(number: int, seed: int = 0) -> ClipTrainingDataset:
    return ClipTrainingDataset(make_clips(number, seed), 4, 3)


def make_model(**options: Any) -> MIMModel:
    return MIMModel(4, 3, hidden_channels=(4, 3), kernel_size=3, patch_size=2, **options)


def weights(model: MIMModel) -> np.ndarray:
    return torch.cat([p.detach().flatten() for p in model.model.parameters()]).numpy()


def train(processes: int, case: str, folder: Path) -> tuple[MIMModel, dict[str, Any]]:
    """Train for three epochs, then again from a checkpoint in the middle of the second one."""
    n_clips, options = CASES[case]
    data, val_data = make_dataset(n_clips), make_dataset(12, seed=1)
    checkpoint = pl.callbacks.ModelCheckpoint(
        folder / case / "checkpoints", "middle", every_n_train_steps=5
    )
    model = make_model(
        batch_size=6 // processes,
        n_epochs=3,
        random_state=0,
        scheduled_sampling=ScheduledSampling.reverse(begin=2, until=8, steps=4),
        # Adam would hide a gradient of the wrong size
        optimizer_cls=torch.optim.SGD,
        optimizer_kwargs={"lr": 0.1},
        torch_metrics=torchmetrics.MeanSquaredError(),
        work_dir=str(folder),
        model_name=case,
        save_checkpoints=True,
        pl_trainer_kwargs=trainer_options(processes, callbacks=[checkpoint]),
        **options,
    )
    model.fit_from_dataset(data, val_data)
    # Darts trusts no callback
    resumed = MIMModel.load_from_checkpoint(case, str(folder), "middle.ckpt", trusted=True)
    results = {
        "weights": weights(model),
        "at checkpoint": weights(resumed),
        "steps": model.trainer.global_step,
        **{name: value.item() for name, value in model.trainer.callback_metrics.items()},
    }
    resumed.fit_from_dataset(data, val_data)
    return model, {**results, "resumed": weights(resumed)}


def predict(model: MIMModel) -> np.ndarray:
    history = frames_to_series(make_clips(1, seed=2)[0])
    forecast = model.predict(n=5, series=history, trainer=pl.Trainer(**trainer_options(1)))
    return forecast.all_values()


def train_with_gaps(processes: int) -> np.ndarray:
    """Train on a series with two missing frames, of which each process sees another share."""
    frames = np.random.default_rng(3).random((22, 2, 5, 6), dtype=np.float32)
    frames[8:10] = np.nan
    model = make_model(
        batch_size=6 // processes,
        n_epochs=2,
        random_state=0,
        optimizer_cls=torch.optim.SGD,
        optimizer_kwargs={"lr": 0.1},
        pl_trainer_kwargs=trainer_options(processes, enable_checkpointing=False),
    )
    return weights(model.fit(frames_to_series(frames)))


class Log(pl.Callback):
    """Note the seed, and the first value of each clip trained on."""

    def __init__(self) -> None:
        self.clips: list[float] = []
        self.seed = -1

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, *_: Any) -> None:
        self.clips += batch.past_target[:, 0, 0].tolist()
        self.seed = module.seed


def train_without_random_state() -> dict[str, Any]:
    log = Log()
    options = trainer_options(2, callbacks=[log], max_epochs=1, enable_checkpointing=False)
    make_model(batch_size=3).fit_from_dataset(make_dataset(16), trainer=pl.Trainer(**options))
    return {"clips": log.clips, "seed": log.seed}


# --- the order of the training data -------------------------------------------------------------


def make_loader(n_samples: int, epoch: int = 2, **options: Any) -> ResumableDataLoader:
    samples = torch.arange(n_samples)
    return ResumableDataLoader(samples, key=(5,), current_epoch=lambda: epoch, **options)


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("n_samples", [12, 21, 11, 7, 2])
def test_processes_take_turns_in_the_order_of_one(
    n_samples: int, drop_last: bool, shuffle: bool
) -> None:
    options: dict[str, Any] = {"drop_last": drop_last, "shuffle": shuffle}
    alone = list(make_loader(n_samples, batch_size=6, **options))
    loaders = [
        make_loader(n_samples, batch_size=2, num_replicas=3, rank=rank, **options)
        for rank in range(3)
    ]
    for i, (batch, *parts) in enumerate(zip(alone, *map(list, loaders), strict=True)):
        # a process that has nothing left has a sample that stands in, and counts for nothing
        own = [
            each.tolist() for each, of in zip(parts, loaders, strict=True) if not of.stands_in(i)
        ]
        together = [each for row in zip_longest(*own) for each in row if each is not None]
        assert together == batch.tolist()
        assert all(len(part) > 0 for part in parts)


def test_each_process_resumes_behind_its_last_batch() -> None:
    for rank in range(2):
        options = {"batch_size": 2, "num_replicas": 2, "rank": rank}
        whole = [batch.tolist() for batch in make_loader(11, **options)]
        parted = make_loader(11, **options)
        batches = iter(parted)
        begin = [next(batches).tolist()]
        resumed = make_loader(11, **options)
        resumed.load_state_dict(parted.state_dict())
        assert begin + [batch.tolist() for batch in resumed] == whole
        assert len(whole) == 3


def test_a_state_saved_as_an_epoch_starts_is_that_epoch_s() -> None:
    ended = make_loader(11, batch_size=2)
    list(ended)
    ended.sampler.set_epoch(3)  # what Lightning does before anything else in an epoch
    resumed = make_loader(11, batch_size=2)
    resumed.load_state_dict(ended.state_dict())
    assert torch.equal(torch.cat(list(resumed)), torch.cat(list(make_loader(11, 3, batch_size=2))))


# --- two processes ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which two processes have left what `train` returns, and more."""
    folder = tmp_path_factory.mktemp("two processes")
    command = [sys.executable, __file__, str(folder)]
    answer = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=folder, timeout=300
    )
    assert answer.returncode == 0, answer.stderr
    return folder


def load(folder: Path, name: str) -> list[dict[str, Any]]:
    """Return the results of each process."""
    return [dict(np.load(folder / f"{name}-{rank}.npz")) for rank in range(2)]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
@pytest.mark.parametrize("case", CASES)
def test_two_processes_train_like_one_with_their_batches_joined(
    folder: Path, tmp_path: Path, case: str
) -> None:
    first, second = load(folder, case)
    _, alone = train(1, case, tmp_path)
    assert first["steps"] == second["steps"] == alone["steps"] == 9
    np.testing.assert_array_equal(first["weights"], second["weights"])
    np.testing.assert_allclose(first["weights"], alone["weights"], rtol=1e-5, atol=1e-6)
    for name in ("train_loss", "train_MeanSquaredError", "val_loss", "val_MeanSquaredError"):
        assert first[name] == second[name] == pytest.approx(alone[name], rel=1e-6)


@pytest.mark.slow
def test_two_processes_resume_in_the_middle_of_an_epoch(folder: Path) -> None:
    for rank in load(folder, "both units"):
        assert np.abs(rank["at checkpoint"] - rank["weights"]).max() > 0.01
        np.testing.assert_array_equal(rank["resumed"], rank["weights"])


@pytest.mark.slow
def test_two_processes_count_each_known_value_alike(folder: Path) -> None:
    alone = train_with_gaps(1)
    for rank in load(folder, "gaps"):
        np.testing.assert_allclose(rank["weights"], alone, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_without_a_random_state_two_processes_share_one_order(folder: Path) -> None:
    first, second = load(folder, "without random state")
    assert first["seed"] == second["seed"] >= 0
    seen = sorted([*first["clips"], *second["clips"]])
    assert seen == sorted(make_clips(16, seed=0)[:, 0, 0, 0, 0].tolist())


@pytest.mark.slow
def test_two_processes_refuse_to_predict_and_one_does(folder: Path) -> None:
    first, second = load(folder, "both units")
    loaded = predict(MIMModel.load(str(folder / "model.pt")))
    np.testing.assert_array_equal(first["forecast"], second["forecast"])
    np.testing.assert_array_equal(first["forecast"], loaded)
    assert loaded.shape == (5, 2 * 5 * 6, 1)


def main(folder: Path) -> None:
    """Leave what two processes come to in a folder; Lightning runs this in both of them."""
    for case in CASES:
        model, results = train(2, case, folder)
        rank = model.model.global_rank
        if case == "both units":
            with pytest.raises(ValueError, match="one process"):
                model.predict(n=5, series=frames_to_series(make_clips(1, seed=2)[0]))
            results["forecast"] = predict(model)
            model.save(folder / "model.pt", clean=True)
        np.savez(folder / f"{case}-{rank}.npz", **results)
    np.savez(folder / f"gaps-{rank}.npz", weights=train_with_gaps(2))
    np.savez(folder / f"without random state-{rank}.npz", **train_without_random_state())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
