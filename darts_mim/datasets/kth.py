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
from typing import Final, Literal, TypeAlias, cast

from darts import TimeSeries

from darts_mim.adapters.video import read_video
from darts_mim.datasets.kth_list import KTHRange, KTHSplit, kth_ranges
from darts_mim.grid import grid_of
from darts_mim.series import frames_to_series, series_to_frames

logger = logging.getLogger(__name__)

Missing: TypeAlias = Literal["raise", "skip"]

# Real names lack the scenario, then 1, or the ending "_uncomp".
_NAME: Final = re.compile(r"(person\d\d_[a-z]+)(_d[1-4])?(_uncomp)?")
_FACTS: Final = ("clip", "person", "action", "scenario")
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
        Folder for a file of the decoded frames of each clip, which are memory-mapped: the training
        split of 128 x 128 pixels takes 11 GiB. Default: the frames of the ranges stay in memory. A
        later call decodes again, and replaces the files.
    missing
        How to treat clips that do not exist: raise an error, or log how many there are and the
        first.

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
        If PyAV is missing, which the extra ``datasets`` or ``video`` installs.
    ValueError
        If `size` is not valid, a clip is damaged or shorter than its ranges, or as `kth_ranges`
        does.

    References
    ----------
    C. Schuldt, I. Laptev, B. Caputo. Recognizing Human Actions: A Local SVM Approach. ICPR 2004.

    Examples
    --------
    >>> train = load_kth("data/kth", "train", cache="data/kth_frames")  # doctest: +SKIP
    >>> clips = SeriesWindows(train, length=20)  # doctest: +SKIP
    """
    ranges = kth_ranges(split, actions=actions, people=people)
    files = _found_clips(Path(root))
    wanted = sorted({each.clip for each in ranges})
    lacking = [clip for clip in wanted if clip not in files]
    if lacking:
        found = f"{len(lacking)} of {len(wanted)} clips are not in {Path(root).absolute()}"
        if missing == "raise" or len(lacking) == len(wanted):
            raise FileNotFoundError(f"`root`: {found}, first {lacking[0]}; {_SOURCE}")
        logger.warning("%s, first %s.", found, lacking[0])
    series: list[TimeSeries] = []
    for clip, parts in groupby(ranges, key=lambda each: each.clip):
        if clip in files:
            series += _read_ranges(files[clip], list(parts), size, cache)
    return series


def _found_clips(root: Path) -> dict[str, Path]:
    """Return the files below a folder by the names of their clips in the list."""
    matches = ((path, _NAME.fullmatch(path.stem)) for path in sorted(root.rglob("*.avi")))
    return {match[1] + (match[2] or "_d1"): path for path, match in matches if match}


def _read_ranges(
    file: Path,
    ranges: list[KTHRange],
    size: int | tuple[int, int] | None,
    cache: str | os.PathLike[str] | None,
) -> list[TimeSeries]:
    """Decode a clip once, to the end of its last range, and cut it."""
    end = max(each.last for each in ranges)
    whole = cast(TimeSeries, read_video(file, size=size, grey=True, stop_frame=end, cache=cache))
    grid, frames = grid_of(whole), series_to_frames(whole)
    parts = [frames[each.first - 1 : each.last] for each in ranges]
    series = [
        frames_to_series(
            # a view would keep the frames between the ranges in memory as well
            part.copy() if cache is None else part,
            channel_names=grid.channel_names,
            start=each.first,
            attributes=grid.attributes,
            metadata={"kth": {name: getattr(each, name) for name in _FACTS}},
        )
        for each, part in zip(ranges, parts, strict=True)
    ]
    return cast(list[TimeSeries], series)  # the layout has no B
