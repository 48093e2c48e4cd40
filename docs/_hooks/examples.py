"""Set up the build of the site for the examples that run in it."""

import logging
import os
from typing import Any


def on_startup(**_: Any) -> None:
    """Draw without a display, compute on one thread, and keep notes on the hardware out of the log.

    The examples are tiny: on a busy machine, threads that wait for each other cost minutes.
    """
    os.environ["MPLBACKEND"] = "Agg"
    os.environ["OMP_NUM_THREADS"] = "1"
    # The parent logger would not do: Lightning sets its level when it is imported.
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.ERROR)
    # `mkdocs --quiet` would hide warnings, and then --strict does not count them.
    logging.getLogger("mkdocs").setLevel(logging.WARNING)
