"""Pixels to intensities: orientation, colours, sizes.

Letters for shapes: C channels, H height (rows), W width (columns).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from PIL import Image

from darts_mim.checks import checked_integer

_MOST_BITS = 16
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


def checked_frame_size(size: Any) -> tuple[int, int] | None:
    """Return the rows and columns that frames are to have.

    Examples
    --------
    >>> checked_frame_size(64), checked_frame_size((48, 64)), checked_frame_size(None)
    ((64, 64), (48, 64), None)
    """
    if size is None:
        return None
    if not isinstance(size, tuple | list):
        size = (size, size)
    if len(size) != 2:
        raise ValueError(
            f"`size` must be (height, width) or one integer for a square, got {size!r}; pass for "
            "example (48, 64)"
        )
    return checked_integer("size[0]", size[0]), checked_integer("size[1]", size[1])


def checked_float_type(dtype: DTypeLike) -> np.dtype[Any]:
    """Return the floating type that intensities are to have."""
    # NumPy takes None for float64
    native = None if dtype is None else np.dtype(dtype).newbyteorder("=")
    if native not in (np.float32, np.float64):
        raise TypeError(
            f"`dtype` must be one of the types that series hold, got {dtype!r}; pass np.float32 or "
            "np.float64"
        )
    return np.dtype(native)


def decoded_pixels(frame: Any, reformatter: Any, grey: bool, source: str) -> NDArray[Any]:
    """Return the pixels of a frame of PyAV, as it is to be looked at.

    Grey is the luma of the clip itself, Y, which most clips store beside two differences of
    colour; of red, green and blue it is 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), the weights
    that Pillow takes too. Both are brought to the full range of the integers.

    Parameters
    ----------
    frame
        The frame.
    reformatter
        PyAV's converter of frames. It remembers its tables: one for a clip is several times faster
        than one for each frame.
    grey
        Whether to return one channel where there are three.
    source
        Name of the frame, for messages.

    Returns
    -------
    array
        Of uint8, or of uint16 for more than 8 bits, and of shape (H, W, C), C = 1 or 3.

    Raises
    ------
    ValueError
        If the frame is transparent, turned by other than right angles, or of floats.
    """
    parts = frame.format.components
    bits = max(part.bits for part in parts)
    if bits > _MOST_BITS:
        raise ValueError(
            f"`path`: {source} has {bits} bits a channel, in the format {frame.format.name}; "
            f"expected at most {_MOST_BITS}; convert the clip"
        )
    if frame.format.has_palette or any(part.is_alpha for part in parts):
        in_rgba = reformatter.reformat(frame, format="rgba64le" if bits > 8 else "rgba")
        check_opaque(in_rgba.to_ndarray()[..., 3], source)
    colours = sum(not part.is_alpha for part in parts)
    is_rgb = frame.format.is_rgb or frame.format.has_palette
    if (grey or colours == 1) and not is_rgb:
        in_grey = reformatter.reformat(frame, format="gray16le" if bits > 8 else "gray")
        pixels = in_grey.to_ndarray()[..., np.newaxis]
    else:
        in_rgb = reformatter.reformat(frame, format="rgb48le" if bits > 8 else "rgb24")
        pixels = in_rgb.to_ndarray()
        if grey:  # FFmpeg's own way from 16 bits is off by some thousandths
            pixels = np.rint(pixels @ _LUMA).astype(pixels.dtype)[..., np.newaxis]
    return _turned(pixels, *_display_matrix(frame), source)


def check_opaque(alpha: NDArray[Any], source: str) -> None:
    """Raise if pixels are transparent: what would lie behind them is not known."""
    opaque = np.iinfo(alpha.dtype).max
    if (alpha < opaque).any():
        raise ValueError(
            f"`path`: {source} must be opaque, got {(alpha < opaque).mean():.1%} of its pixels "
            "transparent; paint it on a background first"
        )


def intensities(
    pixels: NDArray[Any], size: tuple[int, int] | None, dtype: np.dtype[Any], peak: int
) -> NDArray[np.floating[Any]]:
    """Return pixels as intensities in [0, 1].

    Frames are resized as floats, linearly, over all pixels that a new one covers (Pillow's
    "bilinear" filter): shrinking averages rather than leaves out, and no value goes beyond those
    around it.

    Parameters
    ----------
    pixels
        Integers of shape (H, W, C).
    size
        Rows and columns to make; None keeps them.
    dtype
        Floating type of the result.
    peak
        The integer that stands for 1.

    Returns
    -------
    array
        Of shape (C, H, W).
    """
    h, w, c = pixels.shape
    frame = np.empty((c, h, w), dtype)
    np.divide(np.moveaxis(pixels, -1, 0), dtype.type(peak), out=frame)
    return frame if size in (None, (h, w)) else _resized(frame, size)


def _resized(frame: NDArray[Any], size: Any) -> NDArray[Any]:
    h, w = size
    small = np.empty((len(frame), h, w), frame.dtype)
    for channel, plane in zip(small, frame, strict=True):
        picture = Image.fromarray(plane.astype(np.float32, copy=False))
        channel[:] = picture.resize((w, h), Image.Resampling.BILINEAR)
    # the filter's weights add up to 1 but for rounding
    return np.clip(small, 0.0, 1.0, out=small)


def _display_matrix(frame: Any) -> tuple[int, int, int, int]:
    """Return a, b, c, d of the matrix that takes (x, y) to (a x + c y, b x + d y).

    Only their signs matter, and which of them are zero.
    """
    try:
        data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:
        # PyAV gives up on data that it does not know, such as those of cameras, and then tells the
        # angle alone
        turned = {0: (1, 0, 0, 1), 90: (0, -1, 1, 0), 180: (-1, 0, 0, -1), 270: (0, 1, -1, 0)}
        return turned.get(frame.rotation % 360, (1, 1, -1, 1))
    if data is None:
        return 1, 0, 0, 1
    a, b, _, c, d = np.frombuffer(data, np.int32)[:5].tolist()
    return a, b, c, d


def _turned(pixels: NDArray[Any], a: int, b: int, c: int, d: int, source: str) -> NDArray[Any]:
    """Turn and mirror pixels (H, W, C) as a display matrix says."""
    if a == d == 0 and b and c:
        pixels = pixels.swapaxes(0, 1)
        rows, columns = b, c
    elif b == c == 0 and a and d:
        rows, columns = d, a
    else:
        raise ValueError(
            f"`path`: {source} must be shown upright, mirrored or turned by right angles, got the "
            f"display matrix {[[a, c], [b, d]]}; convert the clip, for example with "
            "`ffmpeg -i clip.mov clip.mp4`"
        )
    return pixels[:: 1 if rows > 0 else -1, :: 1 if columns > 0 else -1]
