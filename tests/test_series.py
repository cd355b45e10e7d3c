"""The autoencoder of series: shapes, and laws that padding, windows, missing values and decoding must obey."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.tolerance import assert_close

from hae_jax.batch import Signals
from hae_jax.config import CellConfig
from hae_jax.config.series import SeriesConfig
from hae_jax.layers.recurrent import LSTM
from hae_jax.layers.stacked import StackedLSTM
from hae_jax.models.outputs import Code
from hae_jax.models.series import Series

SERIES, TIME, CHANNELS = 5, 11, 2
LENGTHS = np.array([11, 4, 1, 8, 0])
VARIANTS = {
    "flat": SeriesConfig(sizes=(7, 3)),
    "flat, previous": SeriesConfig(sizes=(7, 3), decoding="previous"),
    "windows": SeriesConfig(sizes=(5, 7), spans=(4,), reverse=False),
    "segments": SeriesConfig(sizes=(5, 3, 7), spans=(3, 2), missing=True),
    "mirrored": SeriesConfig(sizes=(5, 3), spans=(4,), memory=7, missing=True, cell=CellConfig(initializer="mirror")),
    "mirrored, previous": SeriesConfig(
        sizes=(3,), memory=7, decoding="previous", cell=CellConfig(initializer="mirror")
    ),
    "segments, previous": SeriesConfig(sizes=(5, 3, 7), spans=(3, 2), decoding="previous"),
}
every_variant = pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)


def batch(time=TIME):
    """Series of which some values are missing, with whatever at places that are not real."""
    rng = np.random.default_rng(5)
    values = rng.normal(size=(SERIES, time, CHANNELS)).astype(np.float32)
    observed = rng.random(values.shape) < 0.8
    return Signals(jnp.asarray(values), jnp.asarray(observed), jnp.arange(time) < LENGTHS[:, None])


@cache
def drawn(config):
    """A model, and parameters that are zero nowhere."""
    model = Series(config, CHANNELS)
    shapes = jax.eval_shape(model.init, jax.random.key(0), batch())["params"]
    rng = np.random.default_rng(3)
    return model, jax.tree.map(lambda x: jnp.asarray(0.6 * rng.normal(size=x.shape), x.dtype), shapes)


@cache
def compiled(config):
    model, params = drawn(config)

    def answers(batch):
        code = model.apply({"params": params}, batch, method="encode")
        said = model.apply({"params": params}, code, batch.mask, method="decode")
        return model.apply({"params": params}, batch).reconstruction, code.document, said

    return jax.jit(answers)


@every_variant
def test_what_is_not_real_plays_no_part(config):
    given = batch()
    real = given.observed & given.mask[..., None]
    for filling in (0.0, 1e6):
        other = given._replace(values=jnp.where(real, given.values, filling))
        assert_close(compiled(config)(other), compiled(config)(given))


@every_variant
def test_more_padding_changes_nothing(config):
    given = batch()
    long = jax.tree.map(lambda x: jnp.pad(x, [(0, 0), (0, 6)] + [(0, 0)] * (x.ndim - 2)), given)
    loss, code, said = compiled(config)(given)
    longer_loss, longer_code, longer_said = compiled(config)(long)
    assert_close((longer_loss, longer_code, longer_said[:, :TIME]), (loss, code, said))
    assert not longer_said[:, TIME:].any()


@every_variant
def test_each_series_stands_for_itself(config):
    given = batch()
    _, code, said = compiled(config)(given)
    order = jnp.array([3, 1, 4, 0, 2])
    _, other_code, other_said = compiled(config)(jax.tree.map(lambda x: x[order], given))
    assert_close((other_code, other_said), (code[order], said[order]))


@every_variant
def test_the_loss_is_the_squared_error_of_what_is_decoded(config):
    given = batch()
    loss, _, said = compiled(config)(given)
    real = np.asarray(given.observed & given.mask[..., None])
    assert float(loss.count) == real.sum()
    squares = np.square(np.asarray(said - given.values, np.float64))[real].sum()
    if config.decoding == "repeat":
        np.testing.assert_allclose(float(loss.total), squares, rtol=1e-5)
    else:
        assert abs(float(loss.total) - squares) > 1e-3, "told the truth it must say something else than by itself"


@every_variant
def test_every_parameter_of_every_level_is_used(config):
    model, params = drawn(config)
    gradient = jax.jit(jax.grad(lambda p: model.apply({"params": p}, batch()).reconstruction.total))(params)
    assert all((np.abs(leaf) > 0).any() for leaf in jax.tree.leaves(gradient))


def test_running_free_is_what_teacher_forcing_says_of_its_own_words():
    config = VARIANTS["segments, previous"]
    model, params = drawn(config)
    given = batch()
    _, code, said = compiled(config)(given)
    told = model.apply({"params": params}, code, given.mask, said, method=told_again)
    assert_close(np.asarray(told)[np.asarray(given.mask)], np.asarray(said)[np.asarray(given.mask)])


def told_again(model, code, mask, values):
    return model._decode_parallel(model._contexts(code, mask, False), mask, values, False)


def test_a_missing_value_is_not_a_zero():
    config = VARIANTS["segments"]
    given = batch()
    zeros = given._replace(values=given.values.at[0, 0].set(0.0))
    seen, unseen = (zeros._replace(observed=given.observed.at[0, 0].set(there)) for there in (True, False))
    assert np.abs(np.asarray(compiled(config)(seen)[1] - compiled(config)(unseen)[1])[0]).max() > 1e-3


def test_a_window_is_read_as_a_series_of_its_own():
    """The level of windows is the flat model of one layer, window by window."""
    model, params = drawn(SeriesConfig(sizes=(5, 7), spans=(4,), reverse=False))
    x = jnp.asarray(np.random.default_rng(2).normal(size=(1, 8, CHANNELS)), jnp.float32)
    whole = Signals(x, jnp.ones(x.shape, bool), jnp.ones((1, 8), bool))
    code = model.apply({"params": params}, whole, method="encode").document
    config = CellConfig()
    windows = (
        LSTM(config, 5, CHANNELS)
        .apply({"params": params["encoder_0"]["layer_0"]}, x.reshape(2, 4, CHANNELS), jnp.ones((2, 4), bool))[0][0]
        .hidden
    )
    expected = (
        LSTM(config, 7, 5)
        .apply({"params": params["encoder_1"]["layer_0"]}, windows[None], jnp.ones((1, 2), bool))[0][0]
        .hidden
    )
    assert_close(code, expected)


def test_a_tower_of_equal_sizes_is_a_stack():
    rng = np.random.default_rng(2)
    x, mask = jnp.asarray(rng.normal(size=(4, 7, 2)), jnp.float32), jnp.arange(7) < jnp.array([[7], [0], [3], [5]])
    stack = LSTM(CellConfig(), 5, 2, layers=3)
    params = stack.init(jax.random.key(1), x, mask)["params"]
    tower = {"params": {name: {"layer_0": leaves} for name, leaves in params.items()}}
    states, hidden = stack.apply({"params": params}, x, mask)
    assert_close(StackedLSTM(CellConfig(), (5, 5, 5), 2).apply(tower, x, mask), (states, hidden))


def test_a_tower_steps_as_it_runs():
    tower = StackedLSTM(CellConfig(layer_norm="output", zoneout_cell=0.3), (5, 3), 2, context_size=7)
    rng = np.random.default_rng(2)
    x, context = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((4, 3, 2), (4, 7)))
    params = tower.init(jax.random.key(1), x, jnp.ones((4, 3), bool), context)
    states, hidden = tower.apply(params, x, jnp.ones((4, 3), bool), context)
    now = tower.apply(params, 4, method="zeros")
    for time in range(3):
        now, said = tower.apply(params, now, x[:, time], context, method="step")
        assert_close(said, hidden[:, time])
    assert_close(now, states)


def test_dropout_is_on_only_while_training_and_reaches_the_code():
    config = SeriesConfig(sizes=(7, 3), cell=CellConfig(input_dropout=0.5))
    model, params = drawn(config)
    silent = {**params, "encoder_0": jax.tree.map(jnp.zeros_like, params["encoder_0"])}
    variables, still = {"params": params}, {"params": silent}

    @jax.jit
    def run(variables, seed):
        return model.apply(variables, batch(), train=True, rngs={"dropout": jax.random.key(seed)}).reconstruction.total

    assert float(run(variables, 0)) != float(run(variables, 1))
    # A code of zeros has nothing to drop, and the mirrored stack's inner layers are all the noise there is.
    assert float(run(still, 0)) != float(run(still, 1))


def test_half_precision_is_near():
    config = SeriesConfig(sizes=(7, 3), cell=CellConfig(dtype="bfloat16"))
    _, code, said = compiled(config)(batch())
    _, expected, expected_said = compiled(SeriesConfig(sizes=(7, 3), cell=CellConfig()))(batch())
    assert code.dtype == jnp.bfloat16
    assert said.dtype == jnp.float32
    np.testing.assert_allclose(np.asarray(code, np.float32), expected, atol=0.05)
    np.testing.assert_allclose(said, expected_said, atol=0.1)


def test_codes_alone_are_enough_to_decode():
    model, params = drawn(VARIANTS["windows"])
    said = model.apply({"params": params}, Code(jnp.ones((3, 7))), jnp.ones((3, 13), bool), method="decode")
    assert said.shape == (3, 13, CHANNELS)
