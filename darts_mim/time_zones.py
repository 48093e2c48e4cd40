"""Time zones: Darts' series hold none, so that a grid's attributes remember them by name."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timezone, tzinfo
from numbers import Number
from typing import Any

import numpy as np
import pandas as pd

from darts_mim.checks import checked_attributes


def time_zone(times: Any) -> str | None:
    """Name the time zone of times, or of a start.

    Raises
    ------
    ValueError
        If no name gives the zone back.

    Examples
    --------
    >>> (
    ...     time_zone(pd.Timestamp("2026-01-01", tz="Europe/Berlin")),
    ...     time_zone("2026-01-01"),
    ...     time_zone(0),
    ... )
    ('Europe/Berlin', None, None)
    >>> time_zone("2026-01-01 00:00+01:00")
    'UTC+01:00'
    """
    if times is None or isinstance(times, Number):
        return None
    try:
        zone = (pd.Index if np.ndim(times) else pd.Timestamp)(times).tz
    except (AttributeError, TypeError, ValueError):  # no dates, or no valid ones
        return None
    return None if zone is None else _zone_name(zone)


def with_time_zone(
    attributes: Mapping[str, Mapping[str, Any]] | None, zone: str | None
) -> Mapping[str, Mapping[str, Any]] | None:
    """Remember a time zone in the attributes of a grid.

    Examples
    --------
    >>> with_time_zone({"time": {"calendar": "standard"}}, "UTC")
    {'time': {'calendar': 'standard', 'time_zone': 'UTC'}}
    """
    if zone is None:
        return attributes
    attributes = checked_attributes(attributes) or {}
    return {**attributes, "time": {**attributes.get("time", {}), "time_zone": zone}}


def in_time_zone(times: Any, zone: str | None) -> Any:
    """Give wall-clock times back the zone that `time_zone` named.

    Raises
    ------
    ValueError
        If there is no such zone, or a wall-clock time does not exist in it, or does twice.

    Examples
    --------
    >>> in_time_zone(pd.DatetimeIndex(["2026-03-29 01:30"]), "Europe/Berlin")[0]
    Timestamp('2026-03-29 01:30:00+0100', tz='Europe/Berlin')
    """
    if zone is None or not isinstance(times, pd.DatetimeIndex):
        return times
    try:
        if not isinstance(zone, str):
            raise TypeError("it is no string")
        pd.Timestamp(0, tz=zone)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"the attribute 'time_zone' of \"time\" must name a time zone, got {zone!r} ({error}); "
            "write for example 'Europe/Berlin', 'UTC' or 'UTC+01:00'"
        ) from error
    zoned = times.tz_localize(zone, ambiguous="NaT", nonexistent="NaT")
    lost = np.asarray(zoned.isna())
    if lost.any():
        raise ValueError(
            f"the times do not all exist once in the time zone {zone}, whose clocks change at "
            f"{times[lost][0]}; make the series in UTC, with `times.tz_convert('UTC')`"
        )
    return zoned


def _zone_name(zone: tzinfo) -> str:
    """Name a zone so that pandas finds it again, or raise."""
    # of a zone of zoneinfo, or of pytz; others may be called anything, such as CET
    known = getattr(zone, "key", None) or getattr(zone, "zone", None)
    fixed = None if known else zone.utcoffset(None)
    name = str(zone if fixed is None else timezone(fixed))
    try:
        found = pd.Timestamp(0, tz=name).tzinfo
    except (KeyError, ValueError):
        found = None
    if found is None or (fixed is not None and found.utcoffset(None) != fixed):
        raise ValueError(
            f"the time zone {zone} has no name that gives it back; convert the times to one that "
            "has, for example with `times.tz_convert('Europe/Berlin')` or 'UTC'"
        )
    return name
