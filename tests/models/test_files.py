"""Files of models: whole, verified, of one save, and no code that runs."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from darts.utils.serialization import safe_globals
from torch import nn

from darts_mim import MIMModel
from darts_mim.models.checkpoints import AtomicCheckpointIO
from tests.models.small_models import make_model, make_series, weights

NAMES = ["model.pt", "model.pt.ckpt"]

pytestmark = [
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:.*could not find the monitored key"),
]


@pytest.fixture
def saved(small_fitted: MIMModel, tmp_path: Path) -> Path:
    small_fitted.save(tmp_path / "model.pt")
    return tmp_path / "model.pt"


# --- damage -------------------------------------------------------------------------------------


def damaged(contents: bytes) -> Iterator[bytes]:
    """Yield the contents of a file with a bit flipped at random places, and cut off."""
    rng = np.random.default_rng(0)
    for place in rng.integers(len(contents) - 200, size=10):
        flipped = bytearray(contents)
        flipped[place] ^= 1 << int(rng.integers(8))
        yield bytes(flipped)
    yield contents[: len(contents) // 2]
    yield contents[:-1]
    yield b""


@pytest.mark.parametrize("name", NAMES)
def test_damaged_files_are_refused_by_name(saved: Path, name: str) -> None:
    file = saved.with_name(name)
    for contents in damaged(file.read_bytes()):
        file.write_bytes(contents)
        for load in (MIMModel.load, make_model().load_weights):
            with pytest.raises(ValueError, match=f"`{file}`.* (damaged|not saved together)"):
                load(str(saved))


def test_damaged_files_of_a_run_are_refused_by_name(tmp_path: Path) -> None:
    run: dict[str, Any] = {"model_name": "run", "work_dir": str(tmp_path)}
    make_model(save_checkpoints=True, **run).fit(make_series())
    [checkpoint] = (tmp_path / "run" / "checkpoints").iterdir()
    for file in (checkpoint, tmp_path / "run" / "_model.pth.tar"):
        contents = file.read_bytes()
        flipped = bytearray(contents)
        flipped[len(contents) // 2] ^= 1
        file.write_bytes(flipped)
        for load in (MIMModel.load_from_checkpoint, make_model().load_weights_from_checkpoint):
            with pytest.raises(ValueError, match="is damaged or incomplete"):
                load(**run, best=False)
        file.write_bytes(contents)
    resumed = MIMModel.load_from_checkpoint(**run, best=False)
    flipped = bytearray(checkpoint.read_bytes())
    flipped[len(flipped) // 2] ^= 1
    checkpoint.write_bytes(flipped)
    with pytest.raises(ValueError, match="is damaged or incomplete"):
        resumed.fit(make_series(), epochs=2)


def test_a_file_that_is_missing_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        MIMModel.load(str(tmp_path / "model.pt"))


# --- pairs --------------------------------------------------------------------------------------


def make_wider() -> MIMModel:
    return make_model(hidden_channels=(5, 5)).fit(make_series())


def test_weights_of_another_save_are_refused(saved: Path) -> None:
    other = saved.with_name("other.pt")
    make_model(random_state=1).fit(make_series()).save(other)
    shutil.copy(saved.with_name("model.pt.ckpt"), saved.with_name("other.pt.ckpt"))
    for load in (MIMModel.load, make_model().load_weights):
        with pytest.raises(ValueError, match=r"other\.pt` and .* were not saved together"):
            load(str(other))


class KilledError(BaseException):
    """Stands for the end of a process."""


@pytest.mark.parametrize("moment", range(5))
def test_a_save_killed_at_any_moment_leaves_a_model(
    saved: Path, small_fitted: MIMModel, moment: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    wider, calls = make_wider(), iter(range(9))

    def until(function: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            if next(calls) == moment:
                raise KilledError
            return function(*args, **options)

        return call

    with monkeypatch.context() as patch:
        # the seals and the places; a process that is killed removes nothing
        patch.setattr(os, "fsync", until(os.fsync))
        patch.setattr(Path, "replace", until(Path.replace))
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        with pytest.raises(KilledError):
            wider.save(saved)
    loaded = MIMModel.load(saved)
    expected = small_fitted if loaded.network_options["hidden_channels"] == (4, 3) else wider
    assert torch.equal(weights(loaded), weights(expected))
    wider.save(saved)
    assert torch.equal(weights(MIMModel.load(saved)), weights(wider))
    assert sorted(file.name for file in saved.parent.iterdir()) == NAMES


def test_a_model_without_weights_does_not_keep_those_of_another(saved: Path) -> None:
    make_model().save(saved)
    assert not MIMModel.load(saved).model_created
    assert [file.name for file in saved.parent.iterdir()] == NAMES[:1]


# --- nothing that is loaded runs code -----------------------------------------------------------


class Planted:
    """Makes a folder when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("planted",)


class MyLoss(nn.Module):
    """A loss that is not registered with Darts."""

    def forward(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return (one - other).abs().mean()


def test_the_best_epoch_of_a_run_is_loaded_without_running_code(tmp_path: Path) -> None:
    series = make_series()
    model = make_model(
        save_checkpoints=True, model_name="run", work_dir=str(tmp_path), loss_fn=MyLoss()
    )
    model.fit(series, val_series=series, load_best=True)
    [best] = (tmp_path / "run" / "checkpoints").glob("best-*")
    last = next((tmp_path / "run" / "checkpoints").glob("last-*"))
    evil = best.with_name("best-of-all.ckpt")
    AtomicCheckpointIO().save_checkpoint(
        {**torch.load(best, weights_only=False), "x": Planted()}, evil
    )
    checkpoint = torch.load(last, weights_only=False)
    for state in checkpoint["callbacks"].values():
        if state.get("monitor") == "val_loss":
            state |= dict.fromkeys(("best_model_path", "kth_best_model_path"), str(evil))
            state |= dict.fromkeys(("best_model_score", "kth_value"), torch.tensor(-1.0))
            state["best_k_models"] = {str(evil): torch.tensor(-1.0)}
    AtomicCheckpointIO().save_checkpoint(checkpoint, last)
    model.load_ckpt_path = str(last)
    with safe_globals([MyLoss]), pytest.raises(Exception, match="mkdir"):
        model.fit(series, val_series=series, epochs=2, load_best=True)
    assert not Path("planted").exists()
