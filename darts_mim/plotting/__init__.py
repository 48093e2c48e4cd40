"""Pictures of forecasts: frames, errors over the horizon, uncertainty, gates, animations.

Series come in, figures go out. The figures are ``matplotlib.figure.Figure`` objects of their
own, outside pyplot: nothing opens a window, nothing has to be closed, and a notebook shows them.
"""

from darts_mim.plotting.animation import animate
from darts_mim.plotting.curves import plot_gates, plot_horizon_error
from darts_mim.plotting.figures import save_figure
from darts_mim.plotting.frames import plot_frames
from darts_mim.plotting.uncertainty import plot_uncertainty

__all__ = [
    "animate",
    "plot_frames",
    "plot_gates",
    "plot_horizon_error",
    "plot_uncertainty",
    "save_figure",
]
