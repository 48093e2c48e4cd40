"""Files that appear whole or not at all."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from matplotlib.figure import Figure


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
    ValueError
        If matplotlib does not know the ending.

    Examples
    --------
    >>> from darts_mim.plotting import plot_error_curve
    >>> save_figure("curve.png", plot_error_curve({"MIM": [1.0, 2.0]})).name
    'curve.png'
    """
    target = Path(path)
    formats = sorted(figure.canvas.get_supported_filetypes())
    if target.suffix.lower().removeprefix(".") not in formats:
        raise ValueError(
            f"`path` must end in one of {', '.join(formats)}, got {str(path)!r}; use .png for "
            f"pixels or .pdf for print"
        )
    with whole_file(target) as draft:
        figure.savefig(draft, dpi=dpi)
    return target


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Give a draft beside `target` that replaces it when all went well, and vanishes if not."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.stem}-{uuid.uuid4().hex}{target.suffix}")
    try:
        yield draft
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
