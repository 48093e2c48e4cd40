"""Images of handwritten digits: MNIST from its own files, and the few that scikit-learn brings.

Both come as bytes, ``(n, size, size)`` with 0 the paper and 255 the ink, in two splits that share
no image.
"""

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from skimage.transform import resize
from sklearn.datasets import load_digits

from darts_mim.checks import checked_integer
from darts_mim.datasets.files import chosen, fetch_file, find_file

Split: TypeAlias = Literal["train", "test"]
Images: TypeAlias = npt.NDArray[np.uint8]


# The address and the checksums are those of torchvision.datasets.MNIST.
_MNIST_URL: Final = "https://ossci-datasets.s3.amazonaws.com/mnist"
_MNIST: Final = {
    "train": ("train-images-idx3-ubyte", 60_000, "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873"),
    "test": ("t10k-images-idx3-ubyte", 10_000, "md5:9fb629c4189551a2d022fa330f9573f3"),
}
_MNIST_SIZE: Final = 28
_IDX_IMAGES: Final = b"\x00\x00\x08\x03"  # two zero bytes, type "unsigned byte", three dimensions

_BUNDLED_SIZE: Final = 8
_BUNDLED_WHITE: Final = 16.0
_BUNDLED_SPLIT: Final = (
    1415  # between two blocks of digits, each of which begins by counting from 0 to 9
)


def load_mnist_digits(
    path: str | os.PathLike[str],
    split: Split = "train",
    *,
    download: bool = False,
    base_url: str | None = None,
) -> Images:
    """Read the digits of MNIST from the files in which it is published.

    Parameters
    ----------
    path
        Folder with ``train-images-idx3-ubyte.gz`` and ``t10k-images-idx3-ubyte.gz``. The files may
        be unpacked, in which case their names lack the ``.gz``; of both forms the packed one is
        read. Label files are not needed.
    split
        ``"train"`` for the 60,000 training digits, ``"test"`` for the 10,000 of the ``t10k`` file.
    download
        Whether to fetch the packed file of the split into the folder if neither form of it is
        there, and to check a packed one that is.
    base_url
        Another server to fetch it from.

    Returns
    -------
    numpy.ndarray
        Bytes of shape (60000, 28, 28) or (10000, 28, 28), 0 the paper and 255 the ink.

    Raises
    ------
    ConnectionError
        If the file cannot be fetched.
    FileNotFoundError
        If the folder, or the file of this split in it, does not exist.
    ImportError
        If a file is to be fetched and pooch is missing, which the extra ``datasets`` installs.
    ValueError
        If `split` is unknown, or the file is damaged or not MNIST's.

    References
    ----------
    Y. LeCun, C. Cortes, C. J. C. Burges. The MNIST database of handwritten digits. The section
    "File formats for the MNIST database" specifies IDX.

    Examples
    --------
    >>> digits = load_mnist_digits("data/mnist", split="test")  # doctest: +SKIP
    >>> digits.shape  # doctest: +SKIP
    (10000, 28, 28)
    """
    chosen("split", split, list(_MNIST))
    name, count, checksum = _MNIST[split]
    packed, plain = Path(path, f"{name}.gz"), Path(path, name)
    if download and (packed.is_file() or not plain.is_file()):
        fetch_file(packed, checksum, base_url or _MNIST_URL)
    remedy = f"pass download=True, or put MNIST's {packed.name} there"
    file = plain if plain.is_file() and not packed.is_file() else find_file(packed, remedy)
    return _read_idx(file, (count, _MNIST_SIZE, _MNIST_SIZE))


def load_bundled_digits(split: Split = "train", *, size: int = _BUNDLED_SIZE) -> Images:
    """Load the real handwritten digits that come with scikit-learn, so that nothing is downloaded.

    The 1,797 images of 8 by 8 pixels lie in the file writer after writer: blocks of about 130
    digits, most of which begin by counting from 0 to 9 three times. The split falls between two
    such blocks, so that the test digits are other images, and in the main other handwriting, than
    the training digits.

    Parameters
    ----------
    split
        ``"train"`` for the first 1,415 digits, ``"test"`` for the last 382.
    size
        Height and width in pixels, at least 8. Larger images are interpolated by cubic splines.

    Returns
    -------
    numpy.ndarray
        Bytes of shape (1415, size, size) or (382, size, size), 0 the paper and 255 the ink.

    Raises
    ------
    ValueError
        If `split` is unknown or `size` is below 8.

    References
    ----------
    E. Alpaydin, C. Kaynak. Optical Recognition of Handwritten Digits, UCI Machine Learning
    Repository, 1998. (The copy in scikit-learn is the test set, by 13 writers.)

    Examples
    --------
    >>> digits = load_bundled_digits("test", size=16)
    >>> digits.shape, digits.dtype, digits.min(), digits.max()
    ((382, 16, 16), dtype('uint8'), np.uint8(0), np.uint8(255))
    """
    chosen("split", split, list(_MNIST))
    checked_integer("size", size, least=_BUNDLED_SIZE)
    part = slice(None, _BUNDLED_SPLIT) if split == "train" else slice(_BUNDLED_SPLIT, None)
    images = load_digits().images[part] / _BUNDLED_WHITE
    if size != _BUNDLED_SIZE:
        images = resize(images, (len(images), size, size), order=3, mode="constant")
    digits: Images = np.rint(255.0 * images).astype(np.uint8)
    return digits


def _read_idx(file: Path, shape: tuple[int, int, int]) -> Images:
    """Read an IDX file of images: magic number, three big-endian sizes, then the bytes."""
    header = _IDX_IMAGES + struct.pack(">3I", *shape)
    size = len(header) + math.prod(shape)
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as opened:
            content = opened.read(size + 1)  # no more, whatever the file unpacks to
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{file} must be a whole gzip file ({error}); get it again") from error
    if len(content) != size or not content.startswith(header):
        raise ValueError(
            f"{file} must be MNIST's file of {shape[0]} images, {size} bytes that begin with "
            f"{header.hex(' ')}, got {len(content)} that begin with {content[:16].hex(' ')}; pass "
            "other images to `MovingDigits` as an array"
        )
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape)
