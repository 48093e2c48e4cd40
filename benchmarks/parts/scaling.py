"""How the cost of the fast path grows with the number of steps and with the area of the grid."""

from __future__ import annotations

import math
import operator
import statistics
from collections.abc import Sequence
from functools import partial
from itertools import product
from typing import Any, NamedTuple

from benchmarks.options import Case, Options
from benchmarks.sizes import Setting
from benchmarks.timing import in_turn, rounded, timed
from benchmarks.workload import MEASURED, Measured, Workload, workload_of


class Line(NamedTuple):
    """A straight line, fitted to measurements.

    Attributes
    ----------
    constant
        Seconds that do not depend on the size.
    share
        Of all seconds of the smallest size, the constant.
    """

    constant: float
    share: float


class Power(NamedTuple):
    """A power law, fitted to measurements.

    Attributes
    ----------
    exponent
        The slope in a plot with two logarithmic axes.
    standard_error
        Its standard error.
    """

    exponent: float
    standard_error: float


def fit_power(sizes: Sequence[float], seconds: Sequence[float]) -> Power:
    """Fit seconds ~ size ** exponent by least squares of the logarithms.

    Parameters
    ----------
    sizes, seconds
        At least three of each.

    Returns
    -------
    Power
        Exponent and standard error.

    Examples
    --------
    >>> fit_power([1, 2, 4], [3, 12, 48])
    Power(exponent=2.0, standard_error=0.0)
    """
    x, y = ([math.log(each) for each in values] for values in (sizes, seconds))
    line = statistics.linear_regression(x, y)
    residuals = [b - line.intercept - line.slope * a for a, b in zip(x, y, strict=True)]
    spread = sum((a - statistics.fmean(x)) ** 2 for a in x)
    variance = sum(each**2 for each in residuals) / (len(x) - 2)
    return Power(line.slope, math.sqrt(variance / spread))


def fit_line(sizes: Sequence[float], seconds: Sequence[float]) -> Line:
    """Fit seconds ~ constant + slope * size, so that relative errors are least.

    Parameters
    ----------
    sizes, seconds
        At least two of each.

    Returns
    -------
    Line
        Constant and share.

    Examples
    --------
    >>> fit_line([1, 2, 4], [3, 4, 6])
    Line(constant=2.0, share=0.6666666666666666)
    """
    weights = [1 / each**2 for each in seconds]
    x, y = (sum(map(operator.mul, weights, values)) / sum(weights) for values in (sizes, seconds))
    spread = sum(w * (size - x) ** 2 for w, size in zip(weights, sizes, strict=True))
    pairs = zip(weights, sizes, seconds, strict=True)
    slope = sum(w * (size - x) * (second - y) for w, size, second in pairs) / spread
    constant = y - slope * x
    return Line(constant, constant / (constant + slope * min(sizes)))


def cases(options: Options) -> list[Case]:
    """Return a row for rollouts and training steps over horizons and areas."""
    sizes = options.sizes
    base = sizes.settings[0]
    axes = {
        "steps": [base._replace(horizon=horizon) for horizon in sizes.horizons],
        "area": [base._replace(height=height, width=width) for height, width in sizes.grids],
    }
    return [
        Case(
            {
                "measured": measured,
                "against": axis,
                "width": sizes.widths[0],
                "precision": precision,
                "rounds": options.rounds,
            },
            partial(follow, measured, axis, axes[axis], precision, options),
        )
        for measured, axis, precision in product(MEASURED, axes, options.precisions)
    ]


def follow(
    measured: Measured, axis: str, settings: Sequence[Setting], precision: str, options: Options
) -> dict[str, Any]:
    """Time all sizes in turn and fit a power law to their medians."""
    width = options.sizes.widths[0]
    workloads = [workload_of(options, setting, width, precision) for setting in settings]
    works = {_name(each): each.work(measured, "fast") for each in workloads}
    times = in_turn(
        {name: timed(work, options.device) for name, work in works.items()}, options.rounds
    )
    seconds = [statistics.median(each) for each in times.values()]
    counts = [
        setting.steps if axis == "steps" else setting.height * setting.width for setting in settings
    ]
    power, line = fit_power(counts, seconds), fit_line(counts, seconds)
    return {
        "batch": settings[0].batch,
        "exponent": rounded(power.exponent),
        "standard_error": rounded(power.standard_error),
        "constant_seconds": rounded(line.constant),
        "constant_share": rounded(line.share),
        "points": [
            {axis: count, "size": name, "seconds": rounded(each)}
            for count, name, each in zip(counts, times, seconds, strict=True)
        ],
        "seconds_by_round": {name: [*map(rounded, each)] for name, each in times.items()},
    }


def _name(workload: Workload) -> str:
    setting = workload.setting
    return f"{setting.context} to {setting.horizon} frames of {setting.height}x{setting.width}"
