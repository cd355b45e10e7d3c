"""The autoencoder of series: shapes, and invariances to padding, windows and missing values."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.tolerance import assert_close

from hae_jax.batch import Signals
from hae_jax.config import CellConfig, ModelConfig
from hae_jax.config.series import SERIES as PRESETS
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
    """Series with missing values, and arbitrary values at masked positions."""
    rng = np.random.default_rng(5)
    values = rng.normal(size=(SERIES, time, CHANNELS)).astype(np.float32)
    observed = rng.random(values.shape) < 0.8
    return Signals(jnp.asarray(values), jnp.asarray(observed), jnp.arange(time) < LENGTHS[:, None])


@cache
def drawn(config):
    """Returns a model, and random parameters without zeros."""
    model = Series(config, CHANNELS)
    shapes = jax.eval_shape(model.init, jax.random.key(0), batch())["params"]
    rng = np.random.default_rng(3)
    return model, jax.tree.map(lambda x: jnp.asarray(0.6 * rng.normal(size=x.shape), x.dtype), shapes)


@cache
def compiled(config):
    model, params = drawn(config)

    def answers(batch):
        code = model.apply({"params": params}, batch, method="encode")
        output = model.apply({"params": params}, code, batch.mask, method="decode")
        return model.apply({"params": params}, batch).reconstruction, code.document, output

    return jax.jit(answers)


@every_variant
def test_masked_values_have_no_effect(config):
    given = batch()
    real = given.observed & given.mask[..., None]
    for filling in (0.0, 1e6):
        other = given._replace(values=jnp.where(real, given.values, filling))
        assert_close(compiled(config)(other), compiled(config)(given))


@every_variant
def test_more_padding_changes_nothing(config):
    given = batch()
    long = jax.tree.map(lambda x: jnp.pad(x, [(0, 0), (0, 6)] + [(0, 0)] * (x.ndim - 2)), given)
    loss, code, output = compiled(config)(given)
    longer_loss, longer_code, longer_output = compiled(config)(long)
    assert_close((longer_loss, longer_code, longer_output[:, :TIME]), (loss, code, output))
    assert not longer_output[:, TIME:].any()


@every_variant
def test_each_series_is_independent(config):
    given = batch()
    _, code, output = compiled(config)(given)
    order = jnp.array([3, 1, 4, 0, 2])
    _, other_code, other_output = compiled(config)(jax.tree.map(lambda x: x[order], given))
    assert_close((other_code, other_output), (code[order], output[order]))


@every_variant
def test_the_loss_is_the_squared_error_of_what_is_decoded(config):
    given = batch()
    loss, _, output = compiled(config)(given)
    real = np.asarray(given.observed & given.mask[..., None])
    assert float(loss.count) == real.sum()
    squares = np.square(np.asarray(output - given.values, np.float64))[real].sum()
    if config.decoding == "repeat":
        np.testing.assert_allclose(float(loss.total), squares, rtol=1e-5)
    else:
        assert abs(float(loss.total) - squares) > 1e-3, "teacher-forced and free-running outputs must differ"


@every_variant
def test_every_parameter_of_every_level_is_used(config):
    model, params = drawn(config)
    gradient = jax.jit(jax.grad(lambda p: model.apply({"params": p}, batch()).reconstruction.total))(params)
    assert all((np.abs(leaf) > 0).any() for leaf in jax.tree.leaves(gradient))


def test_free_running_decoding_equals_teacher_forcing_with_its_own_outputs():
    config = VARIANTS["segments, previous"]
    model, params = drawn(config)
    given = batch()
    _, code, output = compiled(config)(given)
    forced = model.apply({"params": params}, code, given.mask, output, method=teacher_forced)
    assert_close(np.asarray(forced)[np.asarray(given.mask)], np.asarray(output)[np.asarray(given.mask)])


def teacher_forced(model, code, mask, values):
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


def test_a_stacked_lstm_of_equal_sizes_is_a_stack():
    rng = np.random.default_rng(2)
    x, mask = jnp.asarray(rng.normal(size=(4, 7, 2)), jnp.float32), jnp.arange(7) < jnp.array([[7], [0], [3], [5]])
    stack = LSTM(CellConfig(), 5, 2, layers=3)
    params = stack.init(jax.random.key(1), x, mask)["params"]
    stacked = {"params": {name: {"layer_0": leaves} for name, leaves in params.items()}}
    states, hidden = stack.apply({"params": params}, x, mask)
    assert_close(StackedLSTM(CellConfig(), (5, 5, 5), 2).apply(stacked, x, mask), (states, hidden))


def test_a_stacked_lstm_steps_as_it_scans():
    stacked = StackedLSTM(CellConfig(layer_norm="output", zoneout_cell=0.3), (5, 3), 2, context_size=7)
    rng = np.random.default_rng(2)
    x, context = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((4, 3, 2), (4, 7)))
    params = stacked.init(jax.random.key(1), x, jnp.ones((4, 3), bool), context)
    states, hidden = stacked.apply(params, x, jnp.ones((4, 3), bool), context)
    now = stacked.apply(params, 4, method="zeros")
    for time in range(3):
        now, step_output = stacked.apply(params, now, x[:, time], context, method="step")
        assert_close(step_output, hidden[:, time])
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


def test_half_precision_is_close():
    config = SeriesConfig(sizes=(7, 3), cell=CellConfig(dtype="bfloat16"))
    _, code, output = compiled(config)(batch())
    _, expected, expected_output = compiled(SeriesConfig(sizes=(7, 3), cell=CellConfig()))(batch())
    assert code.dtype == jnp.bfloat16
    assert output.dtype == jnp.float32
    np.testing.assert_allclose(np.asarray(code, np.float32), expected, atol=0.05)
    np.testing.assert_allclose(output, expected_output, atol=0.1)


def test_codes_alone_are_enough_to_decode():
    model, params = drawn(VARIANTS["windows"])
    output = model.apply({"params": params}, Code(jnp.ones((3, 7))), jnp.ones((3, 13), bool), method="decode")
    assert output.shape == (3, 13, CHANNELS)


OLD_JSON = """{
  "sizes": [24, 64], "spans": [10], "memory": 256, "decoding": "repeat", "reverse": true, "scaling": "channel",
  "missing": false,
  "cell": {
    "kind": "hierarchical", "attention": false, "embed": 256, "hidden": 256, "sentence_hidden": 512, "layers": 1,
    "state": "last", "feedback": "none", "feed": "every", "reverse": true, "initializer": "mirror", "use_bias": true,
    "forget_bias": 1.0, "timescale": 64, "recurrent_gain": 1.0, "layer_norm": "none", "layer_norm_gain": 1.0,
    "input_dropout": 0.0, "recurrent_dropout": 0.0, "recurrent_dropout_kind": "variational", "zoneout_cell": 0.0,
    "zoneout_hidden": 0.0, "word_dropout": 0.0, "sentence_loss": 1.0, "sentence_share": 0.5, "vector_loss": 0.3,
    "tied": true, "dtype": "float32", "remat": false
  },
  "optim": {
    "learning_rate": 0.001, "warmup": 50, "final": 0.05, "clip": "global_norm", "clip_norm": null, "b1": 0.9,
    "b2": 0.999, "eps": 1e-08, "weight_decay": 0.0, "sentence_rate": 1.0, "accumulate": 1
  },
  "steps": 1000, "batch_size": 32, "seed": 0
}"""
"""The preset "series" as version 0.3 saved it."""


def test_configs_of_version_0_3_are_read():
    assert SeriesConfig.from_json(OLD_JSON) == PRESETS["series"]


def test_a_saved_config_is_read_again():
    for config in PRESETS.values():
        assert SeriesConfig.from_json(config.to_json()) == config


def test_unknown_fields_are_errors():
    with pytest.raises(ValueError, match=r"config must hold a SeriesConfig, got .*colour"):
        SeriesConfig.from_json(OLD_JSON.replace('"initializer": "mirror"', '"colour": "red"'))


def test_the_fields_of_texts_are_refused():
    with pytest.raises(ValueError, match=r"series\.cell must be a CellConfig, got ModelConfig\."):
        SeriesConfig(cell=ModelConfig())
