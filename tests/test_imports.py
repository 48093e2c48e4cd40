"""What importing the package costs, and what it can do without."""

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import darts_mim
from darts_mim import adapters
from darts_mim._optional import import_optional

HIDE = """
from importlib.machinery import PathFinder
find = PathFinder.find_spec
def find_others(name, path=None, target=None):
    return None if name.split(".")[0] in {packages!r} else find(name, path, target)
PathFinder.find_spec = find_others
"""
EXTRAS = ("datasets", "flow", "onnx", "video", "xarray")


def optional_packages():
    """Return the packages that only the extras install, which are named like their modules."""
    requirements = map(Requirement, importlib.metadata.requires("darts-mim"))
    named = [each for each in requirements if each.marker is not None]
    packages = {
        each.name for each in named for extra in EXTRAS if each.marker.evaluate({"extra": extra})
    }
    assert packages >= {"av", "cftime", "dask", "h5netcdf", "h5py", "onnx", "pooch", "zarr"}
    return sorted(packages - {"xarray"})  # Darts needs it; the extra bounds it


def test_the_package_imports_without_any_extra_and_brings_in_little_that_darts_does_not():
    names = [f"adapters.{name}" for name in ("flow", "trips", "video", "xarray")]
    names += ["datasets", "diagnostics", "plotting", "presets"]
    lines = [
        HIDE.format(packages=optional_packages()),
        "import sys, darts.models.forecasting.tide_model",
        "before = set(sys.modules)",
        "import darts_mim",
        "print(*(set(sys.modules) - before))",
        *(f"import darts_mim.{name}" for name in names),
    ]
    answer = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    added = {name.split(".")[0] for name in answer.stdout.splitlines()[-1].split()}
    assert added - {"darts"} <= {"darts_mim", "lazy_loader", "skimage", "sklearn"}


def test_all_public_names_are_there():
    for module in (darts_mim, adapters):
        for name in module.__all__:
            assert getattr(module, name) is not None
    assert set(dir(adapters)) >= set(adapters.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'from_csv'"):
        adapters.from_csv  # noqa: B018


def test_a_missing_package_names_the_extra_that_installs_it():
    with pytest.raises(ImportError, match=r"'no_such_package'.*pip install '\.\[video\]'"):
        import_optional("no_such_package", extra="video")


def test_every_extra_that_an_error_names_exists():
    package = Path(darts_mim.__file__).parent
    named = set()
    for path in package.rglob("*.py"):
        named |= set(re.findall(r"""import_optional\([^)]*?["'](\w+)["']\)""", path.read_text()))
    provided = importlib.metadata.metadata("darts-mim").get_all("Provides-Extra")
    assert named <= set(provided)
