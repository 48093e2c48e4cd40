"""Darts models of grids.

Importing this package tells Darts that the classes in our saved files are safe to load, so that
``MIMModel.load`` needs no ``trusted=True``.
"""

from darts.utils.serialization import add_safe_globals

from darts_mim.grid import Grid
from darts_mim.models.covariates import CovariateLayout, InputLayout
from darts_mim.models.mim import MIMModel
from darts_mim.nn.sampling import Schedule, ScheduledSampling

__all__ = ["MIMModel"]

add_safe_globals([CovariateLayout, Grid, InputLayout, MIMModel, Schedule, ScheduledSampling])
