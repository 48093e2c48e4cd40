"""The examples run from top to bottom, as users start them."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def run(script: str, *arguments: str) -> str:
    command = [sys.executable, str(EXAMPLES / script), "--preset", "smoke", *arguments]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def check_results(folder: Path) -> None:
    """Check that figures say where they come from, and that pictures open."""
    results = json.loads((folder / "results.json").read_text())
    assert results["seed"] == 3
    assert {"command", "commit", "device", "threads", "versions"} <= set(results)
    assert str(folder) not in results["command"]
    assert results["training_seconds"] > 0
    assert set(results["figures"]) == {"MIM", "NLinear", "persistence"}
    assert list(results["figures"]["MIM"]) == [*map(str, range(1, 11)), "mean"]
    errors = pd.read_csv(folder / "errors.csv", header=[0, 1], index_col=0)
    assert errors["MSE", "MIM"]["mean"] == results["figures"]["MIM"]["mean"]["MSE"]
    for name in ("strip.png", "error_curve.png"):
        with Image.open(folder / name) as picture:
            picture.verify()
    with Image.open(folder / "forecast.gif") as animation:
        assert animation.n_frames == 20


@pytest.mark.slow
def test_the_demo_runs_and_writes_its_figures_and_pictures(tmp_path: Path) -> None:
    printed = run("bouncing_digits.py", "--output", str(tmp_path), "--seed", "3")
    assert all(name in printed for name in ("MIM", "NLinear", "persistence", "MSE", "SSIM"))
    assert "MIM's squared error is" in printed
    check_results(tmp_path)


@pytest.mark.slow
def test_moving_mnist_runs_and_a_second_call_goes_on_from_the_last_checkpoint(
    tmp_path: Path, shared_data: Path
) -> None:
    arguments = ("--digits", str(shared_data / "mnist"), "--output", str(tmp_path), "--seed", "3")
    run("moving_mnist.py", *arguments)
    check_results(tmp_path)
    figures = json.loads((tmp_path / "results.json").read_text())["figures"]
    losses = (tmp_path / "loss.csv").read_text()

    (tmp_path / "results.json").unlink()
    run("moving_mnist.py", *arguments)
    check_results(tmp_path)
    assert json.loads((tmp_path / "results.json").read_text())["figures"] == figures
    with pytest.raises(AssertionError, match="holds a run of seed 3, not 4: give another --output"):
        run("moving_mnist.py", *arguments[:-1], "4")
    assert (tmp_path / "loss.csv").read_text() == losses
