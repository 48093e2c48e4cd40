"""Figures: how a notebook shows them, and how they become files."""

import io
import os
from pathlib import Path

from matplotlib.figure import Figure

from darts_mim.files import whole_file


class NotebookFigure(Figure):
    """A figure that a notebook shows, whether or not pyplot has set it up to show figures."""

    def _repr_png_(self) -> bytes:
        picture = io.BytesIO()
        self.savefig(picture, format="png")
        return picture.getvalue()


def save_figure(path: str | os.PathLike[str], figure: Figure, *, dpi: float = 150.0) -> Path:
    """Write a figure. The file appears whole or not at all; folders are made as needed.

    Parameters
    ----------
    path
        Where to write. The ending chooses the format: ".png", ".pdf", ".svg" and what else
        matplotlib knows.
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
    TypeError
        If `figure` is no figure.
    ValueError
        If matplotlib does not know the ending.

    Examples
    --------
    >>> from darts_mim.plotting import plot_horizon_error
    >>> save_figure("curve.png", plot_horizon_error({"MIM": [1.0, 2.0]})).name
    'curve.png'
    """
    target = Path(path)
    if not isinstance(figure, Figure):
        raise TypeError(
            f"`figure` must be a figure, got {type(figure).__name__}; pass for example what "
            "`plot_frames` returns"
        )
    formats = sorted(figure.canvas.get_supported_filetypes())
    if target.suffix.lower().removeprefix(".") not in formats:
        raise ValueError(
            f"`path` must end in one of {', '.join(formats)}, got {str(path)!r}; use .png for "
            f"pixels or .pdf for print"
        )
    with whole_file(target) as draft:
        figure.savefig(draft, dpi=dpi)
    return target
