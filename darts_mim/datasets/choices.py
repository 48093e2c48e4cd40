"""What is chosen of the parts of a data set: years, people, actions."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any


def checked_choices(
    name: str, chosen: Any, known: Collection[Any], *, listing: str = "", otherwise: str = ""
) -> list[Any]:
    """Return what is chosen, each once and in the order of what is known.

    Parameters
    ----------
    name
        Name of the argument, for messages.
    chosen
        Some of what is known, or a single one of it.
    known
        What there is.
    listing
        How messages say what is known. Default: all of it.
    otherwise
        What else to do, for messages.

    Returns
    -------
    list
        At least one.

    Raises
    ------
    ValueError
        If nothing is chosen, or something that is not known.

    Examples
    --------
    >>> checked_choices("years", [2012, 2010, 2012], range(2010, 2015))
    [2010, 2012]
    >>> checked_choices("years", 2011, range(2010, 2015))
    [2011]
    """
    is_single = isinstance(chosen, str) or not isinstance(chosen, Iterable)
    wanted = [chosen] if is_single else list(chosen)
    listing = listing or ", ".join(map(str, known))
    if not wanted:
        raise ValueError(f"`{name}` must not be empty; pass some of {listing}, or leave it out")
    if unknown := [each for each in wanted if each not in known]:
        raise ValueError(
            f"`{name}` must be some of {listing}, got {unknown}; "
            f"{otherwise or 'pass those, or leave it out'}"
        )
    return [each for each in known if each in wanted]
