"""Darts models of grids.

Importing this package tells Darts that the classes in our saved files are safe to load, so that
``MIMModel.load`` needs no ``trusted=True``.
"""

from darts.utils.serialization import add_safe_globals

from darts_mim.grid import Grid
from darts_mim.models.convlstm import ConvLSTMModel
from darts_mim.models.covariates import CovariateLayout, InputLayout
from darts_mim.models.mim import MIMModel
from darts_mim.models.predrnn import PredRNNModel
from darts_mim.models.predrnn_plus_plus import PredRNNPlusPlusModel
from darts_mim.models.st_resnet import STResNetModel
from darts_mim.nn.sampling import Schedule, ScheduledSampling

__all__ = ["ConvLSTMModel", "MIMModel", "PredRNNModel", "PredRNNPlusPlusModel", "STResNetModel"]

add_safe_globals(
    [
        ConvLSTMModel,
        CovariateLayout,
        Grid,
        InputLayout,
        MIMModel,
        PredRNNModel,
        PredRNNPlusPlusModel,
        STResNetModel,
        Schedule,
        ScheduledSampling,
    ]
)
