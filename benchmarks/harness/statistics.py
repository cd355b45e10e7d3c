"""Statistics of few seeds: medians with quartiles, means and success rates with intervals, paired differences."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import NamedTuple

from scipy.stats import binom, t

NORMAL_QUANTILE = 1.959964
"""97.5 % quantile of the normal distribution, for 95 % intervals."""


class Quartiles(NamedTuple):
    """A median and the quartiles."""

    median: float
    low: float
    high: float


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Returns the 95 % interval of a success rate.

        (p + z^2 / 2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)

    Unlike p +- z sqrt(p (1 - p) / n) it has a positive width if all trials succeed, or none, and lies within [0, 1].

    Example:
        >>> low, high = wilson(10, 10)
        >>> round(low, 3), round(high, 3)
        (0.722, 1.0)

    Reference:
        Wilson, 1927, https://doi.org/10.1080/01621459.1927.10502953
    """
    if not trials:
        return 0.0, 1.0
    rate, square = successes / trials, NORMAL_QUANTILE**2 / trials
    middle = rate + square / 2
    spread = NORMAL_QUANTILE * math.sqrt(rate * (1 - rate) / trials + square / (4 * trials))
    return max(0.0, (middle - spread) / (1 + square)), min(1.0, (middle + spread) / (1 + square))


def quartiles(values: Sequence[float | None]) -> Quartiles:
    """Returns the median and the quartiles; None, a missing event or a non-finite value, counts as infinite.

    Quartiles are observed values, not interpolated, so that infinite values do not affect their neighbours.

    Example:
        >>> quartiles([4.0, 1.0, None, 2.0, 3.0])
        Quartiles(median=3.0, low=2.0, high=4.0)
    """
    ordered = sorted(math.inf if value is None else value for value in values)
    last = len(ordered) - 1
    below, above = ordered[last // 2], ordered[-(-last // 2)]
    return Quartiles(
        median=below if below == above else (below + above) / 2,
        low=ordered[math.floor(0.25 * last)],
        high=ordered[math.ceil(0.75 * last)],
    )


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """Returns the 95 % interval of a median for any distribution: two of the order statistics.

    The number of values below the median is binomial with p = 1/2. The interval is the narrowest symmetric pair of
    order statistics with a coverage of at least 95 %; for fewer than six values, which do not reach it, the extremes.

    Example:
        >>> median_interval([float(x) for x in range(1, 101)])
        (40.0, 61.0)
    """
    ordered, number = sorted(values), len(values)
    below = max(int(binom.ppf(0.025, number, 0.5)) - 1, 0)
    return ordered[below], ordered[number - 1 - below]


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Returns the 95 % interval of a mean of few, normally distributed values (Student's t).

        mean +- t s / sqrt(n)

    where t is the quantile of Student's distribution with n - 1 degrees of freedom: 4.3 for three seeds, not 1.96.

    Example:
        >>> low, high = mean_interval([1.0, 2.0, 3.0])
        >>> round(low, 3), round(high, 3)
        (-0.484, 4.484)
    """
    if len(values) < 2:
        return -math.inf, math.inf
    half = float(t.ppf(0.975, len(values) - 1)) * stdev(values) / math.sqrt(len(values))
    return fmean(values) - half, fmean(values) + half


def paired_differences(ours: Sequence[float | None], theirs: Sequence[float | None]) -> list[float]:
    """Returns ours minus theirs for each seed for which both are finite.

    Cells share seeds and batches, so that the variation over seeds cancels.
    """
    return [a - b for a, b in zip(ours, theirs, strict=True) if a is not None and b is not None]


def format_median(values: Sequence[float | None], digits: int = 2) -> str:
    """Formats a median with its quartiles; infinite values as a dash.

    Example:
        >>> format_median([1.0, 2.0, 3.0]), format_median([None, None])
        ('2.00 [1.00, 3.00]', '-')
    """
    result = quartiles(values)
    if not math.isfinite(result.low):
        return "-"
    texts = [f"{x:.{digits}f}" if math.isfinite(x) else "-" for x in result]
    return texts[0] if texts[1] == texts[2] else f"{texts[0]} [{texts[1]}, {texts[2]}]"


def format_rate(successes: int, trials: int) -> str:
    """Formats a number of successes with the interval of the rate in per cent.

    Example:
        >>> format_rate(10, 10)
        '10/10 (72-100 %)'
    """
    low, high = wilson(successes, trials)
    return f"{successes}/{trials} ({100 * low:.0f}-{100 * high:.0f} %)"


def format_mean(values: Sequence[float], digits: int = 2) -> str:
    """Formats a mean with its interval.

    Example:
        >>> format_mean([1.0, 2.0, 3.0]), format_mean([1.5])
        ('2.00 [-0.48, 4.48]', '1.50')
    """
    low, high = mean_interval(values)
    text = f"{fmean(values):.{digits}f}"
    return f"{text} [{low:.{digits}f}, {high:.{digits}f}]" if len(values) > 1 else text
