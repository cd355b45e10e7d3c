"""Quick runs of the series benchmarks."""

import importlib.util
import json

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the measurements need hae_jax[sklearn]")

from benchmarks.__main__ import run
from benchmarks.series import anomalies, classification, complaints, detectors, keras_examples
from hae_jax.config.series import SERIES

aeon = pytest.mark.skipif(importlib.util.find_spec("aeon") is None, reason="pip install --no-deps aeon")
keras = pytest.mark.skipif(importlib.util.find_spec("keras") is None, reason="Keras comes with hae_jax[peers]")


def quick(benchmark, tmp_path):
    """Runs a benchmark quickly and returns its records."""
    assert run(benchmark, True, False, tmp_path, tmp_path / "work") == 0
    (path,) = tmp_path.glob("*-quick.json")
    return json.loads(path.read_text())


@pytest.mark.slow
@aeon
@keras
@pytest.mark.filterwarnings("ignore")
def test_remedies_have_equal_losses_here_and_in_keras(tmp_path):
    records = quick(keras_examples.TABLE, tmp_path)
    here, there, repaired, linear = (record["numbers"] for record in records)
    assert abs(here["first"][0] - there["first"][0]) < 1e-5
    # Twelve steps without dropout: the same batches, clip and Adam, except for the position of its epsilon and the
    # shift parameters of Keras' normalization.
    np.testing.assert_allclose(here["curve"][0], there["curve"][0], rtol=1e-2)
    assert repaired["curve"][0] != here["curve"][0]
    assert linear["final"][0] < linear["test"][0] < 0.05
    assert keras_examples.render(records).count("\n") == 5


@pytest.mark.slow
def test_complaints_can_be_measured(tmp_path):
    records = quick(complaints.TABLE, tmp_path)
    assert complaints.render(records).count("\n") == 3
    assert all(0 < record["numbers"]["test"][0] < 3 for record in records)


@pytest.mark.slow
@aeon
def test_detectors_can_be_compared(tmp_path):
    records = quick(anomalies.BENCHMARKS[0], tmp_path)
    assert anomalies.BENCHMARKS[0].render(records).count("\n") == 6
    assert all(0 <= each["auc_pr"][0] <= 1 for record in records for each in record["numbers"].values())


@pytest.mark.slow
@aeon
def test_codes_can_be_probed(tmp_path):
    records = quick(classification.BENCHMARKS[0], tmp_path)
    assert records[0]["numbers"]["size"] == 64
    assert records[1]["numbers"]["accuracy"][0] > 0.8
    assert "codes, in windows (ours)" in classification.render(records)


@pytest.mark.slow
@pytest.mark.parametrize("name", detectors.DETECTORS)
def test_every_detector_but_random_numbers_finds_a_plain_anomaly(name):
    rng, at = np.random.default_rng(1), np.arange(900)
    clean, series = (np.sin(at * 2 * np.pi / 30 + phase) + 0.02 * rng.normal(size=900) for phase in (0, 1))
    series[400:430] = 3 * np.sign(series[400:430])
    for scores in detectors.DETECTORS[name](clean, series, 3, 0).values():
        assert scores.shape == (900,)
        assert np.isfinite(scores).all()
        if name != "random numbers":
            assert 400 - detectors.WIDTH <= np.argmax(scores) < 430 + detectors.WIDTH


def test_failing_and_repaired_forms_have_the_documented_configs():
    failing, repaired = (complaints.config_of((128, 64), form, 1000, 0) for form in (False, True))
    assert (failing.spans, repaired.spans) == ((), (12,))
    assert (failing.sizes[-1], repaired.sizes[-1]) == (64, 64)
    assert failing.optim == SERIES["remedy-clipping"].optim
    for data in keras_examples.REPAIRED:
        assert keras_examples.config_of(data, "series", 10, 0).cell.initializer == "mirror"
        for name in keras_examples.PRESETS:
            assert keras_examples.config_of(data, name, 10, 0).cell == SERIES[name].cell
