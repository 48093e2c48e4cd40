"""Turn decoded frames into intensities in [0, 1].

Letters for shapes: C channels, H height (rows), W width (columns).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray
from PIL import Image

from darts_mim.checks import checked_integer

_MOST_BITS = 16
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601

# Weights of red and blue in the luma, by the number of the matrix in ITU-T H.273: BT.709, SMPTE
# 240M and BT.2020. FFmpeg takes BT.601 where a clip names no matrix.
_RED_AND_BLUE = {1: (0.2126, 0.0722), 7: (0.212, 0.087), 9: (0.2627, 0.0593), 10: (0.2627, 0.0593)}
_FULL_RANGE = 2


class Look(NamedTuple):
    """How frames are to be read: rows and columns, whether as grey, and the floating type."""

    size: tuple[int, int] | None
    grey: bool
    dtype: np.dtype[Any]

    @classmethod
    def checked(cls, size: Any, grey: bool, dtype: DTypeLike) -> Look:
        """Check the arguments of a reader."""
        if np.dtype(dtype) not in (np.float32, np.float64):
            raise TypeError(f"`dtype` must be np.float32 or np.float64, got {dtype!r}")
        if size is not None:
            height, width = size if isinstance(size, tuple | list) else (size, size)
            size = checked_integer("size", height), checked_integer("size", width)
        return cls(size, grey, np.dtype(dtype).newbyteorder("="))


def intensities(frame: Any, reformatter: Any, look: Look, name: str) -> NDArray[Any]:
    """Return the intensities of a frame of PyAV, upright and resized.

    FFmpeg only brings chroma to the size of luma here, without changing the number of bits. Its
    own way to RGB is up to 3 of 255 off for 8 bits, and 0.4 % too dark for more.

    Parameters
    ----------
    frame
        The frame, of at most 16 bits a channel.
    reformatter
        PyAV's converter of frames. It keeps its tables from one frame to the next.
    look
        How to read it. Grey is the clip's own luma, or that of BT.601 if it holds RGB.
    name
        Name of the frame, for messages.

    Returns
    -------
    array
        Of shape (C, H, W), C = 1 or 3, in [0, 1].

    Raises
    ------
    ValueError
        If the frame is transparent, rotated by other than right angles, or has more than 16 bits.
    """
    held, parts = frame.format, frame.format.components
    bits = max(8, *(part.bits for part in parts))
    if bits > _MOST_BITS or frame.rotation % 90:
        raise ValueError(
            f"`path`: {name} must have at most {_MOST_BITS} bits a channel and be rotated by right "
            f"angles, got {bits} bits ({held.name}) and {frame.rotation} degrees; convert the clip"
        )

    def converted(kind: str) -> Any:
        # of several threads one may write over the edge of another's rows
        return reformatter.reformat(frame, format=kind, threads=1)

    if held.has_palette or any(part.is_alpha for part in parts):
        check_opaque(converted("rgba").to_ndarray()[..., 3], name)

    def planes(kind: str) -> NDArray[Any]:
        depth = "" if bits == 8 else f"{bits}le"
        planar = converted(kind + depth).planes
        return np.stack([_pixels(plane, bits) for plane in planar]).astype(look.dtype)

    peak = look.dtype.type(2**bits - 1)
    if held.is_rgb or held.has_palette:
        frame_in_rgb = planes("gbrp")[[2, 0, 1]] / peak
        result = luma_of(frame_in_rgb) if look.grey else frame_in_rgb
    elif sum(not part.is_alpha for part in parts) == 1:  # FFmpeg takes the full range for grey
        result = planes("gray") / peak
    else:
        is_yuvj = held.name.startswith("yuvj")  # of the full range, whatever the frame says
        unit = 2 ** (bits - 8)
        is_full = is_yuvj or frame.color_range == _FULL_RANGE
        black, span, swing = (0, peak, peak) if is_full else (16 * unit, 219 * unit, 224 * unit)
        y, cb, cr = planes("yuvj444p" if is_yuvj else "yuv444p")
        luma = (y - black) / span
        chroma = (cb - 128 * unit) / swing, (cr - 128 * unit) / swing
        result = luma[np.newaxis] if look.grey else _rgb(luma, *chroma, frame.colorspace)
    if bits == 8:  # what is read from bytes can be written as bytes, without loss
        result = np.rint(result * peak) / peak
    upright = np.rot90(result, frame.rotation // 90, axes=(1, 2))
    return resized(np.clip(upright, 0, 1), look.size)


def luma_of(rgb: NDArray[Any]) -> NDArray[Any]:
    """Return the luma (1, H, W) of red, green and blue (3, H, W)."""
    return np.tensordot(np.array([_LUMA], rgb.dtype), rgb, axes=1)


def check_opaque(alpha: NDArray[np.uint8], name: str) -> None:
    """Raise if pixels are transparent: their colour depends on a background."""
    if (alpha < 255).any():
        raise ValueError(
            f"`path`: {name} must be opaque, got {(alpha < 255).mean():.1%} of its pixels "
            "transparent; paint it on a background first"
        )


def resized(frame: NDArray[Any], size: tuple[int, int] | None) -> NDArray[Any]:
    """Resize a frame (C, H, W) linearly, averaging over all pixels that a new one covers."""
    if size is None or size == frame.shape[1:]:
        return frame
    images = [Image.fromarray(plane.astype(np.float32, copy=False)) for plane in frame]
    planes = [np.asarray(each.resize(size[::-1], Image.Resampling.BILINEAR)) for each in images]
    # the filter's weights add up to 1 but for rounding
    small: NDArray[Any] = np.clip(planes, 0, 1, dtype=frame.dtype)
    return small


def _pixels(plane: Any, bits: int) -> NDArray[Any]:
    """Return the pixels (H, W) of a plane; its rows are longer in memory."""
    pixels = np.frombuffer(plane, np.uint8 if bits == 8 else np.dtype("<u2"))
    return pixels.reshape(plane.height, -1)[:, : plane.width]


def _rgb(luma: NDArray[Any], cb: NDArray[Any], cr: NDArray[Any], matrix: int) -> NDArray[Any]:
    """Return red, green and blue (3, H, W) of luma in [0, 1] and chroma in [-0.5, 0.5]."""
    of_red, of_blue = _RED_AND_BLUE.get(matrix, (_LUMA[0], _LUMA[2]))
    red = luma + 2 * (1 - of_red) * cr
    blue = luma + 2 * (1 - of_blue) * cb
    green = (luma - of_red * red - of_blue * blue) / (1 - of_red - of_blue)
    return np.stack([red, green, blue])
