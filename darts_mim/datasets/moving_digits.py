"""Moving digits: handwritten digits that bounce off the walls of a canvas.

The Moving MNIST benchmark, drawn on the fly: sequence ``i`` is computed when it is asked for, and
is a pure function of the seed and of ``i``.

Legend: T time, C channels, H height, W width, K digits in a sequence.
"""

from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from darts_mim.checks import checked_integer, checked_number
from darts_mim.datasets.clips import IndexedClips
from darts_mim.grid import Grid

_BYTE_MAX = 255


def bouncing_trajectory(
    start: npt.ArrayLike, step: npt.ArrayLike, *, length: int, growth: npt.ArrayLike = 1.0
) -> npt.NDArray[np.float64]:
    """Follow points that move straight on in a box and turn round at its walls.

    The rule of the Moving MNIST generator: a point takes a step and is then recorded, so that
    `start` itself is not part of the trajectory; a point that would reach or pass a wall stops at
    the wall for this frame, and its velocity across the wall changes sign.

    Parameters
    ----------
    start
        Positions before the first frame, any shape, in [0, 1], a value per coordinate.
    step
        Way to the first frame, shape of `start`, as a fraction of the box.
    length
        Number of frames T, at least 1.
    growth
        What the way is multiplied with from frame to frame; 1 for a constant speed. It fits the
        shape of `start`.

    Returns
    -------
    numpy.ndarray
        Positions of shape (T, *start.shape), in [0, 1].

    Examples
    --------
    >>> bouncing_trajectory([0.5], [0.25], length=5).ravel()
    array([0.75, 1.  , 0.75, 0.5 , 0.25])
    >>> bouncing_trajectory([0.0], [0.0625], length=4, growth=2.0).ravel()
    array([0.0625, 0.1875, 0.4375, 0.9375])
    """
    position = np.array(start, dtype=np.float64)
    velocity, factor = np.array(step, dtype=np.float64), np.asarray(growth, dtype=np.float64)
    positions = np.empty((length, *position.shape))
    for t in range(length):
        position = position + velocity
        at_wall = (position <= 0.0) | (position >= 1.0)
        velocity = np.where(at_wall, -velocity, velocity) * factor
        position = np.clip(position, 0.0, 1.0, out=positions[t, ...])
    return positions


@dataclass(frozen=True, eq=False)
class MovingDigits(IndexedClips):
    """Sequences of handwritten digits that move straight on and bounce off the walls.

    A read-only collection: ``len()`` and an index give sequences one by one, as frames of shape
    (T, 1, H, W), float32 in [0, 1]. Sequence ``i`` is a pure function of the digits, the options,
    the seed and ``i``: any worker, order or resumed run sees the same one, and none is kept. A
    longer sequence begins with the frames of a shorter one.

    With MNIST's digits and the default options this is the Moving MNIST benchmark: two digits of
    28 pixels on a canvas of 64, a random start, a random direction, a step of a tenth of the free
    span per frame, positions rounded down to whole pixels, and the maximum where digits overlap.
    The walls are those of ``bouncing_trajectory``.

    Parameters
    ----------
    digits
        Images to choose from, shape (n, digit height, digit width): bytes in 0..255 or floats in
        [0, 1]. They are not copied.
    n_sequences
        Number of sequences, at least 1. It costs neither time nor memory.
    seed
        Non-negative integer. Test sequences take other digits and another seed than training ones.
    length
        Frames in a sequence, T.
    height, width
        Size of the canvas in pixels, H and W, at least the size of a digit.
    digits_per_sequence
        Number of digits K in a sequence, each another image.
    speed
        Way per frame as a fraction, in [0, 1], of the free span: the canvas less the digit. On a
        canvas that is not square the shorter of the two spans counts, for both directions.
    acceleration
        Largest rate, in [0, 1] per frame, at which a digit's speed grows or falls: each digit draws
        its own rate r, uniform in [-acceleration, acceleration], and its way to frame t = 0, 1, ...
        is ``speed * exp(r * t)``. With 0.05 the fastest digits end 20 frames at 2.6 times their
        speed and the slowest at 0.39 of it. It changes neither digits, starts nor directions.

    Raises
    ------
    ValueError
        If `digits` is neither of bytes nor of floats, is not (n, height, width), has values beyond
        its range or does not fit onto the canvas, or if an option is out of range.

    Notes
    -----
    The generator of Srivastava et al. goes through a shuffled list of the digits and draws from one
    stream of random numbers. Here every sequence has its own stream and draws its digits from all.

    Moving MNIST with acceleration stands in table 3 of the MIM paper, which does not state its law;
    the one here is ours.

    References
    ----------
    N. Srivastava, E. Mansimov, R. Salakhutdinov. Unsupervised Learning of Video Representations
    using LSTMs. ICML 2015, section 4.1.2. The constants and the walls are those of
    ``BouncingMNISTDataHandler`` in the code published with it
    (https://github.com/emansim/unsupervised-videos, ``data_handler.py``).

    Examples
    --------
    >>> from darts_mim.datasets import load_bundled_digits
    >>> clips = MovingDigits(
    ...     load_bundled_digits("train"), n_sequences=1000, seed=0, height=24, width=32
    ... )
    >>> len(clips)
    1000
    >>> frames = clips[7]
    >>> frames.shape, frames.dtype
    ((20, 1, 24, 32), dtype('float32'))
    >>> [series.shape for series in clips.to_series(range(2))]
    [(20, 768, 1), (20, 768, 1)]
    """

    digits: npt.NDArray[Any] = field(repr=False)
    _: KW_ONLY
    n_sequences: int
    seed: int
    length: int = 20
    height: int = 64
    width: int = 64
    digits_per_sequence: int = 2
    speed: float = 0.1
    acceleration: float = 0.0

    def __post_init__(self) -> None:
        _check_digits(self.digits)
        _, digit_height, digit_width = self.digits.shape
        least = {"n_sequences": 1, "seed": 0, "length": 1, "digits_per_sequence": 1}
        for name, bound in (least | {"height": digit_height, "width": digit_width}).items():
            checked_integer(name, getattr(self, name), least=bound)
        for name in ("speed", "acceleration"):
            checked_number(name, getattr(self, name), 0.0, 1.0)

    @property
    def grid(self) -> Grid:
        """The grid of the frames: one channel, H by W."""
        return Grid(channels=1, height=self.height, width=self.width)

    def __len__(self) -> int:
        return self.n_sequences

    def _clip(self, i: int) -> npt.NDArray[np.float32]:
        images, corners = self._draw(np.random.SeedSequence(self.seed, spawn_key=(i,)))
        return self._paint(images, corners)

    def _draw(self, seed: np.random.SeedSequence) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
        """Return K digits and their upper left corners, (T, K, 2) in pixels."""
        rng = np.random.default_rng(seed)
        k = self.digits_per_sequence
        images = self.digits[rng.choice(len(self.digits), size=k, replace=False)]
        start = rng.random((k, 2))
        angle = rng.uniform(0.0, 2.0 * np.pi, size=k)
        direction = np.stack([np.sin(angle), np.cos(angle)], axis=-1)
        span = np.array([self.height, self.width]) - images.shape[1:]
        # A span of 0 leaves no way to go and does not count; its coordinate is multiplied by 0.
        step = self.speed * span.min(initial=span.max(), where=span > 0) / np.maximum(span, 1)
        # drawn last, so that the rest is the same with any acceleration
        growth = np.exp(self.acceleration * rng.uniform(-1.0, 1.0, size=(k, 1)))
        corners = span * bouncing_trajectory(
            start, direction * step, length=self.length, growth=growth
        )
        return images, corners.astype(np.int64)

    def _paint(
        self, images: npt.NDArray[Any], corners: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        """Lay K digits onto T frames, the maximum where they overlap."""
        _, digit_height, digit_width = images.shape
        frames = np.zeros((self.length, 1, self.height, self.width), dtype=images.dtype)
        for canvas, frame_corners in zip(frames[:, 0], corners.tolist(), strict=True):
            for image, (top, left) in zip(images, frame_corners, strict=True):
                region = canvas[top : top + digit_height, left : left + digit_width]
                np.maximum(region, image, out=region)
        if images.dtype == np.uint8:
            return np.divide(frames, _BYTE_MAX, dtype=np.float32)
        return frames.astype(np.float32, copy=False)


def _check_digits(digits: npt.NDArray[Any]) -> None:
    are_floats = np.issubdtype(digits.dtype, np.floating)
    if digits.ndim != 3 or 0 in digits.shape or not (are_floats or digits.dtype == np.uint8):
        raise ValueError(
            "`digits` must be bytes or floats in [0, 1] of shape (n, height, width), none of "
            f"them 0, got {digits.dtype} of shape {digits.shape}"
        )
    if are_floats and not (digits.min() >= 0.0 and digits.max() <= 1.0):
        raise ValueError(
            f"`digits` of floats must lie in [0, 1] and have no NaN, got {digits.min()} to "
            f"{digits.max()}; divide by the largest possible value"
        )
