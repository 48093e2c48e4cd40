"""The MIM of OpenSTL by itself: as a whole that package imports much that its MIM does not need.

    python -m benchmarks --parts peer --peer OpenSTL --peer-adapter benchmarks/adapters/openstl.py

``OpenSTL`` is a checkout of https://github.com/chengtan9907/OpenSTL.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from benchmarks.parts.peer import openstl_adapter

NEEDED = {
    "mim_modules": ("MIMBlock", "MIMN"),
    "predrnn_modules": ("SpatioTemporalLSTMCell",),
}
"""What the network takes from ``openstl.modules``, and where it is defined."""


def network_type() -> type:
    """Import the network, with packages around it in which nothing has run."""
    spec = find_spec("openstl")
    if spec is None or spec.origin is None:
        raise ImportError("there is no package `openstl` in the checkout")
    folder = Path(spec.origin).parent
    for name in ("openstl", "openstl.modules", "openstl.models"):
        package = ModuleType(name)
        package.__path__ = [str(folder.parent.joinpath(*name.split(".")))]
        sys.modules[name] = package
    for file, names in NEEDED.items():
        module = import_module(f"openstl.modules.{file}")
        for each in names:
            setattr(sys.modules["openstl.modules"], each, getattr(module, each))
    found: type = import_module("openstl.models.mim_model").MIM_Model
    return found


build, step = openstl_adapter(network_type())
