"""The predicted gradient curve: against gradients that were measured, against NumPy, and against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import arrays
from support.tolerance import assert_close

from hae_jax.doctor.probes.curve import slope
from hae_jax.gradients.mean_field import energies, factors, predict, shrinkage
from hae_jax.layers.cell import LSTMState, LSTMWeights, Norm, normalize
from hae_jax.layers.initializers import scheme
from hae_jax.layers.scan import lstm_scan

BATCH, TIME, FEAT, HIDDEN = 5, 23, 61, 67
expect = jax.jit(predict, static_argnums=3)


def fresh(name, bias=0.0, norm=None, scale=1.0, seed=0):
    """Weights of a fresh layer, inputs, and a mask of whole rows."""
    chosen, keys = scheme(name, bias), jax.random.split(jax.random.key(seed), 4)
    gains = None
    if norm is not None:
        gains = Norm(*(jnp.full(n, norm) for n in (4 * HIDDEN, 4 * HIDDEN, HIDDEN)), jnp.zeros(HIDDEN))
    weights = LSTMWeights(
        chosen.kernel(keys[0], (FEAT, 4 * HIDDEN)), None, chosen.recurrent(keys[1], (HIDDEN, 4 * HIDDEN)),
        chosen.bias(keys[2], (4 * HIDDEN,)), gains,
    )  # fmt: skip
    return weights, scale * jax.random.normal(keys[3], (BATCH, TIME, FEAT)), jnp.ones((BATCH, TIME), bool)


@jax.jit
def measured(weights, inputs, mask, pull):
    """Gradients of <pull, h_T> with respect to all hidden states and inputs."""
    zeros = jnp.zeros((BATCH, HIDDEN), inputs.dtype)

    def loss(perturbation, inputs):
        state, _, _ = lstm_scan(LSTMState(zeros, zeros), inputs, mask, weights, perturbation=perturbation)
        return (state.hidden @ pull).sum()

    return jax.grad(loss, (0, 1))(jnp.zeros((*mask.shape, HIDDEN), inputs.dtype), inputs)


CASES = [
    ("flax", 0.0, None, 1.0), ("flax", 0.0, None, 0.1), ("orthogonal", 1.0, None, 1.0), ("orthogonal", 5.0, None, 0.1),
    ("chrono", 0.0, None, 1.0), ("uniform_gate", 0.0, None, 1.0), ("keras", 1.0, None, 1.0), ("glorot", 0.0, 1.0, 1.0),
    ("orthogonal", 1.0, 0.1, 1.0),
]  # fmt: skip


@pytest.mark.parametrize(("name", "bias", "norm", "scale"), CASES)
def test_the_predicted_slope_and_crossing_are_those_measured(name, bias, norm, scale):
    slopes, crossings = [], []
    for seed in range(3):
        weights, inputs, mask = fresh(name, bias, norm, scale, seed)
        found = expect(weights, inputs, mask)
        hidden, read = measured(weights, inputs, mask, jax.random.normal(jax.random.key(7 + seed), (HIDDEN,)))
        curve = jnp.sqrt(jnp.square(hidden).mean((0, 2)))[::-1]
        slopes.append((float(found.slope), float(slope(curve))))
        crossings.append(float(found.crossing / (jnp.linalg.norm(read) / jnp.linalg.norm(hidden))))
    expected, actual = np.mean(slopes, axis=0)
    assert expected == pytest.approx(actual, abs=0.03)
    assert np.mean(crossings) == pytest.approx(1, abs=0.1)


@pytest.mark.usefixtures("double")
def test_layer_norm_shrinks_gradients_as_its_jacobian_does(rng):
    x = jnp.asarray(3 * rng.normal(size=HIDDEN))
    jacobian = jax.jacobian(normalize)(x)
    expected = jnp.sqrt(jnp.square(jacobian).sum() / HIDDEN)
    assert float(shrinkage(x)[0]) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.usefixtures("double")
def test_energies_are_those_of_all_paths_through_one_random_kernel(rng):
    """The recursion equals the mean over hundreds of kernels, with fixed activations; if kernels are sampled per step,
    the usual assumption, much less is left."""
    steps = 8
    weights = arrays.weights(rng, FEAT, HIDDEN, scale=0.15)
    inputs = jnp.asarray(rng.normal(size=(1, steps, FEAT)))
    found = factors(arrays.device(weights), inputs, jnp.ones((1, steps), bool), steps)
    expected, _ = energies(found, jnp.zeros(()))
    keep, expose, gates, columns = (np.asarray(x)[0] for x in found[:4])

    def average(tied, draws=300):
        total = np.zeros(steps)
        for _ in range(draws):
            r, p, kernels = rng.normal(size=HIDDEN), np.zeros(HIDDEN), None
            for t in reversed(range(steps)):
                total[t] += np.mean(r**2) / draws
                if kernels is None or not tied:
                    kernels = rng.normal(size=(4, HIDDEN, HIDDEN)) / np.sqrt(HIDDEN)
                p = expose[t] * r + (keep[t + 1] * p if t < steps - 1 else 0)
                sums = [gates[t, k] * (r if k == 3 else p) * columns[min(t, len(columns) - 1), k] for k in range(4)]
                r = sum(kernel @ s for kernel, s in zip(kernels, sums, strict=True))
        return total

    np.testing.assert_allclose(np.asarray(expected)[:, 0], average(tied=True), rtol=0.15)
    assert average(tied=False)[0] < 0.75 * np.asarray(expected)[0, 0]


def test_jit_changes_nothing():
    weights, inputs, mask = fresh("orthogonal", 1.0)
    assert_close(predict(weights, inputs, mask), expect(weights, inputs, mask), slack=10)


def test_a_forget_gate_alone_is_the_closed_form():
    """Hardly any recurrence: the gradient's way through the cell is all there is, and its timescale -1/ln f."""
    weights, inputs, mask = fresh("critical", scale=0.0)
    found = expect(weights, inputs, mask)
    assert float(found.forget) == pytest.approx(1 / (1 + np.exp(-5)), abs=1e-5)
    assert float(found.timescale) == pytest.approx(148.9, rel=1e-2)
    weights = weights._replace(recurrent=1e-6 * weights.recurrent, bias=jnp.zeros(4 * HIDDEN))
    found = expect(weights, inputs, mask)
    # Nothing was read, so the candidate's gate alone passes gradients on, by the same factor at each step.
    assert float(found.slope) == pytest.approx(np.log(0.5), abs=1e-4)
    assert float(found.timescale) == pytest.approx(1.4427, abs=1e-4)


@pytest.mark.parametrize("silent", [1, 4], ids=["without an input gate's recurrence", "without any recurrence"])
def test_gates_without_a_recurrent_kernel_leave_the_slope_a_number(silent):
    weights, inputs, mask = fresh("orthogonal", 1.0)
    weights = weights._replace(recurrent=weights.recurrent.at[:, : silent * HIDDEN].set(0))
    found = expect(weights, inputs, mask)
    if silent == 4:
        # Nothing goes back but from cell to cell, and a cell is exposed by what its own step hands on: nothing at all.
        assert float(found.untied) == pytest.approx(
            0.5 * np.log(mean_square_of_forget_gates(weights, inputs)), abs=1e-4
        )
    else:
        hidden, _ = measured(weights, inputs, mask, jax.random.normal(jax.random.key(7), (HIDDEN,)))
        curve = jnp.sqrt(jnp.square(hidden).mean((0, 2)))[::-1]
        assert float(found.slope) == pytest.approx(float(slope(curve)), abs=0.05)


def mean_square_of_forget_gates(weights, inputs):
    """Of a layer whose gates see inputs alone."""
    return float(jnp.square(jax.nn.sigmoid((inputs @ weights.kernel + weights.bias)[..., HIDDEN : 2 * HIDDEN])).mean())


@pytest.mark.parametrize("norm", [None, 1.0])
def test_steps_that_are_not_real_change_nothing(norm):
    weights, inputs, _ = fresh("orthogonal", 1.0, norm)
    lengths = np.array([23, 11, 19, 7, 0])
    mask = jnp.asarray(np.arange(TIME) < lengths[:, None])
    found = expect(weights, inputs, mask)
    noisy = jnp.where(mask[..., None], inputs, 100.0)
    assert_close(expect(weights, noisy, mask), found)
    longer = expect(weights, jnp.pad(inputs, ((0, 0), (0, 13), (0, 0))), jnp.pad(mask, ((0, 0), (0, 13))))
    assert_close(longer._replace(curve=longer.curve[:TIME]), found, slack=10)


def test_rows_of_one_length_are_predicted_as_if_alone():
    weights, inputs, mask = fresh("flax")
    short = jnp.asarray(np.broadcast_to(np.arange(TIME) < 13, (BATCH, TIME)))
    alone = expect(weights, inputs[:, :13], mask[:, :13])
    assert_close(expect(weights, inputs, short)._replace(curve=alone.curve), alone, slack=10)


def test_only_the_last_steps_are_used():
    weights, inputs, mask = fresh("orthogonal", 1.0)
    assert expect(weights, inputs, mask, 11).curve.shape == (11,)


def test_long_sequences_do_not_underflow():
    weights, inputs, mask = fresh("normal")
    inputs, mask = (jnp.tile(x, (1, 13, *(1,) * (x.ndim - 2))) for x in (inputs, mask))
    found = expect(weights, inputs, mask, 13 * TIME)
    assert np.isfinite(found.curve).all()
    assert float(found.curve[-1]) < -150
    assert -0.7 < float(found.slope) < -0.6
