"""Damaged files: read as before, or refused by name; a model never forecasts anything else.

Each damage is drawn from its number, so that a failure repeats.
"""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from darts_mim import MIMModel, frames_to_series
from darts_mim.adapters import read_flow, read_video, write_video
from darts_mim.datasets import load_mnist_digits

pytestmark = pytest.mark.slow

FRAMES = np.random.default_rng(0).random((12, 1, 6, 8), dtype=np.float32)
SERIES = frames_to_series(FRAMES, start="2024-01-01", freq="h")


def damage(path: Path, seed: int) -> None:
    """Cut a file, flip some of its bits, or blank a part of it."""
    rng = np.random.default_rng(seed)
    content = bytearray(path.read_bytes())
    where = int(rng.integers(len(content)))
    kind = seed % 3
    if kind == 0:
        content = content[:where]
    elif kind == 1:
        for place in rng.integers(len(content), size=int(rng.integers(1, 5))):
            content[int(place)] ^= 1 << int(rng.integers(8))
    else:
        content[where : where + 64] = bytes(len(content[where : where + 64]))
    path.write_bytes(content)


def read_or_refuse(read: Callable[[], Any], name: str) -> Any:
    """Return the content, ``None`` where the file is refused by its name."""
    refusal: Exception
    try:
        return read()
    except (ValueError, OSError) as error:
        refusal = error
    text = "\n".join([str(refusal), *getattr(refusal, "__notes__", [])])
    assert name in text, f"the error does not name {name}: {refusal!r}"
    return None


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = MIMModel(
        3,
        2,
        hidden_channels=(4, 4),
        kernel_size=3,
        patch_size=2,
        n_epochs=1,
        random_state=0,
        pl_trainer_kwargs={
            "accelerator": "cpu",
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "max_steps": 1,
        },
    )
    path = tmp_path_factory.mktemp("saved") / "model.pt"
    model.fit(SERIES).save(str(path))
    return path


@pytest.mark.parametrize("ending", ["", ".ckpt"])
@pytest.mark.parametrize("seed", range(15))
def test_a_damaged_model_is_refused(saved: Path, tmp_path: Path, seed: int, ending: str) -> None:
    whole = MIMModel.load(str(saved)).predict(4)
    for each in saved.parent.iterdir():
        shutil.copy(each, tmp_path)
    path = tmp_path / f"model.pt{ending}"
    damage(path, seed)
    copy = str(tmp_path / "model.pt")
    forecast = read_or_refuse(lambda: MIMModel.load(copy).predict(4), "model.pt")
    assert forecast is None or forecast == whole


def write_flow(path: Path) -> None:
    flow = np.random.default_rng(0).integers(0, 99, (48, 6, 8, 2)).astype(np.float64)
    np.savez_compressed(path, flow=flow)


def write_digits(path: Path) -> None:
    header = np.array([0x803, 10_000, 28, 28], ">u4").tobytes()
    one = np.random.default_rng(0).integers(0, 255, 784, np.uint8).tobytes()
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(header + 10_000 * one)


FILES: dict[str, tuple[Callable[[Path], Any], Callable[[Path], Any]]] = {
    "clip.mkv": (lambda path: write_video(path, SERIES, fps=5), read_video),
    "flow.npz": (
        write_flow,
        lambda path: read_flow(path, start="2024-01-01", freq="h", layout="THWC"),
    ),
    "t10k-images-idx3-ubyte.gz": (
        write_digits,
        lambda path: load_mnist_digits(path.parent, "test"),
    ),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("seed", range(12))
def test_a_damaged_file_is_read_or_refused_by_name(name: str, seed: int, tmp_path: Path) -> None:
    write, read = FILES[name]
    path = tmp_path / name
    write(path)
    read(path)
    damage(path, seed)
    read_or_refuse(lambda: read(path), name)
