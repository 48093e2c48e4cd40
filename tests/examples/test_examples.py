"""The examples run from top to bottom, as users start them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from PIL import Image

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(script: str, *arguments: str) -> str:
    """Run a script in the working folder, which is a temporary one; return what it printed."""
    command = [sys.executable, str(EXAMPLES / script), *arguments, "--quick"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def check_pictures(name: str, count: int) -> None:
    paths = [*Path("out", name).glob("*.png"), *Path("out", name).glob("*.gif")]
    assert len(paths) == count
    for path in paths:
        with Image.open(path) as picture:
            assert picture.width > 300


@pytest.mark.slow
def test_the_demo_compares_with_two_baselines() -> None:
    printed = run("bouncing_digits.py")
    for name in ("MIM", "NLinear", "persistence"):
        assert f"\n{name} {{'MSE': " in "\n" + printed
    assert "MIM's squared error is 0." in printed
    check_pictures("bouncing_digits", 3)


@pytest.mark.slow
@pytest.mark.parametrize("has_data", [False, True])
def test_the_sea_goes_from_netcdf_to_quantiles_in_netcdf(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, has_data: bool
) -> None:
    if has_data:
        path = request.getfixturevalue("shared_data") / "sst" / "sst.mnmean.nc"
    else:
        monkeypatch.syspath_prepend(EXAMPLES / "paper")
        import stand_ins

        path = stand_ins.write_sea_surface(Path("stand-in.nc"))
    printed = run("sea_surface_temperature.py", str(path))
    for name in ("MIM", "persistence", "climatology"):
        assert f"{name}: RMSE [" in printed
    check_pictures("sea_surface_temperature", 3)
    with xr.open_dataarray("out/sea_surface_temperature/forecast.nc") as forecast:
        assert forecast.name == "sst"
        assert forecast.attrs["units"] == "degC"
        assert forecast.sizes["time"] == 6
        assert list(forecast["quantile"]) == [0.1, 0.5, 0.9]
        assert (np.diff(forecast["lat"]) < 0).all()
        missing = forecast.isnull().mean(["quantile", "time"])
        assert set(np.unique(missing)) == {0.0, 1.0}  # land, at all times
        assert 0 < missing.mean() < 0.3


@pytest.mark.slow
def test_city_flows_stand_beside_baselines(shared_data: Path) -> None:
    printed = run("city_flow.py", str(shared_data / "nyc_taxi_bike"), "NYBike")
    for name in ("ConvLSTM", "last frame", "last week", "usual", "boosted trees"):
        assert f"\n{name:15} RMSE [" in printed
    assert "inside the 80 % interval: " in printed
    assert "least quantile: 0.0" in printed
    check_pictures("city_flow", 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "said", "pictures"),
    [
        ("multivariate.py", ["MIM", "NLinear", "regression", "last year", "persistence"], 3),
        ("custom_network.py", ["ConvLSTM", "MIM", "persistence", "the same: True"], 2),
    ],
)
def test_an_example_prints_its_comparison(script: str, said: list[str], pictures: int) -> None:
    printed = run(script)
    assert all(words in printed for words in said)
    check_pictures(script.removesuffix(".py"), pictures)


def test_an_example_imports_no_other_file_of_the_repository() -> None:
    names = {path.stem for path in EXAMPLES.rglob("*.py")}
    for path in EXAMPLES.glob("*.py"):
        lines = path.read_text().splitlines()
        imported = {
            line.split()[1].split(".")[0] for line in lines if line[:5] in ("from ", "impor")
        }
        assert not imported & names
        code = [line for line in lines if line and not line.startswith("#")]
        assert len(code) <= 150
