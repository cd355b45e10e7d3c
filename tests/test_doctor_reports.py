"""Models of public reports: they can be built, the repaired ones learn, and ten are kept for the last test."""

import inspect
import random

import jax
import numpy as np
import pytest

from benchmarks.doctor.models.threads import THREADS
from benchmarks.doctor.reports import accuracy, last_test
from benchmarks.doctor.reports.case import HEALTHY
from benchmarks.doctor.reports.catalogue import CASES, HELD_OUT
from benchmarks.doctor.reports.causes import PROPOSED
from benchmarks.doctor.reports.learning import final, losses
from hae_jax.doctor.rules import RULES

pytestmark = pytest.mark.filterwarnings("ignore")
BY_NAME = {case.name: case for case in CASES}
BROKEN = {"probability-unbounded"}
"""Causes that make the very first loss NaN."""
QUICK = {"karpathy/char-rnn#70": 60, "keras-team/keras#14490": 60, "Nixtla/neuralforecast#186": 80}
"""Reports whose healthy twins are trained in a quick run, and for how many steps."""
every_case = pytest.mark.parametrize("name", BY_NAME)


def first_loss(setup):
    """The loss of the first batch, traced: no more than its shape is computed."""
    taken = len(inspect.signature(setup["loss"]).parameters)

    def value(*given):
        result = setup["loss"](*given[:taken])
        return result[0] if isinstance(result, tuple) else result

    return value, (setup["params"], setup["batches"][0], jax.random.key(0))


@every_case
def test_every_model_can_be_built_and_has_one_number_as_its_loss(name):
    for setup in BY_NAME[name].models.values():
        function, given = first_loss(setup)
        assert jax.eval_shape(function, *given).shape == ()
        assert len({np.shape(leaf)[0] for leaf in jax.tree.leaves(setup["batches"][0])}) == 1
        assert len(setup["batches"]) == 24
        setup["optimizer"].init(setup["params"])


def check_start(name):
    case = BY_NAME[name]
    for role, setup in case.models.items():
        function, given = first_loss(setup)
        loss = abs(float(jax.jit(function)(*given)))
        assert (loss < 1e6) == (role == "twin" or case.cause not in BROKEN), (role, loss)


def check_learning(name, steps):
    curve = losses(BY_NAME[name].build(False), steps)
    assert np.isfinite(curve).all()
    assert final(curve) < BY_NAME[name].goal < curve[0]


@pytest.mark.parametrize("name", QUICK)
def test_a_healthy_twin_learns(name):
    check_learning(name, QUICK[name])


@pytest.mark.slow
@every_case
def test_every_healthy_model_learns(name):
    check_learning(name, 300)


@pytest.mark.parametrize("name", QUICK)
def test_the_loss_is_finite_at_first_unless_that_is_the_fault(name):
    check_start(name)


@pytest.mark.slow
@every_case
def test_every_loss_is_finite_at_first_unless_that_is_the_fault(name):
    check_start(name)


def test_a_fault_is_more_than_a_name():
    for case in CASES:
        texts = inspect.getsource(case.build)
        assert ("faulty" in texts.split(":", 1)[1]) == (case.cause != HEALTHY), case.name


def test_reports_are_new_and_have_a_cause_that_is_described():
    assert len(BY_NAME) == len(CASES) >= 40
    assert not set(BY_NAME) & set(THREADS)
    known = {rule.cause for rule in RULES} | set(PROPOSED) | {HEALTHY}
    assert {case.cause for case in CASES} <= known
    assert {case.kind for case in CASES} >= {"language model", "seq2seq", "autoencoder", "VAE", "forecaster"}
    assert BY_NAME["google/flax#3982"].url == "https://github.com/google/flax/pull/3982"


def test_proposed_causes_name_a_report_with_that_cause():
    for slug, proposed in PROPOSED.items():
        assert [case for case in CASES if case.cause == slug and case.url == proposed.source], slug
        assert all(len(text) > 15 for text in proposed)


def test_the_reports_for_the_last_test_were_drawn_at_random():
    assert set(random.Random(20261127).sample(sorted(BY_NAME), 10)) == HELD_OUT
    assert {case.name for case in CASES if case.held_out} == HELD_OUT


def test_reports_for_the_last_test_are_in_its_table_only():
    shown = {cell.config["report"] for cell in accuracy.cells(quick=False)}
    assert shown == set(BY_NAME) - HELD_OUT
    assert {cell.config["report"] for cell in last_test.cells(quick=False)} == HELD_OUT
    assert last_test.cells(quick=True) == []


@pytest.mark.slow
def test_a_model_is_examined_and_its_evidence_kept(tmp_path):
    (cell,) = (cell for cell in accuracy.cells(False) if cell.name == "sherjilozair/char-rnn-tensorflow#64 | report")
    numbers = accuracy.measure(cell, tmp_path)
    assert numbers["causes"][0] == cell.config["fault"] == "target-leak"
    assert (tmp_path / "evidence.json").stat().st_size > 100


def test_tables_count_right_causes_and_disturbed_healthy_models():
    cells = [cell for cell in accuracy.cells(False) if "neuralforecast" in cell.name or "magenta" in cell.name]
    found = {
        "Nixtla/neuralforecast#186 | report": ["data-not-finite", "not-finite"],
        "magenta/magenta#945 | report": [],
    }
    records = [
        {"cell": cell.name, "config": cell.config, "numbers": {"causes": found.get(cell.name, ["constant-output"])}}
        for cell in cells
    ]
    assert "| all | 1/1 (" in accuracy.render(records)
    assert accuracy.render(records).splitlines()[2].split("|")[4].startswith(" 1/2 (")
    row = next(line for line in accuracy.render_causes(records).splitlines() if "neuralforecast" in line)
    assert row.endswith("| `data-not-finite` | `constant-output` |")
    assert "| nothing | - |" in accuracy.render_causes(records)
