"""The windows over which structural similarity is computed: how large, and which of them count.

Legend: T time, C channels, H height, W width.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from darts_mim.checks import checked_integer

# Sides in cells. scikit-image cuts its Gaussian of standard deviation 1.5 off at 3.5 deviations.
_WINDOW_SIZES = {"uniform": 7, "gaussian": 11}


def checked_window_size(window: str, window_size: int | None) -> int:
    """Return the side of a window in cells, or raise if the choice makes no sense."""
    if window not in _WINDOW_SIZES:
        raise ValueError(f"`window` must be 'uniform' or 'gaussian', got {window!r}")
    if window_size is None:
        return _WINDOW_SIZES[window]
    if window == "gaussian" or checked_integer("window_size", window_size, 3) % 2 == 0:
        raise ValueError(
            f"`window_size` must be odd, and of a uniform window, got {window_size} with "
            f"`window={window!r}`; pass 3, 5, 7, ..., or leave it out"
        )
    return window_size


def check_window_fits(observed: NDArray[np.bool_], size: int) -> None:
    """Raise if no window of the grid can ever be complete; `observed` is (T, C, H, W)."""
    height, width = observed.shape[-2:]
    ever = np.any(observed, axis=0)
    fits = size <= min(height, width)
    if not fits or (ever.any() and not complete_windows(ever, size).any()):
        raise ValueError(
            f"no window of {size}x{size} cells fits between the unobserved cells of the "
            f"{height}x{width} frames; pass window='uniform' with a smaller odd `window_size` of "
            "at least 3, or, for a smaller grid or a series without one, use `frame_mse`"
        )


def complete_windows(observed: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    """Find the windows without an unknown cell: (C, H, W) -> (C, H - size + 1, W - size + 1)."""
    for axis in (-2, -1):
        windows = np.lib.stride_tricks.sliding_window_view(observed, size, axis=axis)
        observed = np.all(windows, axis=-1)
    return observed
