"""Two processes train one model together."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

TRAIN = """
import sys
import numpy as np
import torch
from darts_mim import MIMModel, ScheduledSampling
from darts_mim.datasets import ClipTrainingDataset

rng = np.random.default_rng(0)
clips = rng.random((12, 7, 2, 5, 6), dtype=np.float32)
model = MIMModel(
    4,
    3,
    hidden_channels=(4, 3),
    kernel_size=3,
    patch_size=2,
    batch_size=3,
    n_epochs=2,
    random_state=0,
    nonstationary_unit=sys.argv[2] == "both",
    scheduled_sampling=ScheduledSampling.linear(steps=10),
    pl_trainer_kwargs={
        "accelerator": "cpu",
        "devices": 2,
        "strategy": "ddp",
        "enable_progress_bar": False,
        "enable_model_summary": False,
    },
)
model.fit_from_dataset(ClipTrainingDataset(clips, 4, 3))
module = model.model
weights = torch.cat([p.detach().flatten() for p in module.parameters()]).numpy()
np.savez(
    f"{sys.argv[1]}/{module.global_rank}.npz", weights=weights, steps=model.trainer.global_step
)
"""


@pytest.mark.slow
@pytest.mark.parametrize("units", ["both", "without MIM-N"])
def test_two_processes_end_with_the_same_weights(tmp_path: Path, units: str) -> None:
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    command = [sys.executable, str(script), str(tmp_path), units]
    answer = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=300
    )
    assert answer.returncode == 0, answer.stderr
    first, second = (np.load(tmp_path / f"{rank}.npz") for rank in range(2))
    # 12 clips shared by two processes in batches of 3: 2 steps in each of 2 epochs
    assert first["steps"] == second["steps"] == 4
    np.testing.assert_array_equal(first["weights"], second["weights"])
