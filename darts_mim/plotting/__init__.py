"""Pictures of forecasts: strips of frames, error curves, animations.

Series come in, figures go out. The figures are ``matplotlib.figure.Figure`` objects of their
own, outside pyplot: nothing opens a window, nothing has to be closed, and a notebook shows them.
"""

from darts_mim.plotting.animation import save_animation
from darts_mim.plotting.curve import plot_error_curve
from darts_mim.plotting.files import save_figure
from darts_mim.plotting.strip import plot_strip

__all__ = ["plot_error_curve", "plot_strip", "save_animation", "save_figure"]
