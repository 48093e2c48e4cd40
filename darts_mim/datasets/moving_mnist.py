"""The fixed test set of Moving MNIST, 10,000 sequences from the file in which it is published."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from darts_mim._optional import import_optional
from darts_mim.datasets.clips import IndexedClips
from darts_mim.datasets.files import fetch_file, find_file
from darts_mim.grid import Grid

# The address and the checksum are those of torchvision.datasets.MovingMNIST.
_NAME: Final = "mnist_test_seq.npy"
_CHECKSUM: Final = "md5:be083ec986bfe91a449d63653c411eb2"
_URL: Final = "http://www.cs.toronto.edu/~nitish/unsupervised_video"
_SHAPE: Final = (20, 10_000, 64, 64)
_BYTE_MAX: Final = 255


class MovingMNIST(IndexedClips):
    """The sequences of an array of bytes, such as the mapped file of Moving MNIST.

    A read-only collection like `MovingDigits`: ``len()`` and an index give sequences one by one, as
    frames of shape (T, 1, H, W), float32 in [0, 1]. Only what is asked for is read.

    Parameters
    ----------
    frames
        Bytes of shape (T, n, H, W), time first, as in the file.

    Raises
    ------
    ValueError
        If `frames` are not bytes with four axes, none of them empty.

    See Also
    --------
    load_moving_mnist : Reads or fetches the file.

    Examples
    --------
    >>> clips = MovingMNIST(np.full((20, 3, 12, 16), 255, np.uint8))
    >>> len(clips), clips[0].shape, clips[0].max()
    (3, (20, 1, 12, 16), np.float32(1.0))
    >>> [series.shape for series in clips.to_series([2])]
    [(20, 192, 1)]
    """

    def __init__(self, frames: npt.NDArray[np.uint8]) -> None:
        if frames.dtype != np.uint8 or frames.ndim != 4 or 0 in frames.shape:
            raise ValueError(
                "`frames` must be bytes (uint8) of shape (T, n, H, W), none of them 0, got "
                f"{frames.dtype} of shape {frames.shape}; pass the array of the file"
            )
        self.frames = frames

    @property
    def grid(self) -> Grid:
        """The grid of the frames: one channel, H by W."""
        return Grid(1, *self.frames.shape[2:])

    def __len__(self) -> int:
        return int(self.frames.shape[1])

    def _clip(self, i: int) -> npt.NDArray[np.float32]:
        # (T, H, W) -> (T, 1, H, W)
        return np.divide(self.frames[:, i, np.newaxis], _BYTE_MAX, dtype=np.float32)


def load_moving_mnist(
    root: str | os.PathLike[str] | None = None,
    *,
    download: bool = False,
    base_url: str | None = None,
) -> MovingMNIST:
    """Open the test set of Moving MNIST.

    The file of 781 MiB is mapped, not read: sequences are brought in as they are asked for.

    Parameters
    ----------
    root
        Folder with ``mnist_test_seq.npy``. Default: ``moving_mnist`` in the cache of the user.
    download
        Whether to fetch the file if it is missing, and to check it if it is there.
    base_url
        Another server to fetch it from.

    Returns
    -------
    MovingMNIST
        10,000 sequences of 20 frames, 64 by 64 pixels.

    Raises
    ------
    ConnectionError
        If the file cannot be fetched.
    FileNotFoundError
        If there is no file, and `download` is off.
    ImportError
        If pooch is needed and missing, which the extra ``datasets`` installs.
    ValueError
        If the file is another, damaged or cut off.

    References
    ----------
    N. Srivastava, E. Mansimov, R. Salakhutdinov. Unsupervised Learning of Video Representations
    using LSTMs. ICML 2015.

    Examples
    --------
    >>> clips = load_moving_mnist("data/moving_mnist", download=True)  # doctest: +SKIP
    >>> test = clips.to_series(range(100))  # doctest: +SKIP
    """
    folder = Path(
        import_optional("pooch", extra="datasets").os_cache("darts_mim") / "moving_mnist"
        if root is None
        else root
    )
    file = folder / _NAME
    if download:
        fetch_file(file, _CHECKSUM, base_url or _URL)
    find_file(file, f"pass download=True to fetch it from {_URL}, or correct `root`")
    try:
        frames: npt.NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    except (EOFError, OSError, ValueError) as error:
        raise ValueError(f"{file} must be a whole .npy file ({error}); get it again") from error
    if frames.shape != _SHAPE:
        raise ValueError(
            f"{file} must hold frames of shape {_SHAPE}, got {frames.shape}; pass an array of your "
            "own to `MovingMNIST`"
        )
    return MovingMNIST(frames)
