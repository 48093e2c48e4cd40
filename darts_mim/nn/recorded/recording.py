"""Record the work that a device is given, to give it again all at once: CUDA graphs.

All that needs a GPU is here; what is recorded, and when, is written in ``plan`` and ``graphs``.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import cache
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

__all__ = ["RECORDERS", "CudaRecorder", "Recorder", "Recording", "Work", "do_once"]

N_WARM_UPS = 3
"""How often work is done before it is recorded: until nothing is compiled or set up any more."""

Work = Callable[[], Sequence[Tensor | None]]


class Recording(NamedTuple):
    """Work that was recorded.

    Attributes
    ----------
    results
        What it returns: tensors to which it writes whenever it is replayed, and no values before.
    replay
        Does the work again, on the memory that it was recorded on.
    """

    results: Sequence[Tensor | None]
    replay: Callable[[], None]


class Recorder(Protocol):
    """What records work, several pieces that are replayed in the order of recording.

    Parameters
    ----------
    device
        Where the work is done.
    """

    def __init__(self, device: torch.device) -> None: ...

    def warm_up(self, work: Callable[[], object]) -> None:
        """Do work until nothing of it is done for the first time."""

    def record(self, work: Work) -> Recording:
        """Record work that asks for no values and draws no random numbers."""

    @staticmethod
    def queue_on(device: torch.device) -> Hashable:
        """Return what tells the queues of a device apart, in each of which work is in order."""


class CudaRecorder:
    """Record CUDA graphs that share memory.

    Parameters
    ----------
    device
        The GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._stream = device, _side_stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def warm_up(self, work: Callable[[], object]) -> None:
        """Do work on the stream that records; see ``Recorder``."""
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        try:
            with torch.cuda.stream(self._stream):
                for _ in range(N_WARM_UPS):
                    work()
        finally:
            current.wait_stream(self._stream)

    def record(self, work: Work) -> Recording:
        """Capture a graph; see ``Recorder``."""
        graph = torch.cuda.CUDAGraph()
        # other threads, such as the one that pins the memory of batches, may go on
        capture = torch.cuda.graph(
            graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
        )
        with torch.cuda.device(self._device):
            current = torch.cuda.current_stream(self._device)
            try:
                with capture:
                    results = work()
            except Exception:
                # a capture that cannot be ended does not give the stream back
                torch.cuda.set_stream(current)
                raise
        return Recording(results, graph.replay)

    @staticmethod
    def queue_on(device: torch.device) -> Hashable:
        """Return the current stream, ``None`` if it is being captured by somebody else."""
        if torch.cuda.is_current_stream_capturing():
            return None
        return torch.cuda.current_stream(device).cuda_stream


RECORDERS: dict[str, type[Recorder]] = {"cuda": CudaRecorder}
"""What records on each type of device."""


def do_once(work: Work) -> Recording:
    """Do work rather than record it."""
    return Recording(work(), lambda: None)


@cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)
