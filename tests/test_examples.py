"""The examples run from top to bottom, as users start them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import xarray as xr
from PIL import Image

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
PICTURE = re.compile(r"^picture: (\S+) \((.+)\)$", re.MULTILINE)


def start(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / script), "--preset", "smoke", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


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
    assert results["training_seconds"] > 0
    figures = results["figures"]
    assert set(figures) == models
    for rows in figures.values():
        assert list(rows) == [*map(str, range(1, horizon + 1)), "mean"]
    errors = pd.read_csv(folder / "errors.csv", header=[0, 1], index_col=0)
    for metric, error in figures["MIM"]["mean"].items():
        assert errors[metric, "MIM"]["mean"] == error
    assert len(pd.read_csv(folder / "loss.csv")) > 0
    return figures


def check_pictures(printed: str, *names: str) -> None:
    """Check that a script said what it drew, that this says what it shows, and that it opens."""
    found = PICTURE.findall(printed)
    assert [Path(path).name for path, _ in found] == list(names)
    for path, _ in found:
        with Image.open(path) as picture:
            assert picture.width > 300
            if path.endswith(".gif"):
                assert picture.n_frames > 10
                assert Path(path).stat().st_size < 1e6


@pytest.mark.slow
def test_the_demo_runs_and_writes_its_figures_and_pictures(tmp_path: Path) -> None:
    printed = run("bouncing_digits.py", "--output", str(tmp_path), "--seed", "3")
    assert all(name in printed for name in ("MIM", "NLinear", "persistence", "MSE", "SSIM"))
    assert "MIM's squared error is" in printed
    check_results(tmp_path, {"MIM", "NLinear", "persistence"}, horizon=10)
    for name in ("strip.png", "error_curve.png", "forecast.gif"):
        with Image.open(tmp_path / name) as picture:
            assert picture.width > 300


@pytest.mark.slow
def test_moving_mnist_runs_and_a_second_call_goes_on_from_the_last_checkpoint(
    tmp_path: Path,
) -> None:
    arguments = ("--digits", "bundled", "--output", str(tmp_path), "--seed", "3")
    printed = run("moving_mnist.py", *arguments)
    check_pictures(printed, "error_curve.png", "strip.png", "forecast.gif")
    models = {"MIM", "NLinear", "persistence"}
    figures = check_results(tmp_path, models, horizon=10, data="bundled")
    losses = (tmp_path / "loss.csv").read_text()

    (tmp_path / "results.json").unlink()
    assert "going on from the last checkpoint" in run("moving_mnist.py", *arguments)
    assert check_results(tmp_path, models, horizon=10, data="bundled") == figures
    with pytest.raises(AssertionError, match="holds a run of seed 3, not 4: give another --output"):
        run("moving_mnist.py", *arguments[:-1], "4")
    assert (tmp_path / "loss.csv").read_text() == losses


@pytest.mark.slow
def test_moving_mnist_reads_mnist(tmp_path: Path, shared_data: Path) -> None:
    digits = str(shared_data / "mnist")
    run("moving_mnist.py", "--digits", digits, "--output", str(tmp_path), "--seed", "3")
    models = {"MIM", "NLinear", "persistence"}
    check_results(tmp_path, models, horizon=10, data="path/to/mnist")


@pytest.mark.slow
@pytest.mark.parametrize("data", ["stand-in", "weizmann"])
def test_human_actions_runs_on_clips_of_other_people(
    tmp_path: Path, request: pytest.FixtureRequest, data: str
) -> None:
    given, said = find(request, data)
    printed = run("human_actions.py", "--data", given, "--output", str(tmp_path), "--seed", "3")
    check_results(tmp_path, {"MIM", "persistence", "mean"}, horizon=20, data=said)
    check_pictures(printed, "error_curve.png", "strip.png", "forecast.gif")
    assert ("test: daria, denis" if data == "weizmann" else "test: ada, ben") in printed


@pytest.mark.slow
@pytest.mark.parametrize("data", ["stand-in", "nyc_taxi_bike/NYTaxi"])
def test_traffic_flow_compares_with_the_average_of_the_week(
    tmp_path: Path, request: pytest.FixtureRequest, data: str
) -> None:
    given, said = find(request, data)
    printed = run("traffic_flow.py", "--data", given, "--output", str(tmp_path), "--seed", "3")
    simple = {"persistence", "last week", "historical average", "average, shifted"}
    models = {"MIM", *simple}
    figures = check_results(tmp_path, models, horizon=4, data=said)
    assert set(figures["MIM"]["mean"]) == {"MSE", "MAE", "RMSE"}
    check_pictures(printed, "error_curve.png", "strip.png", "forecast.gif")


@pytest.mark.slow
@pytest.mark.parametrize("data", ["stand-in", "sst/sst.mnmean.nc"])
def test_the_sea_goes_from_netcdf_to_an_uncertain_forecast_in_netcdf(
    tmp_path: Path, request: pytest.FixtureRequest, data: str
) -> None:
    given, said = find(request, data)
    script = "sea_surface_temperature.py"
    printed = run(script, "--data", given, "--output", str(tmp_path), "--seed", "3")
    models = {"MIM", "persistence", "climatology"}
    check_results(tmp_path, models, horizon=6, data=said)
    check_pictures(printed, "error_curve.png", "uncertainty.png", "strip.png")
    with xr.open_dataarray(tmp_path / "forecast.nc") as forecast:
        assert forecast.name == "sst"
        assert forecast.attrs["units"] == "degC"
        assert forecast.sizes["time"] == 6
        assert list(forecast["quantile"]) == [0.1, 0.5, 0.9]
        land = forecast.isnull().all(["quantile", "time"])
        assert (forecast.isnull() == land).all()
        assert 0 < land.mean() < 0.3
        assert (forecast["lat"].diff("lat") < 0).all()


@pytest.mark.slow
def test_an_ordinary_multivariate_series_is_forecast_beside_other_models(tmp_path: Path) -> None:
    printed = run("multivariate.py", "--output", str(tmp_path), "--seed", "3")
    models = {"MIM", "NLinear", "LSTM", "regression", "last year", "persistence"}
    check_results(tmp_path, models, horizon=12)
    curves = ("error_of_carbon_dioxide.png", "error_of_sea_temperature.png")
    check_pictures(printed, *curves, "forecast.png")


@pytest.mark.slow
def test_a_network_of_ones_own_stands_beside_mim(tmp_path: Path) -> None:
    printed = run("custom_network.py", "--output", str(tmp_path), "--seed", "3")
    check_results(tmp_path, {"ConvLSTM", "MIM", "persistence"}, horizon=6)
    check_pictures(printed, "error_curve.png", "strip.png")
    assert "the same: True" in printed


@pytest.mark.parametrize(
    ("script", "remedies"),
    [
        ("moving_mnist.py", ["--digits PATH", "holds mnist", "--digits bundled"]),
        ("human_actions.py", ["--data PATH", "holds weizmann", "--data stand-in"]),
    ],
)
def test_without_data_a_script_says_where_it_looked_and_what_to_do(
    tmp_path: Path, script: str, remedies: list[str]
) -> None:
    answer = start(script, "--output", str(tmp_path / "out"), DARTS_MIM_DATA=str(tmp_path))
    assert answer.returncode == 1
    for words in (f"no data at {tmp_path}", "DARTS_MIM_DATA", *remedies):
        assert words in answer.stderr
    assert not (tmp_path / "out").exists()


def find(request: pytest.FixtureRequest, data: str) -> tuple[str, str]:
    """Return what to give for data, and what the record says of them."""
    if data == "stand-in":
        return data, data
    path = request.getfixturevalue("shared_data") / data
    return str(path), f"path/to/{path.name}"
