"""Verdicts that were wrong once, with relatives of the same kind: healthy strangers, and causes behind symptoms."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.sequence_models import Variant, setup

from hae_jax.doctor import examine

pytestmark = pytest.mark.filterwarnings("ignore")


def causes(patient):
    report = examine(patient)
    return [each.cause for each in report.findings], report


def linear(output, goal, count=16, rows=24):
    """A linear regression, with a function of its predictions [n, 1] and of its targets [n, 1]."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, rows, 5)).astype(np.float32)
    y = x @ rng.normal(size=(5, 1)).astype(np.float32)

    def loss(params, batch):
        return jnp.square(output(batch["x"] @ params["w"] + params["b"]) - batch["y"]).mean()

    batches = [{"x": a, "y": goal(b)} for a, b in zip(x, y, strict=True)]
    return {
        "loss": loss,
        "params": {"w": jnp.zeros((5, 1)), "b": jnp.zeros(1)},
        "batches": batches,
        "optimizer": optax.adam(0.05),
    }


HEALTHY = {
    "a GRU predicts each next step": lambda: setup(Variant("forecaster", "gru")),
    "one number an example, of shape [batch]": lambda: setup(Variant("window", "gru", squeeze=True)),
    "one number an example, of shape [batch, 1]": lambda: setup(Variant("regressor", "gru")),
    "a number for each step, of shape [batch, time]": lambda: setup(Variant("step regressor", squeeze=True)),
    "a linear regression": lambda: linear(lambda p: p, lambda y: y),
    "a linear regression of shape [n]": lambda: linear(lambda p: p[:, 0], lambda y: y[:, 0]),
    "targets far from 0": lambda: linear(lambda p: 300 + p, lambda y: 300 + y),
    "a short schedule that is long enough": lambda: (
        linear(lambda p: p, lambda y: y) | {"optimizer": optax.adam(optax.linear_schedule(0.1, 0.0, 150))}
    ),
    "two classes, of which one is frequent": lambda: setup(Variant("binary", "gru", length=8, seed=114)),
    "momentum": lambda: setup(Variant("language model"), optimizer=optax.sgd(0.3, momentum=0.95)),
    "lion": lambda: linear(lambda p: p, lambda y: y) | {"optimizer": optax.lion(1e-2)},
}
SICK = {
    "predictions [n, 1] less targets [n]": ("targets-broadcast", lambda: linear(lambda p: p, lambda y: y[:, 0])),
    "targets [n, 1] and predictions [n]": ("targets-broadcast", lambda: linear(lambda p: p[:, 0], lambda y: y)),
    "gradients are never forgotten": (
        "gradients-accumulated",
        lambda: setup(Variant("language model"), optimizer=optax.chain(optax.trace(1.0), optax.sgd(0.02))),
    ),
    "a schedule that is 0 after 20 steps": (
        "schedule-ended",
        lambda: setup(
            Variant("language model"), optimizer=optax.adam(optax.piecewise_constant_schedule(5e-3, {20: 0.0}))
        ),
    ),
    "RMSprop, far too fast, two layers": (
        "learning-rate-too-high",
        lambda: setup(Variant("language model", layers=2), optimizer=optax.rmsprop(1.0)),
    ),
    "a rate that is a thousand times too high, clipped": (
        "learning-rate-too-high",
        lambda: setup(
            Variant("text autoencoder"), optimizer=optax.chain(optax.clip_by_global_norm(1.0), optax.adam(3.0))
        ),
    ),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_models_of_strangers_are_left_in_peace(name):
    found, report = causes(HEALTHY[name]())
    assert found == [], str(report)
    assert report.verdict == "healthy", str(report)


@pytest.mark.parametrize("name", SICK)
def test_the_cause_is_named_before_its_symptoms(name):
    cause, patient = SICK[name]
    found, report = causes(patient())
    assert found[:1] == [cause], str(report)
    assert report.exit_code == 1


def changed(name, change, **variant):
    """A model whose loss or batches are changed."""
    made = setup(Variant(name, **variant))
    inner = made["loss"]
    return made | {key: value(inner) for key, value in change.items()}


def test_a_loss_with_the_wrong_sign_is_named():
    patient = changed("regressor", {"loss": lambda inner: lambda params, batch, key: -inner(params, batch, key)})
    assert causes(patient)[0][:1] == ["loss-negated"]
    patient = changed("classifier", {"loss": lambda inner: lambda params, batch, key: -inner(params, batch, key)})
    assert causes(patient)[0][:1] == ["loss-negated"]


def test_a_loss_without_a_gradient_is_named():
    stop = jax.lax.stop_gradient
    patient = changed(
        "regressor",
        {"loss": lambda inner: lambda params, batch, key: inner(stop(params), batch, key)},
        units=8,
        length=8,
    )
    assert causes(patient)[0][:1] == ["no-gradient"]


def test_missing_values_in_the_data_are_named():
    patient = setup(Variant("regressor", units=8, length=8))
    for batch in patient["batches"][::3]:
        batch["x"][2, 3] = np.nan
    assert causes(patient)[0][:1] == ["data-not-finite"]


def test_labels_beyond_the_classes_are_named_and_masked_ones_are_not():
    patient = setup(Variant("classifier", units=8, length=8))
    for batch in patient["batches"]:
        batch["y"] = batch["y"] + 1
    assert causes(patient)[0][:1] == ["labels-out-of-range"]

    def loss(params, batch):
        known = batch["y"] >= 0
        nll = optax.softmax_cross_entropy_with_integer_labels(batch["x"] @ params, jnp.where(known, batch["y"], 0))
        return (nll * known).sum() / known.sum()

    rng = np.random.default_rng(1)
    x = rng.normal(size=(12, 16, 6)).astype(np.float32)
    y = np.where(rng.random((12, 16)) < 0.2, -1, x[..., :3].argmax(-1))
    batches = [{"x": a, "y": b} for a, b in zip(x, y, strict=True)]
    found, report = causes(
        {"loss": loss, "params": jnp.zeros((6, 3)), "batches": batches, "optimizer": optax.adam(0.05)}
    )
    assert found == [], str(report)


def test_a_softmax_of_one_number_is_named():
    def loss(params, batch):
        return optax.softmax_cross_entropy(batch["x"] @ params, batch["y"]).mean()

    rng = np.random.default_rng(1)
    batches = [
        {"x": rng.normal(size=(16, 6)).astype(np.float32), "y": rng.integers(0, 2, (16, 1)).astype(np.float32)}
        for _ in range(8)
    ]
    found, report = causes({"loss": loss, "params": jnp.ones((6, 1)), "batches": batches, "optimizer": optax.adam(0.1)})
    assert found[:1] == ["softmax-of-one"], str(report)


def test_a_probe_that_raises_and_a_limit_of_time_leave_no_clean_bill(monkeypatch):
    # The package exports a function of the same name.
    module = sys.modules["hae_jax.doctor.examine"]
    patient = linear(lambda p: p, lambda y: y)

    def broken(context):
        raise ValueError("cannot reshape")

    with monkeypatch.context() as patch:
        patch.setitem(module.BEFORE_TRAINING, "blank", broken)
        report = examine(patient)
    assert (report.findings, report.verdict, report.exit_code) == ([], "unknown", 3)
    assert any("cannot reshape" in reason for reason in report.unsettled)
    assert "cannot reshape" in str(report)
    report = examine(patient, seconds=0.0)
    assert (report.findings, report.verdict) == ([], "unknown")
    assert any("it takes more time" in reason for reason in report.unsettled)


def test_ids_beyond_the_table_and_a_missing_logarithm_are_named():
    rng = np.random.default_rng(3)
    params = {"table": rng.normal(size=(6, 8)).astype(np.float32), "out": rng.normal(size=(8, 3)).astype(np.float32)}
    batches = [{"ids": rng.integers(0, 6, (16, 5)), "y": rng.integers(0, 3, 16)} for _ in range(8)]

    def loss(params, batch):
        logits = jnp.tanh(params["table"][batch["ids"]]).mean(1) @ params["out"]
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"]).mean()

    def probability(params, batch):
        logits = jnp.tanh(params["table"][batch["ids"]]).mean(1) @ params["out"]
        return -jnp.take_along_axis(jax.nn.softmax(logits), batch["y"][:, None], 1).mean()

    patient = {"loss": loss, "params": params, "batches": batches, "optimizer": optax.adam(1e-2)}
    short = params | {"table": params["table"][:4]}
    assert causes(patient | {"params": short})[0][:1] == ["ids-out-of-range"]
    assert causes(patient | {"loss": probability})[0][:1] == ["log-missing"]
    assert "ids-out-of-range" not in causes(patient)[0]
