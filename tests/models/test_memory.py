"""A series that maps a file larger than the memory there is.

A process of its own works on it under a limit on the memory that it may allocate. The limit counts
what a process writes to, not the pages of a file that it maps to read.
"""

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the limit counts what Linux counts"),
]

LENGTH, FRAME, MIB = 8192, (2, 64, 96), 2**20  # 384 MiB of float32
BOUND = 96 * MIB
STEPS = (
    "fit",
    "predict",
    "historical_forecasts",
    "stream_backtest",
    "save",
    "load",
    "predict_again",
)

SCRIPT = """
import gc, json, re, resource, sys
from pathlib import Path
import numpy as np
import torch
from darts_mim import MIMModel, frame_mse, frames_to_series
from darts_mim.backtesting import stream_backtest

torch.set_num_threads(1)
archive, bound = Path(sys.argv[1]), int(sys.argv[2])
trainer = {"limit_train_batches": 2, "limit_val_batches": 2, "enable_progress_bar": False}
quiet = {"enable_model_summary": False, "accelerator": "cpu"}
network = {"hidden_channels": (4, 3), "kernel_size": 3, "patch_size": 8}
windows = {"forecast_horizon": 8, "retrain": False, "last_points_only": False}

def work(frames, n_windows):
    # a fifth of the frames for validation and backtests: slices of the map, not of a series
    split = len(frames) * 4 // 5
    train, val = frames_to_series(frames[:split]), frames_to_series(frames[split:])
    start = len(val) - n_windows - 7
    model = MIMModel(
        4, 4, **network, batch_size=6, n_epochs=1, random_state=0,
        pl_trainer_kwargs={**trainer, **quiet},
    )
    path = str(archive.with_name("model.pt"))
    yield "fit", lambda: model.fit(train, val_series=val)
    yield "predict", lambda: model.predict(20)
    yield "historical_forecasts", lambda: model.historical_forecasts(
        val, start=start, stride=5, **windows
    )
    yield "stream_backtest", lambda: stream_backtest(
        model, val, start=start, metric=frame_mse, windows_per_part=24, **windows
    )
    yield "save", lambda: model.save(path)
    yield "load", lambda: MIMModel.load(path)
    yield "predict_again", lambda: MIMModel.load(path).predict(20)
    yield "backtest", lambda: model.backtest(val, start=start, metric=frame_mse, **windows)
    yield "copy", lambda: np.array(frames)

# what is imported late, and a network's own memory, are no part of what is measured
few = np.zeros((100, *np.load(archive, mmap_mode="r").shape[1:]), dtype=np.float32)
for _, step in work(few, 5):
    step()
gc.collect()
data = int(re.search(r"VmData:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (data + bound,) * 2)
outcomes = {}
for name, step in work(np.load(archive, mmap_mode="r"), 200):
    try:
        step()
        outcomes[name] = "done"
    except (MemoryError, RuntimeError) as error:
        outcomes[name] = f"{type(error).__name__}: {error}"  # numpy's repr keeps its words back
print(json.dumps(outcomes))
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("archive")
    path = folder / "frames.npy"
    frames = np.lib.format.open_memmap(path, "w+", np.float32, (LENGTH, *FRAME))
    for first in range(0, LENGTH, 512):  # holes of zeros between: fast, and small on the disk
        frames[first : first + 16] = np.random.default_rng(first).random((16, *FRAME))
    del frames
    command = [sys.executable, "-c", SCRIPT, str(path), str(BOUND)]
    answer = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=folder, timeout=300
    )
    path.unlink()
    assert answer.returncode == 0, answer.stderr
    saved = sum(file.stat().st_size for file in folder.glob("model.pt*"))
    return {**json.loads(answer.stdout), "bytes saved": saved}


@pytest.mark.parametrize("step", STEPS)
def test_an_archive_four_times_the_memory_is_no_hindrance(
    outcomes: dict[str, Any], step: str
) -> None:
    assert outcomes[step] == "done"


def test_a_saved_model_holds_one_input_of_the_archive(outcomes: dict[str, Any]) -> None:
    assert outcomes["bytes saved"] < 4 * MIB


def test_the_limit_stops_a_copy_of_the_archive(outcomes: dict[str, Any]) -> None:
    assert "MemoryError" in outcomes["copy"]


def test_the_limit_stops_a_backtest_that_holds_its_forecasts(outcomes: dict[str, Any]) -> None:
    assert "allocate" in outcomes["backtest"]
