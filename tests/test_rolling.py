"""Loops that Python unrolled become scans that compute the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hae_jax.doctor.tracing.rolling import rolled

INPUTS, HIDDEN, CLASSES, BATCH, STEPS = 5, 6, 7, 4, 9


def weights():
    rng = np.random.default_rng(0)
    shapes = {
        "w": (INPUTS, 4 * HIDDEN), "u": (HIDDEN, 4 * HIDDEN), "b": (4 * HIDDEN,), "both": (INPUTS + HIDDEN, 4 * HIDDEN),
        "w2": (HIDDEN, 4 * HIDDEN), "u2": (HIDDEN, 4 * HIDDEN), "out": (HIDDEN, CLASSES), "table": (CLASSES, INPUTS),
    }  # fmt: skip
    return {name: jnp.asarray(0.4 * rng.normal(size=shape), jnp.float32) for name, shape in shapes.items()}


def gates(total, cell):
    write, keep, new, read = jnp.split(total, 4, -1)
    cell = jax.nn.sigmoid(keep) * cell + jax.nn.sigmoid(write) * jnp.tanh(new)
    return jax.nn.sigmoid(read) * jnp.tanh(cell), cell


def zeros():
    return jnp.zeros((BATCH, HIDDEN)), jnp.zeros((BATCH, HIDDEN))


def encoder(p, x, ids, key):
    h, c = zeros()
    for step in range(STEPS):
        h, c = gates(x[:, step] @ p["w"] + h @ p["u"] + p["b"], c)
    return jnp.square(h).sum()


def concatenated(p, x, ids, key):
    h, c = zeros()
    outputs = []
    for step in range(STEPS):
        h, c = gates(jnp.concatenate([x[:, step], h], -1) @ p["both"], c)
        outputs.append(h @ p["out"])
    return jnp.square(jnp.stack(outputs[::-1], 1)).mean()


def two_layers_with_dropout_and_a_sum_of_losses(p, x, ids, key):
    (h, c), (h2, c2), total = zeros(), zeros(), 0.0
    for step in range(STEPS):
        key, own = jax.random.split(key)
        h, c = gates(x[:, step] @ p["w"] + h @ p["u"] + p["b"], c)
        dropped = jnp.where(jax.random.bernoulli(own, 0.8, h.shape), h / 0.8, 0)
        h2, c2 = gates(dropped @ p["w2"] + h2 @ p["u2"], c2)
        log_probabilities = jax.nn.log_softmax(h2 @ p["out"])
        total = total - jnp.take_along_axis(log_probabilities, ids[:, step, None], -1).mean()
    return total / STEPS


def masked_and_written_into_an_array(p, x, ids, key):
    (h, c), outputs = zeros(), jnp.zeros((BATCH, STEPS, HIDDEN))
    for step in range(STEPS):
        new_h, new_c = gates(x[:, step] @ p["w"] + h @ p["u"], c)
        real = (ids[:, step] > 1)[:, None]
        h, c = jnp.where(real, new_h, h), jnp.where(real, new_c, c)
        outputs = outputs.at[:, step].set(h)
    return jnp.square(outputs).sum()


def greedy(p, x, ids, key):
    (h, c), token, logits = zeros(), ids[:, 0], []
    for _ in range(STEPS):
        h, c = gates(p["table"][token] @ p["w"] + h @ p["u"], c)
        logits.append((h @ p["out"])[:, None])
        token = logits[-1][:, 0].argmax(-1)
    return jnp.square(jnp.concatenate(logits, 1)).mean()


def encoder_and_decoder(p, x, ids, key):
    h, c = zeros()
    for step in range(STEPS):
        h, c = gates(x[:, step] @ p["w"] + h @ p["u"], c)
    total = 0.0
    for step in range(STEPS):
        h, c = gates(h @ p["w2"] + h @ p["u2"], c)
        total += jnp.square(h[:, :INPUTS] - x[:, -1 - step]).mean()
    return total


LOOPS = {
    encoder: 1, concatenated: 1, two_layers_with_dropout_and_a_sum_of_losses: 2, masked_and_written_into_an_array: 1,
    greedy: 1, encoder_and_decoder: 2,
}  # fmt: skip


def arguments():
    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.normal(size=(BATCH, STEPS, INPUTS)), jnp.float32)
    return weights(), x, jnp.asarray(rng.integers(0, CLASSES, (BATCH, STEPS))), jax.random.key(0)


@pytest.mark.parametrize("function", LOOPS, ids=lambda function: function.__name__)
def test_a_rolled_loop_is_a_scan_of_all_steps_with_the_same_values_and_gradients(function):
    p, *rest = arguments()
    jaxpr = jax.make_jaxpr(rolled(function))(p, *rest)
    assert [each.params["length"] for each in jaxpr.eqns if each.primitive.name == "scan"] == [STEPS] * LOOPS[function]
    # Products that depend on a state are in scans only.
    assert sum(each.primitive.name == "dot_general" for each in jaxpr.eqns) <= STEPS
    ours, our_gradient = jax.jit(jax.value_and_grad(rolled(function)))(p, *rest)
    theirs, their_gradient = jax.jit(jax.value_and_grad(function))(p, *rest)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    for name in p:
        np.testing.assert_allclose(our_gradient[name], their_gradient[name], atol=1e-5, err_msg=name)


def irregular(p, x, ids, key):
    h, c = zeros()
    for step in range(STEPS):
        # Every step is another one.
        h, c = gates(x[:, : step + 1].sum(1) @ p["w"] + h @ p["u"], c)
        h = jnp.tanh(h) if step % 2 else jnp.sin(h)
    return h.sum()


def short(p, x, ids, key):
    h, c = zeros()
    for step in range(3):
        h, c = gates(x[:, step] @ p["w"] + h @ p["u"], c)
    return h.sum()


def shared(p, x, ids, key):
    return sum(jnp.tanh(x[:, step] @ p["w"]).sum() for step in range(STEPS))


@pytest.mark.parametrize("function", [irregular, short, shared], ids=lambda function: function.__name__)
def test_what_is_no_loop_of_equal_steps_stays(function):
    p, *rest = arguments()
    assert "scan" not in {each.primitive.name for each in jax.make_jaxpr(rolled(function))(p, *rest).eqns}
    np.testing.assert_allclose(rolled(function)(p, *rest), function(p, *rest), rtol=1e-5)


def test_a_function_is_traced_once_for_each_shape():
    traces = []

    def function(p, x, ids, key):
        traces.append(x.shape)
        return encoder(p, x, ids, key)

    p, *rest = arguments()
    compiled = rolled(function)
    compiled(p, *rest)
    jax.jit(jax.grad(compiled))(p, *rest)
    assert len(traces) == 1
