"""What to change where a training step does not fit in memory, and what each change would give."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from darts.logging import get_logger

from darts_mim.models.costs import Setting, StepCosts
from darts_mim.models.plans import Plan, costs_of
from darts_mim.models.units import in_bytes

__all__ = ["Change", "changes"]

logger = get_logger(__name__)

_LEAST_WIDTH = 8  # channels of a layer: to have fewer is no advice


class Change(NamedTuple):
    """A change of one option, and what a training step would take with it.

    Attributes
    ----------
    option
        Name of the option.
    value
        Its value instead.
    step_bytes
        The most bytes that tensors take at any time of a step.
    fits
        Whether there is as much.
    """

    option: str
    value: Any
    step_bytes: int
    fits: bool

    def __str__(self) -> str:
        still = "" if self.fits else ", still too much"
        return f"{self.option}={self.value}: {in_bytes(self.step_bytes)}{still}"


def changes(plan: Plan, setting: Setting, costs: StepCosts, room: int) -> tuple[Change, ...]:
    """Return what each option could change of the memory that a step takes.

    Each is changed alone, as little as it takes; where it takes more than there is, to where the
    step needs the least.

    Parameters
    ----------
    plan, setting, costs
        The model and its data, and what a step takes under which setting.
    room
        Bytes that there are.

    Returns
    -------
    tuple of Change
        Recomputation first, which changes nothing else. Options that do not help are left out.
    """
    found: list[Change] = []
    for option, values in _options(plan):
        priced = ((value, _total(plan, setting, **{option: value})) for value in values)
        found += _mildest(option, priced, costs.total, room)
    share = (room - costs.fixed) / max(costs.activations, 1)  # of the activations that would fit
    sizes = _halved(max(min(math.floor(setting.batch_size * share), setting.batch_size - 1), 0))
    priced = ((n, _total(plan, setting._replace(batch_size=n))) for n in sizes)
    found += _mildest("batch_size", priced, costs.total, room)
    return tuple(found)


def _mildest(
    option: str, priced: Iterator[tuple[Any, int | None]], total: int, room: int
) -> Iterator[Change]:
    """Yield the first value that fits, else the last one that still lessens the memory."""
    best: Change | None = None
    for value, step_bytes in priced:
        if step_bytes is None or step_bytes >= total:
            break
        total = step_bytes
        best = Change(option, value, step_bytes, fits=step_bytes <= room)
        if best.fits:
            break
    if best is not None:
        yield best


def _options(plan: Plan) -> Iterator[tuple[str, list[Any]]]:
    """Yield options of a network with values that should lessen its memory, the mildest first.

    Other networks may mean something else by these names: an option counts where it has the form
    that those of this package have.
    """
    options, (_, height, width) = plan.model.model_params, plan.grid.shape
    if options.get("recompute") is False:
        yield "recompute", [True]
    patch, widths = options.get("patch_size"), options.get("hidden_channels")
    if isinstance(widths, int):
        yield "hidden_channels", [widths // 2**k for k in _powers(widths)]
    if isinstance(patch, int):
        yield "patch_size", list(_doubled(patch, min(height, width)))
    if isinstance(widths, tuple | list) and widths and all(isinstance(w, int) for w in widths):
        powers = _powers(min(widths))
        yield "hidden_channels", [tuple(each // 2**k for each in widths) for k in powers]


def _powers(width: int) -> range:
    """Return how often a width can be halved."""
    return range(1, int(width // _LEAST_WIDTH).bit_length())


def _doubled(number: int, most: int) -> Iterator[int]:
    while (number := 2 * number) <= most:
        yield number


def _halved(number: int) -> Iterator[int]:
    number = max(number, 1)
    while number:
        yield number
        number //= 2


def _total(plan: Plan, setting: Setting, **options: Any) -> int | None:
    """Return what a step would take, ``None`` where it cannot be told, as of a refused value."""
    try:
        return costs_of(plan, setting, **options).total
    except Exception:
        logger.debug("What %s would give cannot be told.", options, exc_info=True)
        return None
