"""Open a clip and decode its frames one after the other; tell when it is broken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

from darts_mim._optional import import_optional
from darts_mim.adapters.video.endings import check_ending
from darts_mim.adapters.video.rates import Moment

# What FFmpeg opens as if it were a clip: it draws a text letter by letter.
_TEXT = {"tty", "bin", "adf", "idf", "xbin"}
_PICTURES = ("image2", "_pipe")
_LEAVE_OUT = "fetch or make the file anew, or leave it out"


class Clip:
    """An open clip: what its header states, and its frames.

    It is of use only inside `open_clip`: PyAV reads freed memory afterwards.

    Attributes
    ----------
    path
        The file.
    rate
        Frames per second as the header states them, or None.
    tick
        The unit of its times, in seconds.
    reformatter
        PyAV's converter of its frames.
    """

    def __init__(self, path: Path, container: Any, stream: Any, reformatter: Any) -> None:
        self.path = path
        self.reformatter = reformatter
        self.rate: Fraction | None = stream.average_rate or stream.guessed_rate or None
        self.tick: Fraction = stream.time_base or Fraction(0)
        self._container = container
        self._stream = stream

    def moments(self) -> Iterator[Moment]:
        """Decode the frames in the order in which they are shown.

        Raises
        ------
        ValueError
            If a frame cannot be decoded without damage, or there are fewer than the header states.
        """
        errors = _errors()
        packets = frames = 0
        end = Fraction(0)
        try:
            for packet in self._container.demux(self._stream):
                packets += packet.size > 0
                if packet.is_corrupt:
                    raise self._broken(frames, "the data of the next one are cut off")
                for frame in packet.decode():
                    if frame.is_corrupt:
                        raise self._broken(frames, "the next one is damaged")
                    moment = self._moment(frame)
                    yield moment
                    frames += 1
                    end = (moment.time or Fraction(0)) + (moment.duration or Fraction(0))
        except errors as error:
            raise self._broken(frames, f"then comes {_reason(error)!r}") from error
        self._check_complete(packets, frames, end)

    def _moment(self, frame: Any) -> Moment:
        ticks = getattr(frame, "duration", None) or 0  # PyAV has it from 14.4 on
        return Moment(
            frame,
            None if frame.pts is None else frame.pts * self.tick,
            ticks * self.tick if ticks > 0 else None,
        )

    def _check_complete(self, packets: int, frames: int, end: Fraction) -> None:
        """Compare what was decoded with what the header states.

        Fewer frames alone are no fault: an MP4 file may hide some of its frames, and an AVI file
        leave some out for the one before to stay. Then the clip still lasts as long as stated.
        """
        stated = self._stream.frames
        if frames == 0:
            raise self._broken(0, f"its header states {stated or 'none'}")
        if packets >= stated:
            return
        if self._container.format.name == "avi":
            # FFmpeg takes the duration of a cut AVI file from what is left of it
            stated_end = stated * self.tick
        else:
            stated_end = (self._stream.duration or 0) * self.tick
        stated_end += (self._stream.start_time or 0) * self.tick
        if end < stated_end - stated_end / (2 * stated):
            raise self._broken(frames, f"its header states {stated}: it is cut off")

    def _broken(self, frames: int, found: str) -> ValueError:
        return ValueError(
            f"`path`: {str(self.path)!r} is broken: {frames} frames can be decoded, but {found}; "
            + _LEAVE_OUT
        )


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
        If the file is no clip, or visibly cut off.
    """
    av = import_optional("av", "video")
    _check_file(path)
    try:
        container = av.open(
            str(path.absolute()),  # FFmpeg takes what stands before a colon for a protocol
            metadata_errors="replace",
            # a playlist must not reach for other machines
            options={"protocol_whitelist": "file"},
        )
    except _errors() as error:
        raise ValueError(
            f"`path`: {str(path)!r} of {path.stat().st_size} bytes is no clip that FFmpeg can "
            f"read ({_reason(error)}); expected for example .avi, .mp4, .mkv or .webm; {_LEAVE_OUT}"
        ) from error
    with container:
        stream = _video_stream(path, container)
        check_ending(path, container.format.name)
        # an error rather than a frame in which damage is painted over
        stream.codec_context.options = {"err_detect": "crccheck+bitstream+buffer+explode"}
        stream.thread_type = "AUTO"
        yield Clip(path, container, stream, av.video.reformatter.VideoReformatter())


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise ValueError(
            f"`path`: {str(path)!r} is a folder; pass its clips, for example "
            f"`sorted(Path({str(path)!r}).glob('*.avi'))`, or read its images with `read_frames`"
        )
    if not path.exists():
        raise FileNotFoundError(f"`path`: there is no file {str(path)!r}; check the name")
    if path.stat().st_size == 0:
        raise ValueError(f"`path`: {str(path)!r} is empty; {_LEAVE_OUT}")


def _video_stream(path: Path, container: Any) -> Any:
    name = container.format.name
    if name in _TEXT:
        raise ValueError(f"`path`: {str(path)!r} is text, and no clip; {_LEAVE_OUT}")
    if name.endswith(_PICTURES):
        raise ValueError(
            f"`path`: {str(path)!r} is a picture, and no clip; read pictures with `read_frames`"
        )
    stream = container.streams.best("video")
    if stream is None or stream.codec_context is None:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise ValueError(
            f"`path`: {str(path)!r} must hold moving pictures in a known format, got a file with "
            f"{kinds}; {_LEAVE_OUT}"
        )
    return stream


def _reason(error: Exception) -> str:
    """Return what FFmpeg says, without its number and the name of the file."""
    return str(getattr(error, "strerror", None) or error)


def _errors() -> tuple[type[Exception], ...]:
    """Return what PyAV raises where a file is not as it should be."""
    return (import_optional("av", "video").FFmpegError, OSError, EOFError)
