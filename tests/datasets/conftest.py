"""Fixtures of the tests of data sets."""

from collections.abc import Iterator

import pytest

from tests.datasets.file_server import FileServer, serving


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """Serve files on this machine, whatever proxy it uses."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as started:
        yield started
