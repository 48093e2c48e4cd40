"""The networks, in plain PyTorch: frames (B, T, C, H, W) in, frames out, no Darts."""

from darts_mim.nn.cells import MIMBlock, NonStationaryUnit, StationaryUnit, STLSTMCell
from darts_mim.nn.convlstm import ConvLSTMCell, ConvLSTMNetwork, ConvLSTMState
from darts_mim.nn.mim import MIMNetwork, MIMState
from darts_mim.nn.persistence import DampedPersistence
from darts_mim.nn.predrnn import PredRNNNetwork, PredRNNState
from darts_mim.nn.predrnn_plus_plus import (
    CausalLSTMCell,
    GradientHighwayUnit,
    PredRNNPlusPlusNetwork,
    PredRNNPlusPlusState,
)
from darts_mim.nn.recurrent import RecurrentNetwork
from darts_mim.nn.residual import ExternalBranch, ResidualBranch, ResidualUnit
from darts_mim.nn.sampling import Schedule, ScheduledSampling
from darts_mim.nn.st_resnet import STResNetNetwork
from darts_mim.nn.unrolling import FedFrame, FeedBack, Inputs, StepInputs, feed_prediction, unroll

__all__ = [
    "CausalLSTMCell",
    "ConvLSTMCell",
    "ConvLSTMNetwork",
    "ConvLSTMState",
    "DampedPersistence",
    "ExternalBranch",
    "FedFrame",
    "FeedBack",
    "GradientHighwayUnit",
    "Inputs",
    "MIMBlock",
    "MIMNetwork",
    "MIMState",
    "NonStationaryUnit",
    "PredRNNNetwork",
    "PredRNNPlusPlusNetwork",
    "PredRNNPlusPlusState",
    "PredRNNState",
    "RecurrentNetwork",
    "ResidualBranch",
    "ResidualUnit",
    "STLSTMCell",
    "STResNetNetwork",
    "Schedule",
    "ScheduledSampling",
    "StationaryUnit",
    "StepInputs",
    "feed_prediction",
    "unroll",
]
