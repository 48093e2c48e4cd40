"""Fixtures of the tests."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder with real data, which is no part of the repository."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("DARTS_MIM_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; name their folder in DARTS_MIM_DATA")
    return folder
