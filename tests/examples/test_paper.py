"""The paper's experiments run from top to bottom, as users start them."""

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "paper"


def start(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / script), "--preset", "smoke", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def run(script: str, *arguments: str) -> str:
    answer = start(script, *arguments)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def check_results(
    folder: Path, models: set[str], horizon: int, data: str | None = None
) -> dict[str, dict[str, dict[str, float]]]:
    """Check that figures say where they come from, and that pictures open; return the figures."""
    results = json.loads((folder / "results.json").read_text())
    assert results["seed"] == 3
    assert {"command", "commit", "device", "threads", "versions", "preset"} <= set(results)
    assert str(folder) not in results["command"]
    assert results.get("data") == data
    figures = results["figures"]
    assert set(figures) == models
    for rows in figures.values():
        assert list(rows) == [*map(str, range(1, horizon + 1)), "mean"]
    errors = pd.read_csv(folder / "errors.csv", header=[0, 1], index_col=0)
    for metric, error in figures["MIM"]["mean"].items():
        assert errors[metric, "MIM"]["mean"] == error
    check_training(folder, results)
    return figures


def check_training(folder: Path, results: dict[str, Any]) -> None:
    """Check that each model that was trained says how long and how large it is."""
    for name, record in results["training"].items():
        assert record["seconds"] > 0
        assert record["parameters"] > 1000
        assert record["steps"] == results["preset"]["steps"]
        losses = pd.read_csv(folder / name.lower() / "loss.csv")
        assert losses["loss"].iloc[-1] == record["last_loss"]
    table = (folder / "table.md").read_text()
    assert all(f"\n| {name} | " in table for name in results["figures"])


def check_pictures(folder: Path, *names: str) -> None:
    """Check that a script wrote pictures, and that they open."""
    for name in names:
        with Image.open(folder / name) as picture:
            assert picture.width > 300
            if name.endswith(".gif"):
                assert picture.n_frames > 10
                assert (folder / name).stat().st_size < 1e6


@pytest.mark.slow
def test_moving_mnist_goes_on_where_it_was_killed_and_ends_as_if_it_had_not_been(
    tmp_path: Path,
) -> None:
    options = ("--digits", "bundled", "--seed", "3")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run("moving_mnist.py", *options, "--output", str(whole))
    names = ("mse_by_frame.png", "ssim_by_frame.png", "strip.png", "forecast.gif")
    check_pictures(whole, *names)
    models = {"MIM", "ConvLSTM", "persistence"}
    figures = check_results(whole, models, horizon=10, data="bundled")
    assert "| PredRNN | 56.8 | 126.1 | 0.867 |" in (whole / "table.md").read_text()

    options += ("--output", str(killed))
    kill_at(r"ConvLSTM: step 4 of 8, loss [\d.]+, \d+ s left", "moving_mnist.py", *options)
    assert not (killed / "results.json").exists()
    printed = run("moving_mnist.py", *options)
    assert "ConvLSTM: step 8 of 8" in printed
    assert "MIM: going on from the last checkpoint, step 8" in printed
    assert "MIM: step" not in printed  # it is not trained again
    assert check_results(killed, models, horizon=10, data="bundled") == figures

    answer = start("moving_mnist.py", *options, "--seed", "4")
    assert "holds a run of seed 3, not 4: give another --output" in answer.stderr


def kill_at(line: str, script: str, *arguments: str) -> None:
    """Start a script, and kill it when it prints a line."""
    command = [sys.executable, "-u", str(EXAMPLES / script), "--preset", "smoke", *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        for printed in process.stdout or ():
            if re.match(line, printed):
                process.kill()
    assert process.returncode == -9


@pytest.mark.slow
def test_moving_mnist_reads_mnist_and_accelerates(tmp_path: Path, shared_data: Path) -> None:
    digits = ("--digits", str(shared_data / "mnist"), "--dataset", "accelerated")
    options = ("--output", str(tmp_path), "--seed", "3", "--models", "mim")
    run("moving_mnist.py", *digits, *options)
    check_results(tmp_path, {"MIM", "persistence"}, horizon=10, data="path/to/mnist")
    assert "Published" not in (tmp_path / "table.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dataset", "data"), [("weizmann", "stand-in"), ("weizmann", "weizmann"), ("kth", "kth")]
)
def test_kth_tests_on_other_people_and_on_windows_of_two_kinds(
    tmp_path: Path, request: pytest.FixtureRequest, dataset: str, data: str
) -> None:
    given, said = find(request, data)
    options = ("--dataset", dataset, "--data", given, "--output", str(tmp_path), "--seed", "3")
    printed = run("kth.py", *options, "--models", "mim")
    figures = check_results(tmp_path, {"MIM", "persistence"}, horizon=20, data=said)
    assert set(figures["MIM"]["mean"]) == {"PSNR", "SSIM"}
    names = ("psnr_by_frame.png", "ssim_by_frame.png", "gates.png", "strip.png", "forecast.gif")
    check_pictures(tmp_path, *names)
    assert "MIM keeps more than 0.9 of its memory, by layer:" in printed
    for subset in ("stationary", "nonstationary"):
        table = pd.read_csv(tmp_path / f"errors_{subset}.csv", header=[0, 1], index_col=0)
        assert table["SSIM", "MIM"]["mean"] <= 1.0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dataset", "data"),
    [
        ("nyc-taxi", "stand-in"),
        ("nyc-taxi", "nyc_taxi_bike/NYTaxi"),
        ("taxinyc", "taxinyc_h5"),
    ],
)
def test_taxibj_compares_with_the_average_of_the_week(
    tmp_path: Path, request: pytest.FixtureRequest, dataset: str, data: str
) -> None:
    given, said = find(request, data)
    options = ("--dataset", dataset, "--data", given, "--output", str(tmp_path), "--seed", "3")
    run("taxibj.py", *options)
    simple = {"persistence", "last week", "historical average"}
    figures = check_results(tmp_path, {"MIM", "ST-ResNet", *simple}, horizon=4, data=said)
    assert set(figures["MIM"]["mean"]) == {"MSE", "MAE", "RMSE"}
    assert (
        "| ST-ResNet | 0.688 | 0.939 | 1.13 | 1.288 |" in (tmp_path / "table_scaled.md").read_text()
    )
    check_pictures(tmp_path, "rmse_by_frame.png", "strip.png", "forecast.gif")


@pytest.mark.parametrize(
    ("script", "remedies"),
    [
        ("moving_mnist.py", ["--digits PATH", "holds mnist", "--digits bundled"]),
        ("kth.py", ["--data PATH", "holds kth", "--data stand-in"]),
        ("taxibj.py", ["--data PATH", "holds taxibj", "--data stand-in"]),
    ],
)
def test_without_data_a_script_says_where_it_looked_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, remedies: list[str]
) -> None:
    monkeypatch.setenv("DARTS_MIM_DATA", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [script, "--output", str(tmp_path / "out")])
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    with pytest.raises(SystemExit) as refused:
        runpy.run_path(str(EXAMPLES / script), run_name="__main__")
    for words in (f"no data at {tmp_path}", "DARTS_MIM_DATA", *remedies):
        assert words in str(refused.value)
    assert not (tmp_path / "out").exists()


def find(request: pytest.FixtureRequest, data: str) -> tuple[str, str]:
    """Return what to give for data, and what the record says of them."""
    if data == "stand-in":
        return data, data
    path = request.getfixturevalue("shared_data") / data
    return str(path), f"path/to/{path.name}"
