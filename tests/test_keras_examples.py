"""The example autoencoders equal their Keras versions: the same weights give the same loss, gradients and update."""

import contextlib
import importlib.util
import io
import re
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.tolerance import assert_close

from benchmarks.series.keras_models import keras_twin, keras_weights
from hae_jax.batch import Signals
from hae_jax.config.series import SERIES
from hae_jax.models.series import Series
from hae_jax.training import optim

REMEDIES = ("remedy-clipping", "remedy-dropout", "remedy-layernorm")
PAGE = Path(__file__).parents[1] / "docs" / "keras.md"
LENGTHS = np.array([13, 1, 7, 10, 2])
CHANNELS = 3

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("keras") is None, reason="Keras comes with hae_jax[peers]"),
    pytest.mark.filterwarnings("ignore"),
]


def batch():
    values = np.random.default_rng(6).normal(size=(len(LENGTHS), LENGTHS.max(), CHANNELS)).astype(np.float32)
    mask = np.arange(LENGTHS.max()) < LENGTHS[:, None]
    return Signals(*map(jnp.asarray, (values * mask[..., None], np.repeat(mask[..., None], CHANNELS, -1), mask)))


def ours(name):
    model = Series(SERIES[name], CHANNELS)
    params = jax.jit(model.init)({"params": jax.random.key(2)}, batch())["params"]
    return model, params


def keras_loss(twin, weights, data, train=False):
    """Mean squared error of the real values, as Keras' `mse` with a mask as sample weights computes it."""
    import keras

    output, _ = twin.stateless_call(
        weights, [v.value for v in twin.non_trainable_variables], [data.values, data.mask], training=train
    )
    errors = keras.losses.mean_squared_error(data.values, output)
    return (errors * data.mask).sum() / data.mask.sum()


@pytest.mark.parametrize("name", REMEDIES)
def test_equal_weights_give_the_loss_and_the_gradients_of_keras(name):
    model, params = ours(name)
    data = batch()
    loss, gradient = jax.jit(jax.value_and_grad(lambda p: model.apply({"params": p}, data).reconstruction.mean))(params)
    # Keras relies on implicit rank promotion.
    with jax.numpy_rank_promotion("allow"):
        twin = keras_twin(SERIES[name], CHANNELS, int(LENGTHS.max()))
        value, keras_gradient = jax.jit(jax.value_and_grad(lambda w: keras_loss(twin, w, data)))(
            [jnp.asarray(w) for w in keras_weights(params)]
        )
    assert abs(float(loss) - float(value)) < 1e-5
    kept = [w for w, v in zip(keras_gradient, twin.trainable_variables, strict=True) if v.name != "beta"]
    expected = [w for w, v in zip(keras_weights(gradient), twin.trainable_variables, strict=True) if v.name != "beta"]
    assert len(kept) == len(jax.tree.leaves(params))
    assert_close(expected, [np.asarray(w) for w in kept])


def test_an_update_equals_that_of_keras_adam_after_its_clip():
    """tf.clip_by_norm of each tensor at 1, then Adam 1e-3, for three steps of large gradients."""
    import keras

    model, params = ours("remedy-clipping")
    data = batch()._replace(values=30 * batch().values)
    # Keras adds epsilon before its bias correction, Optax after it; with a tiny epsilon both are equal.
    optimizer = optim.build(replace(SERIES["remedy-clipping"].optim, eps=1e-15), steps=3)
    grad = jax.jit(jax.grad(lambda p: model.apply({"params": p}, data).reconstruction.mean))
    state, variables = optimizer.init(params), [keras.Variable(w) for w in jax.tree.leaves(params)]
    peer = keras.optimizers.Adam(learning_rate=0.001, epsilon=1e-15)
    clipped_leaves = []
    for _ in range(3):
        gradient = grad(params)
        norms = [float(jnp.linalg.norm(leaf)) for leaf in jax.tree.leaves(gradient)]
        clipped_leaves += [norm > 1 for norm in norms]
        clipped = [leaf / max(norm, 1.0) for leaf, norm in zip(jax.tree.leaves(gradient), norms, strict=True)]
        peer.apply(clipped, variables)
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    assert any(clipped_leaves)
    assert not all(clipped_leaves)
    assert_close(jax.tree.leaves(params), [jnp.asarray(v.value) for v in variables])


def test_the_presets_have_the_settings_of_the_examples():
    clipping, dropout, norm = (SERIES[name] for name in REMEDIES)
    for config in (clipping, dropout, norm):
        assert config.sizes == (128, 64)
        assert not config.spans
        assert config.decoding == "repeat"
        assert (config.optim.clip, config.optim.clip_norm, config.optim.learning_rate) == ("per_tensor", 1.0, 1e-3)
    assert (dropout.cell.input_dropout, dropout.cell.recurrent_dropout) == (0.2, 0.2)
    assert dropout.cell.recurrent_dropout_kind == "variational"
    assert (norm.cell.use_bias, norm.cell.layer_norm, norm.cell.layer_norm_gain) == (False, "output", 1.0)


def test_initial_weights_are_drawn_as_in_keras():
    """Glorot's bound over all four gates, an orthogonal recurrent kernel in one piece, a forget bias of 1."""
    _, params = ours("remedy-clipping")
    layer = params["encoder_0"]["layer_0"]["layer_0"]
    bound = np.sqrt(6 / (CHANNELS + 512))
    assert 0.98 * bound < np.abs(layer["kernel"]).max() <= bound
    np.testing.assert_allclose(layer["recurrent"] @ layer["recurrent"].T, np.eye(128), atol=1e-5)
    np.testing.assert_array_equal(layer["bias"], np.repeat([0, 1, 0, 0], 128))


@pytest.mark.slow
def test_the_page_runs_and_reports_the_causes_that_it_shows():
    blocks = re.findall(r"^```(python|text)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    names, printed, compared = {}, "", []
    for language, block in blocks:
        if language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as output, jax.numpy_rank_promotion("allow"):
                exec(compile(block, str(PAGE), "exec"), names)
            printed = output.getvalue()
        else:
            # Numbers differ between processors; the first line names the cause.
            compared.append([re.split(r"  | \(", text)[0] for text in (block, printed)])
    assert len(compared) == 3
    assert all(shown == found for shown, found in compared), compared
    assert compared[2][0] == "forget-gate-closed"
