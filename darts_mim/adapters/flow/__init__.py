"""Traffic flow on a grid: arrays with timestamps, and files, to series and back."""

from darts_mim.adapters.flow.files import read_flow
from darts_mim.adapters.flow.series import from_flow, to_flow

__all__ = ["from_flow", "read_flow", "to_flow"]
