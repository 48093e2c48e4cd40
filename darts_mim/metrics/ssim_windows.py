"""The windows over which structural similarity is computed: how large, and which of them count.

Legend: T time, C channels, H height, W width.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Sides in cells. scikit-image cuts its Gaussian of standard deviation 1.5 off at 3.5 deviations.
_WINDOW_SIZES = {"uniform": 7, "gaussian": 11}


def checked_window_size(window: str, window_size: int | None) -> int:
    """Return the side of a window in cells, or raise if the choice makes no sense."""
    if window not in _WINDOW_SIZES:
        raise ValueError(
            f"`window` must be 'uniform' or 'gaussian', got {window!r}; for other windows call "
            "scikit-image's `structural_similarity` on the frames"
        )
    if window_size is None:
        return _WINDOW_SIZES[window]
    if window == "gaussian":
        raise ValueError(
            f"`window_size={window_size}` cannot be chosen with `window='gaussian'`, whose 11x11 "
            "cells follow from its standard deviation; leave it out, or pass window='uniform'"
        )
    if window_size < 3 or window_size % 2 == 0:
        raise ValueError(
            f"`window_size={window_size}` must be odd and at least 3, so that it has a centre; "
            "pass 3, 5, 7, ..."
        )
    return window_size


def check_window_fits(observed: NDArray[np.bool_], size: int) -> None:
    """Raise if no window of the grid can ever be complete; `observed` is (T, C, H, W)."""
    height, width = observed.shape[-2:]
    if size > min(height, width):
        raise ValueError(
            f"the window of {size}x{size} cells does not fit into frames of {height}x{width}; pass "
            "window='uniform' with an odd `window_size` of at least 3 that does, or, for a smaller "
            "grid or a series without one, use `frame_mse`"
        )
    ever = np.any(observed, axis=0)
    if ever.any() and not complete_windows(ever, size).any():
        raise ValueError(
            f"no window of {size}x{size} cells lies between the unobserved cells of the grid; pass "
            "window='uniform' with a smaller odd `window_size` of at least 3, or use `frame_mse`"
        )


def complete_windows(observed: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    """Find the windows without an unknown cell: (C, H, W) -> (C, H - size + 1, W - size + 1)."""
    for axis in (-2, -1):
        windows = np.lib.stride_tricks.sliding_window_view(observed, size, axis=axis)
        observed = np.all(windows, axis=-1)
    return observed


def crop_to_windows(similarity: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Leave out the windows that reach beyond the frame."""
    margin = size // 2
    return similarity[:, margin:-margin, margin:-margin]
