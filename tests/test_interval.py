"""Intervals against numbers computed by hand."""

import math

import numpy as np
import pytest
from scipy.stats import binom

from benchmarks.harness.statistics import (
    format_median,
    format_rate,
    median_interval,
    paired_differences,
    quartiles,
    wilson,
)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(10, 10, 0.72247, 1.0), (0, 10, 0.0, 0.27753), (7, 10, 0.39678, 0.89221), (1, 29, 0.00611, 0.17176)],
)
def test_wilson_agrees_with_hand_computed_intervals(successes, trials, low, high):
    assert wilson(successes, trials) == pytest.approx((low, high), abs=1e-5)


@pytest.mark.parametrize("number", [6, 7, 10, 20, 40, 120])
def test_the_interval_of_a_median_is_the_narrowest_with_its_coverage(number):
    low, high = (int(x) for x in median_interval([float(x) for x in range(number)]))
    # The number of values below the median is binomial.
    below = binom(number, 0.5).cdf
    assert below(high) - below(low) >= 0.95 > below(high - 1) - below(low + 1)


def test_the_interval_of_few_values_goes_from_the_least_to_the_largest():
    assert [median_interval([2.0, 4.0, 1.0, 5.0, 3.0][:number]) for number in (1, 5)] == [(2, 2), (1, 5)]


def test_wilson_solves_its_defining_equation():
    for p in wilson(3, 11):
        assert abs(3 / 11 - p) == pytest.approx(1.959964 * math.sqrt(p * (1 - p) / 11), rel=1e-6)


def test_without_trials_the_interval_is_0_to_1():
    assert wilson(0, 0) == (0.0, 1.0)


def test_median_of_finite_values_is_that_of_numpy():
    values = np.random.default_rng(0).normal(size=11).tolist()
    assert quartiles(values).median == pytest.approx(np.median(values))
    assert quartiles(values[:10]).median == pytest.approx(np.median(values[:10]))


def test_a_missing_event_counts_as_later_than_all_others():
    assert quartiles([5.0, None, 1.0, None, None]) == (math.inf, 5.0, math.inf)
    assert format_median([5.0, None, 1.0, None, None], 0) == "- [5, -]"
    assert format_median([None, None]) == "-"


def test_equal_quartiles_are_not_shown():
    assert format_median([2.0, 2.0, 2.0]) == "2.00"


def test_differences_are_taken_in_pairs():
    assert paired_differences([3.0, None, 1.0], [1.0, 2.0, 5.0]) == [2.0, -4.0]


def test_rates_are_shown_with_their_interval():
    assert format_rate(7, 10) == "7/10 (40-89 %)"
