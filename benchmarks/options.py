"""What ``python -m benchmarks`` is asked for."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.sizes import PAPER, QUICK, Setting, Sizes

PARTS = ("steps", "scaling", "calls", "darts", "recompute", "peer")
PRECISIONS = ("float32", "bfloat16")
NAMES = [setting.name for setting in PAPER.settings]


class PartSkippedError(Exception):
    """A part cannot be measured here; the message says why."""


class PeerError(Exception):
    """Another implementation is not where it was said to be; the message says what is missing."""


class Case(NamedTuple):
    """A row to measure.

    Attributes
    ----------
    key
        What tells the row from all others of its part.
    measure
        Returns the rest of the row.
    """

    key: dict[str, Any]
    measure: Callable[[], dict[str, Any]]


class PeerPlace(NamedTuple):
    """Where another implementation lies.

    Attributes
    ----------
    folder
        A checkout of it.
    class_name
        ``MODULE:CLASS`` in it.
    adapter
        A file with ``build`` and ``step``, for one that is not called like OpenSTL's.
    """

    folder: Path
    class_name: str | None
    adapter: Path | None


@dataclass(frozen=True)
class Options:
    """What to measure, and where.

    Attributes
    ----------
    device
        ``"cpu"`` or ``"cuda"``.
    rounds
        How often each is measured.
    precisions
        ``"float32"``, ``"bfloat16"`` or both.
    sizes
        Sizes of all parts.
    settings, widths
        Those of the parts ``steps`` and ``peer``.
    peer
        Another implementation.
    """

    device: str
    rounds: int
    precisions: tuple[str, ...]
    sizes: Sizes
    settings: tuple[Setting, ...]
    widths: tuple[int, ...]
    peer: PeerPlace | None


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    add("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    add("--threads", type=int, default=torch.get_num_threads())
    add("--rounds", type=int, default=5)
    add("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    add("--settings", nargs="+", choices=NAMES, help="of steps and peer; by default all")
    add("--widths", nargs="+", type=int, help="of steps and peer; by default 64 and 128")
    add("--quick", action="store_true", help="tiny sizes, to see whether all runs")
    add("--peer", type=Path, metavar="PATH", help="checkout of another implementation")
    add("--peer-class", metavar="MODULE:CLASS", help="its network, called like OpenSTL's MIM_Model")
    add("--peer-adapter", type=Path, metavar="FILE.py", help="defines build(workload), and step")
    add("--output", type=Path, default=Path("build/benchmarks.json"), help="resumed if it exists")
    parsed = parser.parse_args(arguments)
    if parsed.quick and (parsed.settings or parsed.widths):
        parser.error("--quick has sizes of its own: leave out --settings and --widths")
    if parsed.peer and not (parsed.peer_class or parsed.peer_adapter):
        parser.error("--peer needs --peer-class MODULE:CLASS, or --peer-adapter FILE.py")
    return parsed


def options_of(parsed: argparse.Namespace) -> Options:
    """Return the options of a command line."""
    sizes = QUICK if parsed.quick else PAPER
    chosen = parsed.settings or [setting.name for setting in sizes.settings]
    return Options(
        device=parsed.device,
        rounds=parsed.rounds,
        precisions=tuple(parsed.precisions),
        sizes=sizes,
        settings=tuple(each for each in sizes.settings if each.name in chosen),
        widths=tuple(parsed.widths or sizes.widths),
        peer=parsed.peer and PeerPlace(parsed.peer, parsed.peer_class, parsed.peer_adapter),
    )
