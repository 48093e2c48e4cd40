"""The built site, which `make docs` leaves in `site/`."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def site() -> Path:
    folder = ROOT / "site"
    if not (folder / "index.html").is_file():
        pytest.skip(f"no site at {folder}; build it with `make docs`")
    return folder
