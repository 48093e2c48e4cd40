"""Write pictures as an endless GIF.

Letters for shapes: T time, H height, W width, in pixels.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from darts_mim.files import whole_file


def save_gif(
    path: Path, frames_rgb: Iterable[NDArray[np.uint8]], durations_ms: Sequence[int]
) -> None:
    """Write frames as a GIF that repeats forever.

    Grey frames are exact; coloured ones are reduced to 256 colours, chosen for each frame. Equal
    frames in a row are merged into one that lasts longer. The file appears whole or not at all.

    Parameters
    ----------
    path
        The file; its folder is made as needed.
    frames_rgb
        Frames of shape (H, W, 3), one after the other: an array (T, H, W, 3) or a generator.
    durations_ms
        How long each frame is shown, in milliseconds. A GIF stores multiples of 10.

    Raises
    ------
    ValueError
        If a frame, or a row of equal frames, lasts longer than the 655 s that a GIF can store.

    Examples
    --------
    >>> frames = np.random.default_rng(0).integers(0, 256, (4, 6, 8, 3), dtype=np.uint8)
    >>> save_gif(Path("noise.gif"), frames, durations_ms=[100] * 4)
    """
    images = map(_indexed, frames_rgb)
    with whole_file(path) as draft:
        try:
            next(images).save(
                draft, save_all=True, append_images=images, duration=list(durations_ms), loop=0
            )
        except (struct.error, OverflowError) as error:
            raise ValueError(
                f"`fps`: a frame, or a row of equal frames, of {str(path)!r} lasts longer than the "
                "655 s that a GIF can store; show more frames per second"
            ) from error


def _indexed(frame: NDArray[np.uint8]) -> Image.Image:
    """Return an image of 256 grey levels, or of 256 colours that cover those of the frame."""
    if (frame == frame[..., :1]).all():
        return Image.fromarray(np.ascontiguousarray(frame[..., 0]))
    return Image.fromarray(frame).quantize(
        256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
    )
