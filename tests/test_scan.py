"""The LSTM over time: against a loop, against its oracle, and its gradients against ordinary differentiation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from support import arrays, oracle
from support.tolerance import assert_close

from hae_jax.layers.cell import LSTMState, RecurrentDropout, lstm_step, project
from hae_jax.layers.scan import lstm_scan

BATCH, TIME, FEAT, VEC, HIDDEN = 4, 7, 5, 11, 3
LENGTHS = np.array([7, 0, 1, 4])
MASK = np.arange(TIME) < LENGTHS[:, None]
OPTIONS = [(kind, norm) for kind in arrays.MASKS for norm in (False, True)]
NAMES = [f"{kind}-{'norm' if norm else 'plain'}" for kind, norm in OPTIONS]
every_option = pytest.mark.parametrize(("kind", "norm"), OPTIONS, ids=NAMES)
either_path = pytest.mark.parametrize(
    ("kind", "norm"), [("dropout", False), ("everything", True)], ids=["own gradient", "ordinary gradient"]
)


def material(rng, kind="none", norm=False, vec=0):
    """State, inputs, weights, masks and context in float64."""
    return (
        arrays.state(rng, BATCH, HIDDEN),
        rng.normal(size=(BATCH, TIME, FEAT)),
        arrays.weights(rng, FEAT, HIDDEN, vec, norm=norm),
        arrays.masks(rng, kind, BATCH, TIME, HIDDEN),
        rng.normal(size=(BATCH, vec)) if vec else None,
    )


def plain_scan(state, inputs, mask, weights, dropout=RecurrentDropout(), perturbation=None, context=None):
    """The definition of `lstm_scan`, with nothing hoisted and differentiated by JAX."""

    def advance(state, step):
        inputs, real, candidate, perturbation = step
        new, _ = lstm_step(
            state, project(inputs, weights, context), weights, RecurrentDropout(dropout.hidden, candidate)
        )
        new = new._replace(hidden=new.hidden + perturbation)
        state = jax.tree.map(lambda n, o: jnp.where(real[:, None], n, o), new, state)
        return state, state.hidden

    steps = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), (inputs, mask, dropout.candidate, perturbation))
    state, hidden = jax.lax.scan(advance, state, steps)
    return state, jnp.swapaxes(hidden, 0, 1)


def scan(*args, **kwargs):
    """State and hidden states without the gates."""
    return lstm_scan(*args, **kwargs)[:2]


def weighted(run, mask, **kwargs):
    """A scalar in which each number of the results counts differently, padded steps included."""

    def loss(state, inputs, weights, perturbation, context):
        last, hidden = run(state, inputs, mask, weights, perturbation=perturbation, context=context, **kwargs)
        pull = jnp.cos(jnp.arange(hidden.size, dtype=hidden.dtype)).reshape(hidden.shape)
        return (pull * hidden).sum() + 2 * (pull[:, 0] * last.cell).sum() + 3 * (pull[:, 1] * last.hidden).sum()

    return loss


@pytest.mark.usefixtures("double")
@every_option
def test_scan_equals_its_oracle(rng, kind, norm):
    state, inputs, weights, masks, context = material(rng, kind, norm, VEC)
    last, hidden = jax.jit(scan)(*arrays.device((state, inputs, MASK, weights, masks)), context=arrays.device(context))
    for row in range(BATCH):
        row_masks = arrays.row_masks(masks, row, TIME, BATCH, HIDDEN)
        *expected, outputs = oracle.lstm_row(
            state.cell[row], state.hidden[row], inputs[row], MASK[row], weights, row_masks, context[row]
        )
        assert_close(jax.tree.map(lambda x, row=row: x[row], last), LSTMState(*expected))
        assert_close(hidden[row], outputs)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("kind", ["none", "variational", "semeniuta", "dropout"])
def test_own_gradient_equals_the_ordinary_one(rng, kind):
    state, inputs, weights, masks, context = arrays.device(material(rng, kind, vec=VEC))
    perturbation = arrays.device(rng.normal(size=(BATCH, TIME, HIDDEN)))
    results = []
    for run in (scan, plain_scan):
        loss = weighted(run, jnp.asarray(MASK), dropout=masks)
        both = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2, 3, 4)))
        results.append(both(state, inputs, weights, perturbation, context))
    assert_close(*results)


@pytest.mark.usefixtures("double")
@either_path
def test_gradients_equal_finite_differences(rng, kind, norm):
    state, inputs, weights, masks, context = arrays.device(material(rng, kind, norm, VEC))
    perturbation = jnp.zeros((BATCH, TIME, HIDDEN))
    loss = jax.jit(weighted(scan, jnp.asarray(MASK), dropout=masks))
    check_grads(loss, (state, inputs, weights, perturbation, context), order=1, modes=["rev"], atol=1e-5, rtol=1e-5)


@pytest.mark.usefixtures("double")
@either_path
def test_a_masked_row_equals_the_row_cut_off(rng, kind, norm):
    state, inputs, weights, masks, _ = arrays.device(material(rng, kind, norm))
    last, hidden = jax.jit(scan)(state, inputs, jnp.asarray(MASK), weights, masks)
    for row, length in ((1, 0), (3, 4)):
        alone = RecurrentDropout(*(None if x is None else x[min(row, len(x) - 1)][None] for x in masks))
        alone = RecurrentDropout(alone.hidden, *(None if x is None else x[:, :length] for x in alone[1:]))
        one = jax.tree.map(lambda x, row=row: x[row][None], state)
        short, outputs = jax.jit(scan)(one, inputs[row, None, :length], jnp.ones((1, length), bool), weights, alone)
        assert_close(jax.tree.map(lambda x, row=row: x[row][None], last), short)
        assert_close(hidden[row, :length], outputs[0])


def test_a_blank_row_keeps_its_state_to_the_bit(rng):
    state, inputs, weights, *_ = arrays.device(material(rng), jnp.float32)
    last, hidden = jax.jit(scan)(state, inputs, jnp.zeros((BATCH, TIME), bool), weights)
    assert (last.cell == state.cell).all()
    assert (last.hidden == state.hidden).all()
    assert (hidden == state.hidden[:, None]).all()


def test_gaps_in_the_mask_are_stepped_over(rng):
    state, inputs, weights, *_ = arrays.device(material(rng), jnp.float32)
    real = np.array([0, 2, 3, 6])
    mask = jnp.zeros((BATCH, TIME), bool).at[:, real].set(True)
    expected = jax.jit(scan)(state, inputs[:, real], jnp.ones((BATCH, len(real)), bool), weights)
    last, hidden = jax.jit(scan)(state, inputs, mask, weights)
    assert_close((last, hidden[:, real]), expected)


@either_path
def test_padding_gets_no_gradient_and_changes_none(rng, kind, norm):
    state, inputs, weights, masks, _ = arrays.device(material(rng, kind, norm), jnp.float32)
    mask = jnp.asarray(MASK)
    loss = weighted(scan, mask, dropout=masks)
    perturbation = jnp.zeros((BATCH, TIME, HIDDEN))
    spoilt = jnp.where(mask[..., None], inputs, 1e6)
    gradient = jax.jit(jax.grad(loss, argnums=(0, 1, 2, 3)))
    clean, dirty = (gradient(state, x, weights, perturbation, None) for x in (inputs, spoilt))
    assert not np.asarray(dirty[1])[~MASK].any()
    assert not np.asarray(dirty[3])[~MASK].any()
    assert np.asarray(dirty[1])[MASK].any()
    assert_close(dirty, clean)


@either_path
def test_jit_equals_eager(rng, kind, norm):
    state, inputs, weights, masks, context = arrays.device(material(rng, kind, norm, VEC), jnp.float32)
    perturbation = jnp.zeros((BATCH, TIME, HIDDEN))
    loss = jax.value_and_grad(weighted(scan, jnp.asarray(MASK), dropout=masks), argnums=(0, 1, 2))
    assert_close(
        jax.jit(loss)(state, inputs, weights, perturbation, context),
        loss(state, inputs, weights, perturbation, context),
    )


@pytest.mark.usefixtures("double")
def test_fewer_inputs_than_rows_are_read_over_and_over(rng):
    state, inputs, weights, _, context = arrays.device(material(rng, vec=VEC))
    part = inputs[:2]
    shared = jax.jit(scan)(state, part, jnp.asarray(MASK), weights, context=context)
    assert_close(
        shared, jax.jit(scan)(state, jnp.concatenate([part, part]), jnp.asarray(MASK), weights, context=context)
    )


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("vec", [0, VEC])
@pytest.mark.parametrize("norm", [False, True], ids=["plain", "norm"])
def test_a_layer_may_read_nothing(rng, norm, vec):
    state, _, _, _, context = material(rng, vec=vec)
    weights = arrays.weights(rng, 0, HIDDEN, vec, norm=norm)
    last, _ = jax.jit(scan)(*arrays.device((state, None, MASK, weights)), context=arrays.device(context))
    for row in range(BATCH):
        vector = None if context is None else context[row]
        *expected, _ = oracle.lstm_row(state.cell[row], state.hidden[row], None, MASK[row], weights, context=vector)
        assert_close(jax.tree.map(lambda x, row=row: x[row], last), LSTMState(*expected))


@either_path
def test_cell_and_gradients_stay_near_under_bfloat16(rng, kind, norm):
    state, inputs, weights, masks, _ = arrays.device(material(rng, kind, norm), jnp.float32)
    narrow = LSTMState(state.cell, state.hidden.astype(jnp.bfloat16))
    last, hidden = jax.jit(scan)(narrow, inputs.astype(jnp.bfloat16), jnp.asarray(MASK), weights, masks)
    assert (last.cell.dtype, last.hidden.dtype, hidden.dtype) == (jnp.float32, jnp.bfloat16, jnp.bfloat16)
    assert_close(hidden, jax.jit(scan)(state, inputs, jnp.asarray(MASK), weights, masks)[1], slack=3)
    perturbation = jnp.zeros((BATCH, TIME, HIDDEN), jnp.bfloat16)
    gradient = jax.jit(jax.grad(weighted(scan, jnp.asarray(MASK), dropout=masks), argnums=2))
    wide = gradient(state, inputs, weights, perturbation.astype(jnp.float32), None)
    for near, exact in zip(jax.tree.leaves(gradient(narrow, inputs.astype(jnp.bfloat16), weights, perturbation, None)),
                           jax.tree.leaves(wide), strict=True):  # fmt: skip
        assert near.dtype == jnp.float32
        assert jnp.linalg.norm(near - exact) < 0.03 * jnp.linalg.norm(exact)


@pytest.mark.usefixtures("double")
def test_the_gradient_of_a_perturbation_is_that_of_its_hidden_state(rng):
    """Shifting h_t by hand and running on from there changes the loss as the gradient of the perturbation predicts."""
    state, inputs, weights, *_ = arrays.device(material(rng))
    mask = jnp.ones((BATCH, TIME), bool)
    loss = weighted(scan, mask)
    probe = jax.jit(jax.grad(loss, argnums=3))(state, inputs, weights, jnp.zeros((BATCH, TIME, HIDDEN)), None)
    at, unit, step = 3, 1, 1e-6

    @jax.jit
    def shifted(amount):
        first, before = scan(state, inputs[:, : at + 1], mask[:, : at + 1], weights)
        hidden = first.hidden.at[2, unit].add(amount)
        last, after = scan(first._replace(hidden=hidden), inputs[:, at + 1 :], mask[:, at + 1 :], weights)
        outputs = jnp.concatenate([before.at[2, at, unit].add(amount), after], axis=1)
        return weighted(lambda *_, **__: (last, outputs), mask)(state, inputs, weights, None, None)

    slope = (shifted(step) - shifted(-step)) / (2 * step)
    np.testing.assert_allclose(probe[2, at, unit], slope, rtol=1e-7)


def test_gates_pass_no_gradient(rng):
    state, inputs, weights, *_ = arrays.device(material(rng), jnp.float32)
    gradient = jax.grad(lambda w: sum(g.sum() for g in lstm_scan(state, inputs, jnp.asarray(MASK), w)[2]))(weights)
    assert not any(np.asarray(leaf).any() for leaf in jax.tree.leaves(gradient))
    gates = lstm_scan(state, inputs, jnp.asarray(MASK), weights)[2]
    _, first = lstm_step(state, project(inputs[:, 0], weights), weights)
    assert_close(jax.tree.map(lambda x: x[:, 0], gates), first)


def test_the_backward_loop_holds_one_matrix_product(rng):
    """What the custom gradient is for: ordinary differentiation would leave two, one of them the weights' gradient."""
    state, inputs, weights, *_ = arrays.device(material(rng), jnp.float32)
    perturbation = jnp.zeros((BATCH, TIME, HIDDEN))
    jaxpr = jax.make_jaxpr(jax.grad(weighted(scan, jnp.asarray(MASK)), argnums=2))(
        state, inputs, weights, perturbation, None
    )
    loops = [eqn.params["jaxpr"].jaxpr for eqn in jaxpr.eqns if eqn.primitive.name == "scan"]
    assert [str(body).count("dot_general") for body in loops] == [1, 1]
