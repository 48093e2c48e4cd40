"""Pictures that follow each other, as files.

Legend: H height, W width, in pixels.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from darts_mim.adapters.video.encoding import encode
from darts_mim.adapters.video.rates import hundredths

Picture: TypeAlias = npt.NDArray[np.uint8]


def write_gif(path: Path, pictures: Iterable[Picture], rate: Fraction) -> None:
    """Write pictures (H, W, 3) as an endless GIF, in 256 colours that cover each of them evenly."""
    first, *others = [
        Image.fromarray(picture).quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        for picture in pictures
    ]
    durations = [10 * step for step in hundredths(1 + len(others), rate)]  # in thousandths
    first.save(path, save_all=True, append_images=others, duration=durations, loop=0)


def write_mp4(path: Path, pictures: Iterable[Picture], rate: Fraction) -> None:
    """Write pictures (H, W, 3) as an MP4 in H.264, which browsers play; sizes become even."""
    encode(path, map(_even, pictures), rate)


def _even(picture: Picture) -> Picture:
    """Pad a picture with white to an even height and width: its colours are stored by 2x2."""
    height, width, _ = picture.shape
    padding = ((0, height % 2), (0, width % 2), (0, 0))
    return np.pad(picture, padding, constant_values=255)
