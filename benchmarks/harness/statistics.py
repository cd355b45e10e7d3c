"""What a handful of seeds can say: medians with quartiles, means and success rates with intervals, differences."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import NamedTuple

from scipy.stats import binom, t

NORMAL = 1.959964
"""Quantile of the normal distribution for intervals of 95 %."""


class Middle(NamedTuple):
    """A median and the quartiles beside it."""

    median: float
    low: float
    high: float


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Returns the 95 % interval of a success rate.

        (p + z^2 / 2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)

    Unlike p +- z sqrt(p (1 - p) / n) it has a width where all trials succeed, or none, and stays within [0, 1].

    Example:
        >>> low, high = wilson(10, 10)
        >>> round(low, 3), round(high, 3)
        (0.722, 1.0)

    Reference:
        Wilson, 1927, https://doi.org/10.1080/01621459.1927.10502953
    """
    if not trials:
        return 0.0, 1.0
    rate, square = successes / trials, NORMAL**2 / trials
    middle = rate + square / 2
    spread = NORMAL * math.sqrt(rate * (1 - rate) / trials + square / (4 * trials))
    return max(0.0, (middle - spread) / (1 + square)), min(1.0, (middle + spread) / (1 + square))


def middle(values: Sequence[float | None]) -> Middle:
    """Returns median and quartiles; None, what never came or is not finite, counts as infinite.

    Quartiles are values that were seen, so that an infinite one does not spoil its neighbours.

    Example:
        >>> middle([4.0, 1.0, None, 2.0, 3.0])
        Middle(median=3.0, low=2.0, high=4.0)
    """
    ordered = sorted(math.inf if value is None else value for value in values)
    last = len(ordered) - 1
    below, above = ordered[last // 2], ordered[-(-last // 2)]
    return Middle(
        median=below if below == above else (below + above) / 2,
        low=ordered[math.floor(0.25 * last)],
        high=ordered[math.ceil(0.75 * last)],
    )


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """Returns the 95 % interval of a median, whatever the values' distribution: two of the values in their order.

    The median lies above as many of n values as a coin shows heads in n throws. The two are as near to each other, as
    many values being left out on either side, as 95 % at least allow; of fewer than six values, which cannot say so
    much, the first and the last.

    Example:
        >>> median_interval([float(x) for x in range(1, 101)])
        (40.0, 61.0)
    """
    ordered, number = sorted(values), len(values)
    below = max(int(binom.ppf(0.025, number, 0.5)) - 1, 0)
    return ordered[below], ordered[number - 1 - below]


def student(values: Sequence[float]) -> tuple[float, float]:
    """Returns the 95 % interval of a mean of few, normally distributed values.

        mean +- t s / sqrt(n)

    where t is the quantile of Student's distribution with n - 1 degrees of freedom: 4.3 for three seeds, not 1.96.

    Example:
        >>> low, high = student([1.0, 2.0, 3.0])
        >>> round(low, 3), round(high, 3)
        (-0.484, 4.484)
    """
    if len(values) < 2:
        return -math.inf, math.inf
    away = float(t.ppf(0.975, len(values) - 1)) * stdev(values) / math.sqrt(len(values))
    return fmean(values) - away, fmean(values) + away


def differences(ours: Sequence[float | None], theirs: Sequence[float | None]) -> list[float]:
    """Returns ours minus theirs, seed by seed, where both are finite.

    The spread over seeds is shared by both and falls out: batches and seeds are the same in all cells.
    """
    return [a - b for a, b in zip(ours, theirs, strict=True) if a is not None and b is not None]


def show(values: Sequence[float | None], digits: int = 2) -> str:
    """Writes a median with its quartiles; what is infinite as a dash.

    Example:
        >>> show([1.0, 2.0, 3.0]), show([None, None])
        ('2.00 [1.00, 3.00]', '-')
    """
    found = middle(values)
    if not math.isfinite(found.low):
        return "-"
    texts = [f"{x:.{digits}f}" if math.isfinite(x) else "-" for x in found]
    return texts[0] if texts[1] == texts[2] else f"{texts[0]} [{texts[1]}, {texts[2]}]"


def rate(successes: int, trials: int) -> str:
    """Writes how many of the trials succeeded, with the interval in per cent.

    Example:
        >>> rate(10, 10)
        '10/10 (72-100 %)'
    """
    low, high = wilson(successes, trials)
    return f"{successes}/{trials} ({100 * low:.0f}-{100 * high:.0f} %)"


def mean(values: Sequence[float], digits: int = 2) -> str:
    """Writes a mean with its interval.

    Example:
        >>> mean([1.0, 2.0, 3.0]), mean([1.5])
        ('2.00 [-0.48, 4.48]', '1.50')
    """
    low, high = student(values)
    text = f"{fmean(values):.{digits}f}"
    return f"{text} [{low:.{digits}f}, {high:.{digits}f}]" if len(values) > 1 else text
