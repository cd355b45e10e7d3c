"""Flat jaxprs evaluate to the original results; roles are found, perturbations differentiated and edits applied."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hae_jax.doctor.tracing.interpreter import evaluate, trace
from hae_jax.doctor.tracing.roles import find_roles


def lstm(params, words):
    """An LSTM autoencoder by hand."""
    x = params["embed"][words].swapaxes(0, 1)

    def cell(state, x):
        c, h = state
        i, f, o, g = jnp.split(x @ params["w"] + h @ params["u"], 4, -1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (c, h), h

    zeros = jnp.zeros((words.shape[0], 5))
    state, _ = jax.lax.scan(cell, (zeros, zeros), x)
    _, y = jax.lax.scan(cell, state, jnp.pad(x[:-1], ((1, 0), (0, 0), (0, 0))))
    logits = y.swapaxes(0, 1) @ params["out"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, words).mean(), logits


SHAPES = {"embed": (11, 3), "out": (5, 11), "u": (5, 20), "w": (3, 20)}


@pytest.fixture
def model(rng):
    params = {name: jnp.asarray(rng.normal(size=shape), jnp.float32) for name, shape in SHAPES.items()}
    words = jnp.asarray(rng.integers(0, 11, (4, 7)))
    jaxpr = trace(lambda *a: lstm(dict(zip(sorted(SHAPES), a[:-1], strict=True)), a[-1])[0], *params.values(), words)
    roles = find_roles(jaxpr, jaxpr.inputs[:4], jaxpr.inputs[4:], [])
    return params, words, jaxpr, roles


def test_evaluation_gives_the_original_result(model):
    params, words, jaxpr, _ = model
    (loss,), _ = evaluate(jaxpr, [*params.values(), words])
    assert loss == pytest.approx(float(lstm(params, words)[0]), rel=1e-6)


def test_logits_and_targets_are_found(model):
    params, words, jaxpr, roles = model
    _, recorded = evaluate(jaxpr, [*params.values(), words], frozenset({roles.logits, roles.targets}))
    np.testing.assert_allclose(recorded[roles.logits], lstm(params, words)[1], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(recorded[roles.targets].reshape(4, 7), words)


def test_recurrences_gates_and_the_code_are_found(model):
    *_, roles = model
    assert [(r.steps, len(r.cells), len(r.forget), len(r.gates), r.bounded) for r in roles.recurrences] == [
        (7, 1, 1, 3, True)
    ] * 2
    assert [roles.graph.shape(var) for var in roles.code] == [(4, 5), (4, 5)]


def test_recurrences_of_one_scope_have_unique_names():
    def loss(w, x):
        def layer(x):
            return jax.lax.scan(lambda h, x: (jnp.tanh(x + h @ w), h), jnp.zeros(4), x)[1]

        return jax.vmap(layer)(jax.vmap(layer)(x)).mean()

    jaxpr = trace(loss, jnp.eye(4), jnp.ones((5, 6, 4)))
    found = find_roles(jaxpr, jaxpr.inputs[:1], jaxpr.inputs[1:], []).recurrences
    assert len({r.name for r in found}) == len(found) == 2


def test_a_loop_unrolled_by_python_is_detected():
    def steps(cell):
        def loss(w, x):
            h = jnp.zeros(4)
            for at in range(6):
                h = cell(x[at] + h @ w)
            return h.sum()

        jaxpr = trace(loss, jnp.eye(4), jnp.ones((6, 4)))
        return find_roles(jaxpr, jaxpr.inputs[:1], jaxpr.inputs[1:], [])

    assert steps(jnp.tanh).unrolled
    assert steps(jax.nn.sigmoid).unrolled
    assert not steps(lambda h: h).unrolled


def test_a_loop_is_not_unrolled(model):
    *_, roles = model
    assert not roles.unrolled


def test_forget_gates_are_the_forget_gates(model):
    params, words, jaxpr, roles = model
    encoder = roles.recurrences[0]
    _, recorded = evaluate(jaxpr, [*params.values(), words], frozenset(encoder.forget))
    forget = recorded[encoder.forget[0]]
    # At the first step the gate depends on the word alone.
    first = jax.nn.sigmoid((params["embed"][words[:, 0]] @ params["w"])[:, 5:10])
    np.testing.assert_allclose(forget[0], first, rtol=1e-5)


def test_a_perturbation_is_differentiated(model):
    params, words, jaxpr, roles = model

    def loss(perturbation):
        return evaluate(jaxpr, [*params.values(), words], perturbations={roles.logits: perturbation})[0][0]

    ours = jax.grad(loss)(jnp.zeros((4, 7, 11)))
    logits = lstm(params, words)[1]
    theirs = (jax.nn.softmax(logits) - jax.nn.one_hot(words, 11)) / 28
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_an_edit_changes_what_comes_after(model):
    params, words, jaxpr, roles = model
    values = [*params.values(), words]
    order = jnp.array([1, 2, 3, 0])
    (permuted,), _ = evaluate(jaxpr, values, edits={var: lambda code: code[order] for var in roles.code})
    assert permuted != evaluate(jaxpr, values)[0][0]


def test_an_unbounded_activation_is_detected():
    def loss(w, x):
        zeros = jnp.zeros((2, 4))

        def cell(h, x):
            h = jax.nn.relu(jnp.concatenate([x, h], -1) @ w)
            return h, h

        return (jax.lax.scan(cell, zeros, x)[1] ** 2).mean()

    jaxpr = trace(loss, jnp.ones((7, 4)), jnp.ones((6, 2, 3)))
    (found,) = find_roles(jaxpr, jaxpr.inputs[:1], jaxpr.inputs[1:], []).recurrences
    assert not found.bounded


def test_prediction_and_goal_of_a_squared_error_are_found():
    def loss(w, x):
        return jnp.mean(jnp.where(x[..., :1] > 0, 1, 0) * (jnp.tanh(x @ w) - x) ** 2)

    jaxpr = trace(loss, jnp.eye(3), jnp.ones((5, 3)))
    roles = find_roles(jaxpr, jaxpr.inputs[:1], jaxpr.inputs[1:], [])
    assert roles.graph.producer[roles.prediction].name == "tanh"
    assert roles.goal == jaxpr.inputs[1]
