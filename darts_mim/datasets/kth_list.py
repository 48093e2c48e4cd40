"""KTH's own list of its clips: who does what, and in which frames.

``kth_ranges.csv`` holds the facts of the list, ``00sequences.txt``, a range of frames a line.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from darts_mim.checks import checked_integer
from darts_mim.datasets.files import chosen
from darts_mim.datasets.windows import window_starts

KTHSplit: TypeAlias = Literal["train", "test", "all"]

ACTIONS: Final = ("boxing", "handclapping", "handwaving", "jogging", "running", "walking")
PEOPLE: Final[Mapping[KTHSplit, range]] = {
    "train": range(1, 17),
    "test": range(17, 26),
    "all": range(1, 26),
}


class KTHRange(NamedTuple):
    """Frames of a clip in which the person is seen to act."""

    clip: str
    """``person01_boxing_d1``: person, action and scenario (outdoors, larger, other clothes, indoors
    are d1 to d4)."""

    first: int
    """Number of the first frame, from 1."""

    last: int
    """Number of the last frame, which belongs to the range."""

    @property
    def person(self) -> int:
        """Number of the person, 1 to 25."""
        return int(self.clip[6:8])

    @property
    def action(self) -> str:
        """One of the six actions."""
        return self.clip.split("_")[1]

    @property
    def scenario(self) -> int:
        """Number of the scenario, 1 to 4."""
        return int(self.clip[-1])

    @property
    def length(self) -> int:
        """Number of frames."""
        return self.last - self.first + 1


class KTHWindow(NamedTuple):
    """Frames of a clip that a sliding window sees."""

    clip: str
    """The clip, as in `KTHRange`."""

    start: int
    """Number of the first frame in the clip, from 1."""


def kth_ranges(
    split: KTHSplit = "train",
    *,
    actions: str | Iterable[str] | None = None,
    people: int | Iterable[int] | None = None,
) -> list[KTHRange]:
    """List the ranges of frames of KTH's clips. No file of the data set is needed.

    The list has 2,391 ranges in 599 clips: of 25 people, 6 actions and 4 scenarios one is missing,
    ``person13_handclapping_d3``. It is taken as it is. In seven clips ranges overlap: by a frame in
    ``person03_walking_d4``, ``person15_handclapping_d2`` and ``person17_boxing_d1``, by 2 in
    ``person12_handclapping_d4``, by 10 in ``person21_boxing_d2``, and by 100 in
    ``person16_handwaving_d4`` and ``person21_handclapping_d1``. In two others,
    ``person07_jogging_d4`` and ``person07_running_d4``, they are not in order.

    Parameters
    ----------
    split
        ``"train"`` for people 1 to 16, ``"test"`` for 17 to 25, ``"all"`` for both.
    actions
        One or some of boxing, handclapping, handwaving, jogging, running, walking. Default: all.
    people
        One or some of the people of the split, by number. Default: all.

    Returns
    -------
    list of KTHRange
        In the order of people, actions, scenarios, and of the list within a clip.

    Raises
    ------
    ValueError
        If a split or an action is unknown, a person is not in the split, or none is chosen.

    References
    ----------
    C. Schuldt, I. Laptev, B. Caputo. Recognizing Human Actions: A Local SVM Approach. ICPR 2004.
    The split of the people is that of the papers on video prediction.

    Examples
    --------
    >>> ranges = kth_ranges("test", actions=["walking"], people=[25])
    >>> len(ranges), ranges[0], ranges[0].length
    (16, KTHRange(clip='person25_walking_d1', first=1, last=100), 100)
    """
    chosen("split", split, list(PEOPLE))
    wanted_actions = chosen("actions", actions, ACTIONS)
    wanted_people = chosen("people", people, PEOPLE[split])
    return [
        each
        for each in _manifest()
        if each.action in wanted_actions and each.person in wanted_people
    ]


def kth_windows(
    length: int,
    stride: int | Mapping[str, int] = 1,
    split: KTHSplit = "train",
    *,
    actions: str | Iterable[str] | None = None,
    people: int | Iterable[int] | None = None,
) -> list[KTHWindow]:
    """List the windows of KTH's clips. No file of the data set is needed.

    A window lies within one range of frames, and the first of a range starts with it.

    Parameters
    ----------
    length
        Frames of a window.
    stride
        Frames from the start of a window to that of the next in the range; one number, or one for
        each action.
    split, actions, people
        As in `kth_ranges`.

    Returns
    -------
    list of KTHWindow
        In the order of `kth_ranges`, and of time within a range.

    Raises
    ------
    KeyError
        If an action has no stride.
    ValueError
        If `length` or a stride is below 1, or as `kth_ranges` does.

    Notes
    -----
    The papers speak of 108,717 training and 4,086 test sequences and do not say how they arise. Of
    windows of 8 to 60 frames with strides of 1 to 40, one for jogging and running and one for the
    others, in ranges, in ranges joined where they touch, and in whole clips, none has 108,717.

    Examples
    --------
    >>> [len(kth_windows(20, 1, split)) for split in ("train", "test")]
    [115318, 66890]
    >>> strides = dict.fromkeys(ACTIONS, 20) | {"jogging": 3, "running": 3}
    >>> len(kth_windows(30, strides, "test"))
    5737
    """
    checked_integer("length", length)
    ranges = kth_ranges(split, actions=actions, people=people)
    steps: Any = stride if isinstance(stride, Mapping) else dict.fromkeys(ACTIONS, stride)
    return [
        KTHWindow(each.clip, each.first + start)
        for each in ranges
        for start in window_starts(each.length, length, steps[each.action])
    ]


@cache
def _manifest() -> tuple[KTHRange, ...]:
    text = (files("darts_mim.datasets") / "kth_ranges.csv").read_text(encoding="ascii")
    rows = csv.DictReader(text.splitlines())
    return tuple(KTHRange(row["clip"], int(row["first"]), int(row["last"])) for row in rows)
