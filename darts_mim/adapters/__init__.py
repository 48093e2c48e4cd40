"""Real data in and out: xarray fields, video clips, flow grids, tables of trips.

Each adapter lies in a module of its own, which is imported when one of its functions is asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from darts_mim.adapters.flow import from_flow, read_flow, to_flow
    from darts_mim.adapters.trips import count_trips
    from darts_mim.adapters.video import read_frames, read_video, write_gif, write_video
    from darts_mim.adapters.xarray import from_xarray, to_xarray

__all__ = [
    "count_trips",
    "from_flow",
    "from_xarray",
    "read_flow",
    "read_frames",
    "read_video",
    "to_flow",
    "to_xarray",
    "write_gif",
    "write_video",
]

_MODULES = {
    "count_trips": "trips",
    "from_flow": "flow",
    "from_xarray": "xarray",
    "read_flow": "flow",
    "read_frames": "video",
    "read_video": "video",
    "to_flow": "flow",
    "to_xarray": "xarray",
    "write_gif": "video",
    "write_video": "video",
}


def __getattr__(name: str) -> Any:
    """Import an adapter when it is first asked for: most users need one of them."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
