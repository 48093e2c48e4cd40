"""KTH's clips of human actions as series.

Letters for shapes: T time, C channels, H height (rows), W width (columns).
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Final, Literal, TypeAlias, cast, get_args

from darts import TimeSeries

from darts_mim.adapters.video import read_video
from darts_mim.adapters.video.pixels import checked_frame_size
from darts_mim.checks import counted
from darts_mim.datasets.kth_list import KTHRange, KTHSplit, kth_ranges
from darts_mim.grid import grid_of
from darts_mim.series import frames_to_series, series_to_frames

logger = logging.getLogger(__name__)

Missing: TypeAlias = Literal["raise", "skip"]

# Real names lack the scenario, then 1, or the ending "_uncomp".
_NAME: Final = re.compile(r"(person\d\d_[a-z]+)(_d[1-4])?(_uncomp)?")
_SOURCE: Final = (
    "get the six archives, one for each action, from https://www.csc.kth.se/cvap/actions/ and "
    "unpack them there, or pass fewer `people` and `actions`, or missing='skip' to do without"
)


def load_kth(
    root: str | os.PathLike[str],
    split: KTHSplit = "train",
    *,
    actions: str | Iterable[str] | None = None,
    people: int | Iterable[int] | None = None,
    size: int | tuple[int, int] | None = 128,
    cache: str | os.PathLike[str] | None = None,
    missing: Missing = "raise",
) -> list[TimeSeries]:
    """Read KTH's clips of human actions, a series for each range of frames in which someone acts.

    Walkers, joggers and runners leave the picture and come back; the ranges are those of the
    data set's own list, in which they are seen (`kth_ranges`).

    Parameters
    ----------
    root
        Folder with the clips, ``person01_boxing_d1_uncomp.avi`` and so on, in itself or in folders
        below it.
    split
        ``"train"`` for people 1 to 16, ``"test"`` for 17 to 25, ``"all"`` for both.
    actions, people
        Some of the actions, some of the people of the split, as in `kth_ranges`. Default: all.
    size
        Height and width in pixels, or one number for both; None keeps 120 x 160. Frames are
        resized linearly, averaging over what a new pixel covers.
    cache
        Folder, made where there is none, for a file of the decoded frames of each clip, which are
        mapped from there: the training split of 128 x 128 pixels takes 11 GiB. Default: the frames
        of the ranges stay in memory. A later call decodes again, and replaces the files.
    missing
        What becomes of clips that are not there: an error, or a warning in the log that counts
        them and names the first.

    Returns
    -------
    list of TimeSeries
        In the order of `kth_ranges`, grey, float32 in [0, 1]. The index of a series counts the
        frames of its clip as the list does, from 1. ``series.metadata["kth"]`` has the ``clip``,
        the ``person``, the ``action`` and the ``scenario``.

    Raises
    ------
    FileNotFoundError
        If the folder or a clip is missing; nothing is fetched, as no checksums are published.
    ImportError
        If PyAV is missing: ``pip install 'darts-mim[datasets]'``, or ``[video]`` alone.
    OSError
        If `cache` cannot be made, or not be written to.
    TypeError
        If `size` is no integer, or `cache` no path.
    ValueError
        If `size` is below 1 or neither one number nor two; if a clip has an unknown name, is there
        twice, is damaged or shorter than its ranges; or as `kth_ranges` does.

    References
    ----------
    C. Schuldt, I. Laptev, B. Caputo. Recognizing Human Actions: A Local SVM Approach. ICPR 2004.

    Examples
    --------
    >>> train = load_kth("data/kth", "train", cache="data/kth_frames")  # doctest: +SKIP
    >>> clips = SeriesWindows(train, length=20)  # doctest: +SKIP
    """
    if missing not in get_args(Missing):
        raise ValueError(f"`missing` must be 'raise' or 'skip', got {missing!r}")
    ranges = kth_ranges(split, actions=actions, people=people)
    size = checked_frame_size(size)
    files = _found_clips(Path(root))
    lacking = sorted({each.clip for each in ranges} - set(files))
    if lacking:
        _report_missing(lacking, len({each.clip for each in ranges}), Path(root), missing)
    folder = None if cache is None else _made_folder(cache)
    series: list[TimeSeries] = []
    for clip, parts in groupby(ranges, key=lambda each: each.clip):
        if clip in files:
            series += _read_ranges(files[clip], list(parts), size, folder)
    return series


def _found_clips(root: Path) -> dict[str, Path]:
    """Return the files below a folder by the names of their clips in the list."""
    if not root.is_dir():
        raise FileNotFoundError(f"`root`: there is no folder {root.absolute()}; {_SOURCE}")
    known = {each.clip for each in kth_ranges("all")}
    found: dict[str, Path] = {}
    for path in sorted(root.rglob("*.avi")):
        match = _NAME.fullmatch(path.stem)
        clip = match and match[1] + (match[2] or "_d1")
        if clip not in known:
            raise ValueError(
                f"`root`: {path} is none of KTH's clips by its name, expected for example "
                "person01_boxing_d1_uncomp.avi; rename it, or take it out of the folder"
            )
        if clip in found:
            raise ValueError(
                f"`root`: {found[clip]} and {path} are both the clip {clip}; take one out of the "
                "folder"
            )
        found[clip] = path
    return found


def _report_missing(lacking: list[str], wanted: int, root: Path, missing: Missing) -> None:
    names = ", ".join(lacking[:3]) + (", ..." if len(lacking) > 3 else "")
    found = f"{len(lacking)} of {counted(wanted, 'clip')} are not in {root.absolute()}: {names}"
    if missing == "raise" or len(lacking) == wanted:
        raise FileNotFoundError(f"`root`: {found}; {_SOURCE}")
    logger.warning("%s.", found)


def _made_folder(cache: str | os.PathLike[str]) -> Path:
    if not isinstance(cache, str | os.PathLike):
        raise TypeError(
            f"`cache` must be the path of a folder, got {cache!r} of type {type(cache).__name__}; "
            "pass one, or None to keep frames in memory"
        )
    folder = Path(cache)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"`cache`: the folder {folder.absolute()} cannot be made ({error}); pass another, or "
            "None to keep frames in memory"
        ) from error
    if not os.access(folder, os.W_OK):
        raise PermissionError(
            f"`cache`: the folder {folder.absolute()} cannot be written to; pass another, or None "
            "to keep frames in memory"
        )
    return folder


def _read_ranges(
    file: Path, ranges: list[KTHRange], size: tuple[int, int] | None, cache: Path | None
) -> list[TimeSeries]:
    """Decode a clip once, to the end of its last range, and cut it."""
    end = max(each.last for each in ranges)
    try:
        whole = cast(
            TimeSeries, read_video(file, size=size, grey=True, stop_frame=end, cache=cache)
        )
    except ValueError as error:
        raise ValueError(
            f"`root`: {file} must hold {end} frames, the end of the last range in KTH's list: "
            f"{error}"
        ) from error
    grid, frames = grid_of(whole), series_to_frames(whole)
    # a view of one range would keep the frames between the ranges in memory as well
    is_copied = cache is None and sum(each.length for each in ranges) < end
    parts = [frames[each.first - 1 : each.last] for each in ranges]
    series = [
        frames_to_series(
            part.copy() if is_copied else part,
            channel_names=grid.channel_names,
            start=each.first,
            attributes=grid.attributes,
            metadata={
                "kth": {
                    "clip": each.clip,
                    "person": each.person,
                    "action": each.action,
                    "scenario": each.scenario,
                }
            },
        )
        for each, part in zip(ranges, parts, strict=True)
    ]
    return cast(list[TimeSeries], series)  # the layout has no B
