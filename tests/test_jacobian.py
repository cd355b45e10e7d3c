"""Jacobians of the state over several steps: against brute force through the whole sequence, and against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import arrays, oracle
from support.tolerance import assert_close

from hae_jax.gradients.jacobian import jacobians, spectrum
from hae_jax.layers.cell import LSTMState
from hae_jax.layers.scan import lstm_scan

BATCH, TIME, FEAT, HIDDEN, STEPS = 3, 11, 5, 7, 2
LENGTHS = np.array([11, 5, 1])
MASK = np.arange(TIME) < LENGTHS[:, None]
pytestmark = pytest.mark.usefixtures("double")
either_cell = pytest.mark.parametrize("norm", [False, True], ids=["plain", "layer norm"])


def material(rng, norm):
    return arrays.weights(rng, FEAT, HIDDEN, norm=norm), rng.normal(size=(BATCH, TIME, FEAT))


@either_cell
def test_jacobians_are_those_of_the_scan(rng, norm):
    weights, inputs = arrays.device(material(rng, norm))
    found, taken = jacobians(weights, inputs, jnp.asarray(MASK), STEPS)
    assert taken.tolist() == [2, 2, 1]
    for row, (length, steps) in enumerate(zip(LENGTHS, taken.tolist(), strict=True)):

        def run(flat, begin, end, row=row):
            state = LSTMState(flat[None, :HIDDEN], flat[None, HIDDEN:])
            mask = jnp.ones((1, end - begin), bool)
            return jnp.concatenate(lstm_scan(state, inputs[row : row + 1, begin:end], mask, weights)[0], -1)[0]

        middle = jnp.zeros(2 * HIDDEN)
        if length > steps:
            middle = run(middle, 0, length - steps)
        assert_close(found[row], jax.jacobian(run)(middle, length - steps, length))


@either_cell
def test_the_spectrum_is_that_of_differences_in_numpy(rng, norm):
    weights, inputs = material(rng, norm)
    found = spectrum(arrays.device(weights), jnp.asarray(inputs), jnp.asarray(MASK), STEPS)
    row, length, step = 0, LENGTHS[0], 1e-6

    def run(flat, begin, end):
        cell, hidden, _ = oracle.lstm_row(flat[:HIDDEN], flat[HIDDEN:], inputs[row, begin:end], MASK[row, begin:end],
                                          weights)  # fmt: skip
        return np.concatenate([cell, hidden])

    middle = run(np.zeros(2 * HIDDEN), 0, length - STEPS)
    columns = [
        (run(middle + step * unit, length - STEPS, length) - run(middle - step * unit, length - STEPS, length))
        / step
        / 2
        for unit in np.eye(2 * HIDDEN)
    ]
    values = np.linalg.svd(np.array(columns).T, compute_uv=False) ** (1 / STEPS)
    np.testing.assert_allclose(found.largest[row], values[0], rtol=1e-6)
    np.testing.assert_allclose(found.median[row], np.exp(np.median(np.log(values))), rtol=1e-3)
    # Layer norm makes zeros, whose logarithms are rounding.
    if not norm:
        np.testing.assert_allclose(found.spread[row], np.log(values).var(), rtol=1e-2)


def test_without_a_recurrent_kernel_the_cell_is_stretched_by_its_forget_gate(rng):
    weights, inputs = material(rng, False)
    bias = np.repeat([0.0, 2.0, 0.0, 0.0], HIDDEN)
    weights = weights._replace(recurrent=np.zeros((HIDDEN, 4 * HIDDEN)), kernel=np.zeros((FEAT, 4 * HIDDEN)), bias=bias)
    matrices, _ = jacobians(arrays.device(weights), jnp.asarray(inputs), jnp.asarray(MASK), STEPS)
    assert_close(matrices[0, :HIDDEN, :HIDDEN], np.eye(HIDDEN) * oracle.sigmoid(2.0) ** STEPS)
    assert_close(matrices[0, :, HIDDEN:], np.zeros((2 * HIDDEN, HIDDEN)))


def test_padding_in_between_changes_nothing(rng):
    weights, inputs = arrays.device(material(rng, True))
    mask = np.ones((BATCH, TIME), bool)
    mask[:, 5] = mask[:, 8] = False
    kept = [t for t in range(TIME) if t not in (5, 8)]
    found = spectrum(weights, inputs, jnp.asarray(mask), STEPS)
    assert_close(found, spectrum(weights, inputs[:, kept], jnp.ones((BATCH, len(kept)), bool), STEPS))


def test_a_row_without_steps_is_stretched_by_nothing(rng):
    weights, inputs = arrays.device(material(rng, False))
    found = spectrum(weights, inputs, jnp.zeros((BATCH, TIME), bool), STEPS)
    assert_close(found.largest, np.ones(BATCH))
    assert_close(found.spread, np.zeros(BATCH))
