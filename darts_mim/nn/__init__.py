"""The networks, in plain PyTorch: frames (B, T, C, H, W) in, frames out, no Darts."""

from darts_mim.nn.cells import MIMBlock, NonStationaryUnit, StationaryUnit, STLSTMCell
from darts_mim.nn.recurrent import MIMNetwork, MIMState
from darts_mim.nn.sampling import Schedule, ScheduledSampling
from darts_mim.nn.unrolling import FedFrame, Inputs, StepInputs, unroll

__all__ = [
    "FedFrame",
    "Inputs",
    "MIMBlock",
    "MIMNetwork",
    "MIMState",
    "NonStationaryUnit",
    "STLSTMCell",
    "Schedule",
    "ScheduledSampling",
    "StationaryUnit",
    "StepInputs",
    "unroll",
]
