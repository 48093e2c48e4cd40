"""Set up the build of the site for the examples that run in it."""

import logging
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

_places: list[TemporaryDirectory[str]] = []  # of the page that is being built


def on_startup(**_: Any) -> None:
    """Draw without a display, compute on one thread, and keep notes on the hardware out of the log.

    The examples are tiny: on a busy machine, threads that wait for each other cost minutes.
    """
    os.environ["MPLBACKEND"] = "Agg"
    os.environ["OMP_NUM_THREADS"] = "1"
    for name in (
        "darts_mim",  # what adapters leave out of a file, which the page tells
        # Parent loggers would not do: Lightning and torch set their levels when they are imported.
        "pytorch_lightning.utilities.rank_zero",
        "torch.onnx._internal.exporter._registration",
    ):
        logging.getLogger(name).setLevel(logging.ERROR)
    # `mkdocs --quiet` would hide warnings, and then --strict does not count them.
    logging.getLogger("mkdocs").setLevel(logging.WARNING)


def on_page_markdown(markdown: str, **_: Any) -> None:
    """Let the examples of a page run in a folder of their own, where files may stay behind.

    It has a link to `docs`, whose records of results some pages read. The tests run them so, too.
    """
    place = TemporaryDirectory()
    Path(place.name, "docs").symlink_to(ROOT / "docs", target_is_directory=True)
    os.chdir(place.name)
    _places.append(place)


def on_page_content(html: str, **_: Any) -> None:
    """Go back when the page is made."""
    os.chdir(ROOT)
    _places.pop().cleanup()
