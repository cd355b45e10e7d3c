"""One LSTM step against its oracle."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import arrays, oracle
from support.tolerance import assert_close

from hae_jax.layers.cell import (
    Gates,
    LSTMState,
    LSTMWeights,
    OutputNorm,
    RecurrentDropout,
    layer_output,
    lstm_step,
    normalize,
    project,
    zoneout,
)

BATCH, FEAT, VEC, HIDDEN = 2, 5, 7, 3


def at_first_step(masks):
    return RecurrentDropout(masks.hidden, *(None if x is None else x[:, 0] for x in masks[1:]))


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("kind", arrays.MASKS)
@pytest.mark.parametrize("norm", [False, True], ids=["plain", "norm"])
@pytest.mark.parametrize(("bias", "feat", "vec"), [(True, FEAT, 0), (False, FEAT, VEC), (True, 0, VEC), (True, 0, 0)])
def test_step_equals_its_oracle(rng, kind, norm, bias, feat, vec):
    weights = arrays.weights(rng, feat, HIDDEN, vec, bias, norm)
    state = arrays.state(rng, BATCH, HIDDEN)
    inputs = rng.normal(size=(BATCH, feat)) if feat else None
    context = rng.normal(size=(BATCH, vec)) if vec else None
    masks = arrays.masks(rng, kind, BATCH, 1, HIDDEN)
    projected = project(arrays.device(inputs), arrays.device(weights), arrays.device(context))
    projected = jnp.broadcast_to(projected, (BATCH, 4 * HIDDEN))
    new, gates = lstm_step(arrays.device(state), projected, arrays.device(weights), arrays.device(at_first_step(masks)))
    for row in range(BATCH):
        cell, hidden, expected = oracle.lstm_step(
            state.cell[row],
            state.hidden[row],
            None if inputs is None else inputs[row],
            weights,
            arrays.row_masks(masks, row, 1, BATCH, HIDDEN)[0],
            None if context is None else context[row],
        )
        assert_close(jax.tree.map(lambda x, row=row: x[row], new), LSTMState(cell, hidden))
        assert_close(jax.tree.map(lambda x, row=row: x[row], gates), Gates(*expected))


@pytest.mark.usefixtures("double")
def test_gates_are_in_the_order_input_forget_candidate_output(rng):
    sums = rng.normal(size=(BATCH, 4 * HIDDEN))
    cell = rng.normal(size=(BATCH, HIDDEN))
    weights = arrays.weights(rng, FEAT, HIDDEN)._replace(recurrent=np.zeros((HIDDEN, 4 * HIDDEN)))
    state = LSTMState(cell, np.zeros((BATCH, HIDDEN)))
    new, _ = lstm_step(arrays.device(state), arrays.device(sums), arrays.device(weights))
    i, f, g, o = (sums[:, k * HIDDEN : (k + 1) * HIDDEN] for k in range(4))
    expected = oracle.sigmoid(f) * cell + oracle.sigmoid(i) * np.tanh(g)
    assert_close(new, LSTMState(expected, oracle.sigmoid(o) * np.tanh(expected)))


def test_cell_stays_float32_under_bfloat16(rng):
    weights = arrays.device(arrays.weights(rng, FEAT, HIDDEN), jnp.float32)
    inputs = arrays.device(rng.normal(size=(BATCH, FEAT)), jnp.bfloat16)
    cell, hidden = arrays.state(rng, BATCH, HIDDEN)
    state = LSTMState(jnp.asarray(cell, jnp.float32), jnp.asarray(hidden, jnp.bfloat16))
    new, _ = lstm_step(state, project(inputs, weights), weights)
    assert (new.cell.dtype, new.hidden.dtype) == (jnp.float32, jnp.bfloat16)
    wide, _ = lstm_step(
        jax.tree.map(lambda x: x.astype(jnp.float32), state), project(inputs.astype(jnp.float32), weights), weights
    )
    assert_close(new.cell.astype(jnp.bfloat16), wide.cell)
    assert_close(new.hidden, wide.hidden)


def test_a_small_change_is_not_lost_in_the_cell_under_bfloat16():
    """1000 + tanh(...) is 1000 in bfloat16; the cell must count on."""
    weights = arrays.weights(np.random.default_rng(0), 0, 1)._replace(recurrent=np.zeros((1, 4)))
    state = LSTMState(jnp.full((1, 1), 1000.0), jnp.zeros((1, 1), jnp.bfloat16))
    projected = jnp.asarray([[50.0, 50.0, 50.0, 0.0]], jnp.bfloat16)
    new, _ = lstm_step(state, projected, arrays.device(weights, jnp.float32))
    assert float(new.cell[0, 0]) == 1001.0


@pytest.mark.usefixtures("double")
def test_normalized_numbers_have_mean_zero_and_variance_one(rng):
    normal = normalize(jnp.asarray(7 + 3 * rng.normal(size=(BATCH, 101))))
    np.testing.assert_allclose(normal.mean(-1), 0, atol=1e-12)
    np.testing.assert_allclose(normal.var(-1), 1, atol=1e-5)


def test_equal_numbers_are_normalized_to_zero_not_to_nan():
    assert_close(normalize(jnp.full((BATCH, HIDDEN), 7.0)), np.zeros((BATCH, HIDDEN)))
    assert_close(jax.grad(lambda x: normalize(x).sum())(jnp.full(3, 7.0)), np.zeros(3), slack=100)


def test_zoneout_keeps_or_replaces(rng):
    new, old = jnp.asarray(rng.normal(size=(2, BATCH, HIDDEN)), jnp.float32)
    assert_close(zoneout(new, old, jnp.ones((BATCH, HIDDEN))), old)
    assert_close(zoneout(new, old, jnp.zeros((BATCH, HIDDEN))), new)
    assert zoneout(new, old, None) is new


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_zoneout_loses_no_digit_of_what_it_keeps(dtype):
    old, new = jnp.array([1e-9, 0.001], dtype), jnp.array([1.0, 0.9], dtype)
    assert (zoneout(new, old, jnp.ones(2)) == old).all()
    assert (zoneout(new, old, jnp.zeros(2)) == new).all()


def test_a_normalised_output_equals_flaxs_layer_norm():
    rng = np.random.default_rng(2)
    gain, bias, hidden = (jnp.asarray(x, jnp.float32) for x in (*rng.normal(size=(2, 5)), rng.normal(size=(3, 5))))
    given = layer_output(hidden, LSTMWeights(None, None, jnp.zeros((5, 20)), None, None, OutputNorm(gain, bias)))
    params = {"params": {"scale": gain, "bias": bias}}
    assert_close(given, nn.LayerNorm(epsilon=1e-5, use_fast_variance=False).apply(params, hidden))
