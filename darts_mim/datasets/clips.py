"""Clips as training samples, so that a Darts model trains on frames outside of any series.

Legend: T time, C channels, H height, W width, N = C*H*W components.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt
from darts import TimeSeries
from darts.utils.data import TorchTrainingDataset
from darts.utils.data.torch_datasets.utils import TorchTrainingSample

from darts_mim.checks import checked_integer
from darts_mim.grid import Grid
from darts_mim.series import frames_to_series


class ClipCollection(Protocol):
    """Anything with a length that returns frames (T, C, H, W) for an index.

    A list of arrays, an array of shape (n, T, C, H, W), a memory map, a generator by index such as
    ``MovingDigits``.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> npt.NDArray[Any]: ...


class IndexedClips(ABC):
    """Clips of one grid by their index, which may count from the end, and as series.

    The base of the collections of this package: they say how many there are and make one.
    """

    @property
    @abstractmethod
    def grid(self) -> Grid:
        """The grid of the frames."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def _clip(self, i: int) -> npt.NDArray[np.float32]:
        """Return the frames (T, C, H, W) of an index that counts from the front."""

    def __getitem__(self, index: int) -> npt.NDArray[np.float32]:
        return self._clip(range(len(self))[index])

    def to_series(self, indices: Iterable[int] | None = None) -> list[TimeSeries]:
        """Make series of clips, for example of a fixed test set, and keep them in memory.

        Parameters
        ----------
        indices
            Which clips; by default all.

        Returns
        -------
        list of TimeSeries
            A series of T steps and C*H*W components, with its grid, for each index.

        Raises
        ------
        IndexError
            If an index is out of range.
        """
        chosen = range(len(self)) if indices is None else indices
        series = [frames_to_series(self[i], layout="TCHW") for i in chosen]
        return cast(list[TimeSeries], series)  # the layout has no B


class ClipTrainingDataset(TorchTrainingDataset):
    """Serve clips as training samples, each split into an input and an output chunk.

    For ``fit_from_dataset`` of a Darts torch model. A clip is asked for when its sample is: clips
    may be computed on the fly or lie on disk, and never have to fit into memory.

    Parameters
    ----------
    clips
        Clips of shape (T, C, H, W), of floats; all of the same C, H and W.
    input_chunk_length
        Frames the model sees, at least 1: the first of a clip.
    output_chunk_length
        Frames it forecasts, at least 1: those that follow. What a clip has beyond is left out.
    output_chunk_shift
        Frames between the two, as the model has it; left out.
    grid
        Names, coordinates and mask of the frames; by default a plain grid of their shape.

    Attributes
    ----------
    grid
        The ``Grid`` of the clips, for the model to read.

    Raises
    ------
    TypeError
        If the clips are not of floats, or a chunk length is no integer.
    ValueError
        If there is no clip, a chunk length is below 1 or the shift below 0, or a clip has another
        shape than the first one or `grid`, too few frames, or values that are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> clips = np.zeros((6, 5, 1, 4, 3), dtype=np.float32)
    >>> dataset = ClipTrainingDataset(clips, input_chunk_length=3, output_chunk_length=2)
    >>> sample = dataset[0]
    >>> len(dataset), sample.past_target.shape, sample.future_target.shape
    (6, (3, 12), (2, 12))
    """

    def __init__(
        self,
        clips: ClipCollection,
        input_chunk_length: int,
        output_chunk_length: int,
        *,
        output_chunk_shift: int = 0,
        grid: Grid | None = None,
    ) -> None:
        super().__init__()
        self.input_chunk_length = checked_integer("input_chunk_length", input_chunk_length)
        self.output_chunk_length = checked_integer("output_chunk_length", output_chunk_length)
        self.output_chunk_shift = checked_integer("output_chunk_shift", output_chunk_shift, least=0)
        if len(clips) == 0:
            raise ValueError("`clips` must hold at least one clip, got none; pass more clips")
        self.clips = clips
        self.grid = Grid(*clips[0].shape[-3:]) if grid is None else grid
        self._check_clip(clips[0], 0)

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> TorchTrainingSample:
        clip = self.clips[index]
        self._check_clip(clip, index)
        # (T, C, H, W) -> (T, N)
        values = self.grid.to_components(np.asarray(clip[: self._n_frames], dtype=np.float32))
        return TorchTrainingSample(
            past_target=values[: self.input_chunk_length],
            future_target=values[-self.output_chunk_length :],
        )

    @property
    def _n_frames(self) -> int:
        return self.input_chunk_length + self.output_chunk_shift + self.output_chunk_length

    def _check_clip(self, clip: npt.NDArray[Any], index: int) -> None:
        if not np.issubdtype(clip.dtype, np.floating):
            raise TypeError(
                f"`clips` must be floats, got {clip.dtype} in clip {index}; scale bytes with "
                "`clip / np.float32(255)`"
            )
        if clip.shape[1:] != self.grid.shape or len(clip) < self._n_frames:
            raise ValueError(
                f"`clips` must have shape (T, C, H, W) with (C, H, W) = {self.grid.shape} and T at "
                f"least {self._n_frames}, the sum of chunks and shift, got {clip.shape} in clip "
                f"{index}; frames of one channel need its axis, `clip[:, np.newaxis]`"
            )
        if not np.isfinite(clip).all():
            raise ValueError(f"`clips` must be finite, got NaN or infinity in clip {index}")
