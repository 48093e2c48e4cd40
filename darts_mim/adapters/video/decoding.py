"""Open a clip and decode its frames one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

from darts_mim._optional import import_optional
from darts_mim.adapters.video.rates import constant_rate

_CODEC_OPTIONS = {
    # an error rather than a frame in which damage is painted over
    "err_detect": "crccheck+bitstream+buffer+explode",
    # a file of some bytes can state a size of gigabytes; 8192 x 8192 is twice the largest in use
    "max_pixels": str(2**26),
}


class Clip:
    """An open clip. It is of use only inside `open_clip`: PyAV reads freed memory afterwards.

    Attributes
    ----------
    path
        The file.
    rate
        Frames per second as the header states them, or None.
    tick
        The unit of its times, in seconds.
    times
        When the frames decoded so far are shown, in seconds, as far as the clip says.
    """

    def __init__(self, path: Path, container: Any, stream: Any) -> None:
        self.path = path
        self.rate: Fraction | None = stream.average_rate or stream.guessed_rate or None
        self.tick: Fraction = stream.time_base or Fraction(1, 1000)
        self.times: list[Fraction | None] = []
        self._container = container
        self._stream = stream

    def frames(self) -> Iterator[Any]:
        """Decode the frames in the order in which they are shown.

        Raises
        ------
        ValueError
            If FFmpeg reports damage.
        """
        with errors_named(self.path, import_optional("av", "video").FFmpegError):
            for packet in self._container.demux(self._stream):
                frames = packet.decode()
                if packet.is_corrupt or any(frame.is_corrupt for frame in frames):
                    raise ValueError(
                        f"`path`: {str(self.path)!r} is damaged or cut off after "
                        f"{len(self.times)} frames; fetch or make it anew, or read the frames "
                        "before with `stop_frame`"
                    )
                for frame in frames:
                    self.times.append(None if frame.pts is None else frame.pts * self.tick)
                    yield frame

    def frames_at(self, fps: Fraction) -> Iterator[Any]:
        """Repeat and drop frames so that at each time k / fps stands the one that is shown then."""
        av = import_optional("av", "video")
        graph = av.filter.Graph()
        half_tick = self.tick / 2
        source = graph.add_buffer(template=self._stream, time_base=half_tick)
        nodes = source, graph.add("fps", f"{fps}:round=up"), graph.add("buffersink")
        graph.link_nodes(*nodes).configure()
        length = round(1 / (self.rate or fps) / half_tick)
        # Times are rounded to ticks, unless a tick is a frame, as in AVI files: count them from
        # half a tick earlier, so that no frame is late because its time was rounded up.
        early = 1 if length >= 4 else 0
        for number, frame in enumerate(chain(self.frames(), [None])):
            if frame is not None:
                time = self.times[-1]
                pts = number * length if time is None else (time - (self.times[0] or 0)) / half_tick
                frame.pts = max(0, int(pts) - early)
                frame.duration = 2 * (frame.duration or 0) or length
                frame.time_base = half_tick
            graph.push(frame)
            with suppress(BlockingIOError, EOFError):  # until more frames are pushed, or the end
                while True:
                    yield graph.pull()

    def constant_rate(self) -> Fraction | None:
        """Return the rate of the frames decoded so far, or raise if it is not constant."""
        return constant_rate(self.times, self.tick, self.rate, self.path)


@contextmanager
def open_clip(path: Path) -> Iterator[Clip]:
    """Open a clip, and close it in the end.

    Parameters
    ----------
    path
        A file that FFmpeg reads.

    Yields
    ------
    Clip
        The clip.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        If PyAV is not installed.
    ValueError
        If FFmpeg finds no moving pictures in the file.
    """
    av = import_optional("av", "video")
    with errors_named(path, av.FFmpegError):
        container = av.open(
            str(path.absolute()),  # FFmpeg takes a name before a colon for a protocol
            metadata_errors="replace",
            # a playlist must not reach for other machines
            options={"protocol_whitelist": "file"},
        )
    with container:
        stream = container.streams.best("video")
        if stream is None or stream.codec_context is None:
            raise ValueError(
                f"`path`: {str(path)!r} must hold moving pictures, got a file of the format "
                f"{container.format.long_name!r} without any; leave it out"
            )
        stream.codec_context.options = _CODEC_OPTIONS
        stream.thread_type = "AUTO"
        yield Clip(path, container, stream)


@contextmanager
def errors_named(path: Path, *kinds: type[Exception]) -> Iterator[None]:
    """Say which file it is that a library cannot read."""
    try:
        yield
    except FileNotFoundError:
        raise
    except kinds as error:
        raise ValueError(
            f"`path`: {str(path)!r} cannot be read ({error}); fetch or make it anew, read clips "
            "with `read_video` and folders of images with `read_frames`"
        ) from error
