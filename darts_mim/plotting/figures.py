"""Figures: how a notebook shows them, and how they become files."""

import io
import os
from pathlib import Path

from matplotlib.figure import Figure

from darts_mim.files import whole_file


class NotebookFigure(Figure):
    """A figure that notebooks show without pyplot."""

    def _repr_png_(self) -> bytes:
        picture = io.BytesIO()
        self.savefig(picture, format="png")
        return picture.getvalue()


def save_figure(path: str | os.PathLike[str], figure: Figure, *, dpi: float = 150.0) -> Path:
    """Write a figure to a file, which appears whole or not at all; folders are made as needed.

    Parameters
    ----------
    path
        The file. Its ending chooses the format: ".png", ".pdf", ".svg" or another one that
        matplotlib writes.
    figure
        The figure.
    dpi
        Pixels per inch, above 0.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    ValueError
        If matplotlib does not know the ending.

    Examples
    --------
    >>> from darts_mim.plotting import plot_horizon_error
    >>> save_figure("curve.png", plot_horizon_error({"MIM": [1.0, 2.0]})).name
    'curve.png'
    """
    target = Path(path)
    with whole_file(target) as draft:
        figure.savefig(draft, dpi=dpi)
    return target
