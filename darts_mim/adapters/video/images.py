"""Image files to intensities.

Letters for shapes: C channels, H height (rows), W width (columns).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from darts_mim._optional import import_optional
from darts_mim.adapters.video.decoding import errors_named
from darts_mim.adapters.video.pixels import Look, check_opaque, intensities, luma_of, resized

_GREY = {"1", "L", "LA"}
_COLOURS = {"RGB", "RGBA", "P", "PA", "YCbCr"}
_BITS, _PHOTOMETRIC = 258, 262  # tags of TIFF
_WHITE_IS_ZERO = 0
# SyntaxError is Pillow's word for wrong check sums.
_DAMAGE = (OSError, EOFError, SyntaxError, TypeError, ValueError, Image.DecompressionBombError)


def read_images(paths: Sequence[Path], look: Look) -> Iterator[tuple[str, NDArray[Any]]]:
    """Read PNG, JPEG and TIFF files, of which each page is a frame.

    Parameters
    ----------
    paths
        The files.
    look
        How to read them.

    Yields
    ------
    name : str
        Name of the frame, for messages.
    frame : array
        Intensities (C, H, W), C = 1 or 3, in [0, 1].

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If an image is damaged, transparent, or has no range of its own.
    """
    for path in paths:
        # By name, Pillow 13 maps a grey TIFF file, and mixes its pixels up if it is to be rotated.
        with path.open("rb") as file:
            with errors_named(path, *_DAMAGE):
                image = Image.open(file)
                # the further pictures of an MPO file are previews and maps of depth
                pages = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
            for page in range(pages):
                name = f"page {page} of {str(path)!r}" if page else repr(str(path))
                with errors_named(path, *_DAMAGE):
                    image.seek(page)
                    is_deep = ";16" in str(image.tile[:1]) and not image.mode.startswith("I;16")
                    image.load()
                if is_deep:
                    yield name, _deep_colours(path, pages, look, name)
                else:
                    yield name, resized(_intensities(image, look, name), look.size)


def _intensities(image: Image.Image, look: Look, name: str) -> NDArray[Any]:
    """Return the intensities (C, H, W) of an image of grey, or of colours of 8 bits."""
    upright = ImageOps.exif_transpose(image)
    peak, is_inverted = 255, False
    if image.mode.startswith("I;16"):
        tags = getattr(image, "tag_v2", {})
        peak = 2 ** max(tags.get(_BITS, (16,))) - 1
        is_inverted = tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    elif image.mode in _GREY | _COLOURS:
        if upright.has_transparency_data:
            upright = upright.convert("RGBA")
            check_opaque(np.asarray(upright)[..., 3], name)
        upright = upright.convert("L" if image.mode in _GREY else "RGB")
    else:
        raise ValueError(
            f"`path`: {name} must hold grey or RGB colours of at most 16 bits, got Pillow's mode "
            f"{image.mode!r}, whose range is not known; convert it, or use `frames_to_series`"
        )
    pixels = np.atleast_3d(np.asarray(upright)).astype(look.dtype) / look.dtype.type(peak)
    frame = np.moveaxis(1 - pixels if is_inverted else pixels, -1, 0)
    return luma_of(frame) if look.grey and len(frame) == 3 else frame


def _deep_colours(path: Path, pages: int, look: Look, name: str) -> NDArray[Any]:
    """Read colours of 16 bits with FFmpeg: Pillow keeps 8 of them."""
    if pages > 1:
        raise ValueError(f"`path`: {name} has pages in colours of 16 bits; save them one by one")
    av = import_optional("av", "video")
    with errors_named(path, av.FFmpegError), av.open(str(path.absolute())) as container:
        frame = next(container.decode(video=0))
    return intensities(frame, av.video.reformatter.VideoReformatter(), look, name)
