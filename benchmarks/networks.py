"""How the networks that are measured are made, and all else that is used of `darts_mim.nn`."""

from __future__ import annotations

import multiprocessing
import sys
from importlib.util import find_spec, module_from_spec

from torch import Tensor


def _leave_models_out() -> None:
    """Let `darts_mim.nn` be imported without the models beside it, which need Darts.

    So it works where Darts is not installed; and processes that measure networks alone start in a
    third of the time.
    """
    spec = find_spec("darts_mim")
    if spec is not None and "darts_mim" not in sys.modules:
        sys.modules["darts_mim"] = module_from_spec(spec)  # a package in which nothing has run


if find_spec("darts") is None or multiprocessing.parent_process() is not None:
    _leave_models_out()

from darts_mim.nn import MIMNetwork, fast_path  # noqa: E402
from darts_mim.nn.fused import native, winograd  # noqa: E402

__all__ = ["MIMNetwork", "check_fast_path", "fast_path", "native", "winograd"]


def check_fast_path(network: MIMNetwork, context: Tensor) -> None:
    """Refuse to measure the plain path as the fast one; the log says why it was not taken."""
    if network.fast_path and fast_path.fast_path_of(network, context) is None:
        raise RuntimeError("the fast path cannot run here, and so cannot be measured")
