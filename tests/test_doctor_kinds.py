"""The kind of a model is recognised from its traced loss and its batches, whatever its layers and shapes are."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.sequence_models import TASKS, Variant, draw, setup

from hae_jax.doctor import examine
from hae_jax.doctor.kind import KINDS, find_kind

pytestmark = pytest.mark.filterwarnings("ignore")
SMALL = {"units": 8, "length": 8, "batch": 8}
VARIANTS = {
    "forecaster": {"cell": "gru", "squeeze": True},
    "window": {"squeeze": True, "form": "tuple"},
    "regressor": {"layers": 2, "bidirectional": True, "conv": True},
    "step regressor": {"cell": "gru", "squeeze": True, "attention": True},
    "classifier": {"one_hot": True, "masked": True},
    "tagger": {"bidirectional": True, "masked": True},
    "binary": {"squeeze": True, "cell": "gru", "layers": 2},
    "language model": {"masked": True, "layers": 2, "form": "tuple"},
    "seq2seq": {"attention": True, "masked": True},
    "text autoencoder": {"bidirectional": True, "masked": True},
    "series autoencoder": {"cell": "gru", "conv": True},
    "VAE": {"cell": "gru", "layers": 2},
}


@pytest.fixture
def untrained(monkeypatch):
    """Examines without the probes that train."""
    module = sys.modules["hae_jax.doctor.examine"]
    monkeypatch.setattr(module, "TRAINING", {})
    return examine


def test_every_task_has_variants():
    assert set(VARIANTS) == set(TASKS)


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("task", TASKS)
def test_the_kind_is_recognised_and_no_fault_is_found_before_training(task, plain, untrained):
    variant = Variant(task, **SMALL, **({} if plain else VARIANTS[task]))
    report = untrained(setup(variant))
    assert report.kind == variant.kind
    assert report.kind in KINDS
    assert report.findings == [], str(report)
    assert not any("failed" in reason for reason in report.unsettled), report.unsettled


@pytest.mark.slow
@pytest.mark.parametrize("number", range(60, 96))
def test_the_kind_of_random_variants_is_recognised(number, untrained):
    variant = draw(number)
    report = untrained(setup(variant))
    assert report.kind == variant.kind, variant
    # Gradients that grow are a finding only if the model does not learn, which is not tried here.
    assert [each.cause for each in report.findings if each.cause != "exploding-recurrence"] == [], str(report)


def test_the_kind_is_part_of_the_report(untrained):
    report = untrained(setup(Variant("regressor", **SMALL)))
    assert report.to_dict()["kind"] == "regressor"
    assert "in this regressor" in str(report)


def test_a_loss_without_outputs_is_of_unknown_kind_and_not_healthy():
    def loss(params, batch):
        return jnp.exp(batch["x"] @ params).mean()

    batches = [{"x": np.random.default_rng(n).normal(size=(8, 3)).astype(np.float32)} for n in range(8)]
    report = examine({"loss": loss, "params": jnp.zeros(3), "batches": batches, "optimizer": optax.sgd(0.01)})
    assert (report.kind, report.verdict) == ("unknown", "unknown")
    assert any("neither logits nor predictions" in reason for reason in report.unsettled)


@pytest.mark.parametrize(
    ("evidence", "kind"),
    [
        ({}, "unknown"),
        ({"learned_noise": True, "output": "numbers", "goal": "own", "output_steps": 9}, "VAE"),
        ({"output": "logits", "goal": "own", "output_steps": 9, "reach_back": 0.0, "goal_shift": 1}, "language model"),
        ({"output": "logits", "goal": "own", "output_steps": 9, "reach_back": 0.1, "bottleneck": True}, "autoencoder"),
        ({"output": "numbers", "goal": "own", "output_steps": 9, "reach_back": 0.0, "goal_shift": 1}, "forecaster"),
        ({"output": "numbers", "goal": "pool", "output_steps": 1}, "forecaster"),
        ({"output": "numbers", "goal": "other", "output_steps": 1}, "regressor"),
        ({"output": "logits", "goal": "other", "output_steps": 1, "classes_are_words": True}, "language model"),
        ({"output": "binary", "goal": "other", "output_steps": 5}, "classifier"),
        (
            {"output": "logits", "goal": "other", "output_steps": 9, "sees_other_whole": True, "reads_goal": True},
            "seq2seq",
        ),
    ],
)
def test_the_kind_follows_from_the_form(evidence, kind):
    assert find_kind(evidence) == kind


def test_batch_normalization_mixes_no_axes(untrained):
    """Examples depend on each other by design, and the mean is taken over batch and time, not over features."""

    def loss(params, batch):
        x = batch["x"] @ params["in"]
        x = (x - x.mean((0, 1))) * jax.lax.rsqrt(x.var((0, 1)) + 1e-3)
        return jnp.square((jnp.tanh(x).mean(1) @ params["out"])[:, 0] - batch["y"]).mean()

    rng = np.random.default_rng(0)
    params = {"in": rng.normal(size=(3, 8)).astype(np.float32), "out": rng.normal(size=(8, 1)).astype(np.float32)}
    batches = [
        {"x": rng.normal(size=(8, 6, 3)).astype(np.float32), "y": rng.normal(size=8).astype(np.float32)}
        for _ in range(6)
    ]
    report = untrained({"loss": loss, "params": params, "batches": batches, "optimizer": optax.adam(1e-2)})
    assert report.findings == [], str(report)
    assert report.kind == "regressor"
