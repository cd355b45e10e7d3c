"""Checks of the table of gradients at initialization."""

import pytest

from benchmarks.gradients.initialization import NORMS, RECIPES, checks
from benchmarks.harness.record import RESULTS, read


def record(name, slope, predicted, norm="none"):
    """A row with a measured slope and a prediction by both theories."""
    numbers = {key: {"mean": value, "half": 0.0} for key, value in
               (("slope", slope), ("predicted", predicted), ("untied", predicted))}  # fmt: skip
    return {"cell": name, "config": {"recipe": name, "layer_norm": norm, "inputs": "noise"}, "numbers": numbers}


def test_checks_compare_slopes_with_theory():
    rows = [record(name, 0.1 * k, 0.1 * k + 0.2 * (k == 3)) for k, name in enumerate(RECIPES)]
    found = {check.name: check for check in checks(rows)}
    assert found["rank correlation of measured slopes with tied theory"].passed
    assert not found["largest error of tied theory, nat a step"].passed
    assert found["largest error of tied theory, nat a step"].value == "0.200"


@pytest.mark.parametrize(("low", "high", "passed"), [(-0.1, 0.1, True), (0.1, 0.2, False)])
def test_checks_find_where_the_slope_crosses_zero(low, high, passed):
    rows = [record("orthogonal x 2, forget bias 1", low, low), record("orthogonal x 4, forget bias 1", high, high)]
    (check,) = checks(rows)
    assert check.passed is passed


def test_checks_of_single_schemes_use_the_closed_forms():
    found = {
        check.name: check
        for check in checks([record("critical, inputs hardly heard", -0.0067, 0), record("normal 0.01", -0.6, 0)])
    }
    assert found["critical, inputs hardly heard within 10 % of ln sigmoid(5)"].passed
    assert not found["normal 0.01 within 10 % of ln 0.5"].passed
    assert not checks([record("critical, inputs hardly heard", -0.0067, 0, "cell, gain 1")])


@pytest.mark.parametrize("inputs", ["noise", "text"])
@pytest.mark.parametrize("norm", NORMS)
def test_the_committed_table_agrees_with_theory(norm, inputs):
    records = read(RESULTS / "gradient_initialisation-cpu-2cores.json")
    assert len(records) == len(RECIPES) * len(NORMS) * 2
    found = {check.name: check for check in checks(records, norm, inputs)}
    assert found["largest error of tied theory, nat a step"].passed
    # Layer normalization of gain 1 makes the slopes nearly equal, so that ranks are not informative.
    if norm != "cell, gain 1":
        assert found["rank correlation of measured slopes with tied theory"].passed
    if norm == "none":
        assert found["normal 0.01 within 10 % of ln 0.5"].passed
    if norm == "none" and inputs == "noise":
        assert found["slope over orthogonal gain crosses 0 between 2 and 4"].passed
