"""Traced programs run again as they ran before, and do what the probes ask of them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hae_jax.doctor.tracing.interpreter import run, trace
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
    program = trace(lambda *a: lstm(dict(zip(sorted(SHAPES), a[:-1], strict=True)), a[-1])[0], *params.values(), words)
    body = find_roles(program, program.inputs[:4], program.inputs[4:], [])
    return params, words, program, body


def test_a_program_run_again_gives_the_same(model):
    params, words, program, _ = model
    (loss,), _ = run(program, [*params.values(), words])
    assert loss == pytest.approx(float(lstm(params, words)[0]), rel=1e-6)


def test_logits_and_targets_are_found(model):
    params, words, program, body = model
    _, heard = run(program, [*params.values(), words], frozenset({body.logits, body.targets}))
    np.testing.assert_allclose(heard[body.logits], lstm(params, words)[1], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(heard[body.targets].reshape(4, 7), words)


def test_recurrences_gates_and_the_code_are_found(model):
    *_, body = model
    assert [(r.steps, len(r.cells), len(r.forget), len(r.gates), r.squashed) for r in body.recurrences] == [
        (7, 1, 1, 3, True)
    ] * 2
    assert [body.graph.shape(number) for number in body.code] == [(4, 5), (4, 5)]


def test_recurrences_of_one_name_are_told_apart():
    def loss(w, x):
        def layer(x):
            return jax.lax.scan(lambda h, x: (jnp.tanh(x + h @ w), h), jnp.zeros(4), x)[1]

        return jax.vmap(layer)(jax.vmap(layer)(x)).mean()

    program = trace(loss, jnp.eye(4), jnp.ones((5, 6, 4)))
    found = find_roles(program, program.inputs[:1], program.inputs[1:], []).recurrences
    assert len({r.name for r in found}) == len(found) == 2


def test_a_loop_that_python_unrolled_is_noticed():
    def steps(cell):
        def loss(w, x):
            h = jnp.zeros(4)
            for at in range(6):
                h = cell(x[at] + h @ w)
            return h.sum()

        program = trace(loss, jnp.eye(4), jnp.ones((6, 4)))
        return find_roles(program, program.inputs[:1], program.inputs[1:], [])

    assert steps(jnp.tanh).unrolled
    assert steps(jax.nn.sigmoid).unrolled
    assert not steps(lambda h: h).unrolled


def test_a_loop_is_not_unrolled(model):
    *_, body = model
    assert not body.unrolled


def test_forget_gates_are_the_forget_gates(model):
    params, words, program, body = model
    reader = body.recurrences[0]
    _, heard = run(program, [*params.values(), words], frozenset(reader.forget))
    forget = heard[reader.forget[0]]
    # At the first step the gate depends on the word alone.
    first = jax.nn.sigmoid((params["embed"][words[:, 0]] @ params["w"])[:, 5:10])
    np.testing.assert_allclose(forget[0], first, rtol=1e-5)


def test_a_nudge_is_differentiated(model):
    params, words, program, body = model

    def loss(nudge):
        return run(program, [*params.values(), words], nudges={body.logits: nudge})[0][0]

    nudge = jnp.zeros((4, 7, 11))
    ours = jax.grad(loss)(nudge)
    logits = lstm(params, words)[1]
    theirs = (jax.nn.softmax(logits) - jax.nn.one_hot(words, 11)) / 28
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_an_edit_changes_what_comes_after(model):
    params, words, program, body = model
    values = [*params.values(), words]
    order = jnp.array([1, 2, 3, 0])
    (permuted,), _ = run(program, values, edits={number: lambda code: code[order] for number in body.code})
    assert permuted != run(program, values)[0][0]


def test_an_activation_without_bound_is_noticed():
    def loss(w, x):
        zeros = jnp.zeros((2, 4))

        def cell(h, x):
            h = jax.nn.relu(jnp.concatenate([x, h], -1) @ w)
            return h, h

        return (jax.lax.scan(cell, zeros, x)[1] ** 2).mean()

    program = trace(loss, jnp.ones((7, 4)), jnp.ones((6, 2, 3)))
    (found,) = find_roles(program, program.inputs[:1], program.inputs[1:], []).recurrences
    assert not found.squashed


def test_numbers_that_an_error_is_taken_of_are_found():
    def loss(w, x):
        return jnp.mean(jnp.where(x[..., :1] > 0, 1, 0) * (jnp.tanh(x @ w) - x) ** 2)

    program = trace(loss, jnp.eye(3), jnp.ones((5, 3)))
    body = find_roles(program, program.inputs[:1], program.inputs[1:], [])
    assert body.graph.maker[body.prediction].name == "tanh"
    assert body.goal == program.inputs[1]
