"""A stack of layers as a module: axes, parts, perturbations and dropout."""

import dataclasses
import re
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.tolerance import assert_close

from hae_jax.config import CellConfig
from hae_jax.layers.recurrent import LSTM
from hae_jax.layers.stack import stack_scan, zero_states

FEAT, HIDDEN, VEC, TIME = 5, 3, 2, 7


def stack(batch=(4,), vec=0, layers=1, **options):
    """A module, its parameters, inputs and mask."""
    lstm = LSTM(CellConfig(**options), HIDDEN, FEAT, vec, layers)
    rng = np.random.default_rng(11)
    inputs = jnp.asarray(rng.normal(size=(*batch, TIME, FEAT)), jnp.float32)
    lengths = jnp.asarray(rng.integers(0, TIME + 1, batch))
    mask = jnp.arange(TIME) < lengths[..., None]
    context = jnp.ones((*batch, vec)) if vec else None
    params = jax.jit(lstm.init)(jax.random.key(0), inputs, mask, None, context)["params"]
    return lstm, params, inputs, mask


def test_initialisation_makes_parameters_and_nothing_else():
    lstm = LSTM(CellConfig(), HIDDEN, FEAT)
    shapes = jax.eval_shape(lstm.init, jax.random.key(0), jnp.ones((4, TIME, FEAT)), jnp.ones((4, TIME), bool))
    assert set(shapes) == {"params"}


@pytest.mark.parametrize("axes", [(), (2, 3)])
def test_batch_axes_are_just_rows(axes):
    lstm, params, inputs, mask = stack(axes, layers=2)
    run = jax.jit(lambda x, m: lstm.apply({"params": params}, x, m))
    states, hidden = run(inputs, mask)
    assert hidden.shape == (*axes, TIME, HIDDEN)
    flat_states, flat_hidden = run(inputs.reshape(-1, TIME, FEAT), mask.reshape(-1, TIME))
    assert_close(hidden.reshape(-1, TIME, HIDDEN), flat_hidden)
    assert_close(jax.tree.map(lambda x: x.reshape(-1, HIDDEN), states), flat_states)


def test_two_halves_make_a_whole():
    lstm, params, inputs, mask = stack(layers=2)
    run = jax.jit(lambda *args: lstm.apply({"params": params}, *args))
    states, first = run(inputs[:, :3], mask[:, :3])
    states, second = run(inputs[:, 3:], mask[:, 3:], states)
    assert_close((states, jnp.concatenate([first, second], axis=1)), run(inputs, mask))


def test_the_context_is_read_at_every_step():
    lstm, params, inputs, mask = stack(vec=VEC)
    context = jnp.asarray(np.random.default_rng(0).normal(size=(4, VEC)), jnp.float32)
    wide = LSTM(lstm.config, HIDDEN, FEAT + VEC)
    layer = params["layer_0"]
    joined = {"recurrent": layer["recurrent"], "bias": layer["bias"],
              "kernel": jnp.concatenate([layer["kernel"], layer["context"]])}  # fmt: skip
    widened = jnp.concatenate([inputs, jnp.broadcast_to(context[:, None], (4, TIME, VEC))], axis=-1)
    expected = wide.apply({"params": {"layer_0": joined}}, widened, mask)
    assert_close(lstm.apply({"params": params}, inputs, mask, None, context), expected)


def test_perturbations_cost_nothing_when_unused():
    """The module has the operations of the pure functions and no others; with perturbations it has additions."""
    lstm, params, inputs, mask = stack()
    masks = lstm.apply({"params": params}, 4, TIME, False, method="dropout_masks")

    def pure(params, inputs):
        weights = lstm.apply({"params": params}, method="weights")
        return stack_scan(zero_states(lstm.config, 4, HIDDEN), inputs, mask, weights, masks, (None,))[:2]

    def module(params, inputs, **kwargs):
        return lstm.apply({"params": params}, inputs, mask, **kwargs)

    def operations(run):
        text = str(jax.make_jaxpr(run)(params, inputs))
        return Counter(re.findall(r"= (\w+)", text)) - Counter({"broadcast_in_dim": 100})  # unused zeros

    assert operations(module) == operations(pure)
    perturbed = operations(lambda p, x: module(p, x, mutable=["perturbations"]))
    assert perturbed["add"] > operations(module)["add"]


def test_gates_and_perturbations_are_named_after_their_layer():
    lstm, params, inputs, mask = stack(layers=2)
    collections = ["gates", "perturbations"]
    _, seen = jax.jit(lambda x: lstm.apply({"params": params}, x, mask, mutable=collections))(inputs)
    assert set(seen["gates"]) == {"gates_0_0", "gates_0_1", "mask_0", "given_0"}
    assert (seen["gates"]["mask_0"][0] == mask).all()
    assert set(seen["perturbations"]) == {"hidden_0_0", "hidden_0_1"}
    forget = seen["gates"]["gates_0_1"][0].forget
    assert forget.shape == (4, TIME, HIDDEN)
    assert ((forget > 0) & (forget < 1)).all()


@pytest.mark.parametrize(
    "options",
    [
        {"input_dropout": 0.5},
        {"recurrent_dropout": 0.5},
        {"recurrent_dropout": 0.5, "recurrent_dropout_kind": "semeniuta"},
        {"zoneout_cell": 0.5},
        {"zoneout_hidden": 0.5},
    ],
)
def test_dropout_is_sampled_in_training_only(options):
    lstm, params, inputs, mask = stack(**options)
    mask = jnp.ones_like(mask)
    train = jax.jit(lambda key: lstm.apply({"params": params}, inputs, mask, train=True, rngs={"dropout": key})[1])
    one, same, other = (train(jax.random.key(seed)) for seed in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()
    still = jax.jit(lambda: lstm.apply({"params": params}, inputs, mask)[1])
    assert (still() == still()).all()
    assert (still() != one).any()


@pytest.mark.parametrize(
    "options",
    [{"layers": 2, "layer_norm": "cell"}, {"input_dropout": 0.3, "recurrent_dropout": 0.2, "zoneout_cell": 0.1}],
    ids=["normalized", "dropout"],
)
@pytest.mark.parametrize("rows", [9, 10])
def test_recomputed_activations_equal_stored_ones(options, rows, monkeypatch):
    monkeypatch.setattr("hae_jax.layers.stack.CHECKPOINT_ROWS", 4)
    lstm, params, inputs, mask = stack((rows,), VEC, **options)
    checkpointed = lstm.clone(config=dataclasses.replace(lstm.config, remat=True))
    context = jnp.linspace(-1, 1, rows * VEC).reshape(rows, VEC)

    def loss(module, shared):
        def run(params, inputs, context):
            given = inputs[: rows // 2] if shared else inputs
            states, hidden = module.apply(
                {"params": params}, given, mask, None, context, train=True, rngs={"dropout": jax.random.key(3)}
            )
            return jnp.sin(hidden).sum() + sum(jnp.square(part).sum() for state in states for part in state), states

        return jax.jit(jax.value_and_grad(run, (0, 1, 2), has_aux=True))(params, inputs, context)

    for shared in [False, True][: 1 + (rows % 2 == 0)]:
        assert_close(loss(checkpointed, shared), loss(lstm, shared))


def test_recomputed_activations_need_no_memory():
    rows, time = 4096, 16
    inputs, mask = jnp.zeros((rows, time, FEAT)), jnp.ones((rows, time), bool)

    def temporary(remat):
        lstm = LSTM(CellConfig(remat=remat), 64, FEAT)
        params = jax.eval_shape(lstm.init, jax.random.key(0), inputs, mask)
        gradient = jax.jit(jax.grad(lambda params: lstm.apply(params, inputs, mask)[1].sum()))
        return gradient.lower(params).compile().memory_analysis().temp_size_in_bytes

    assert temporary(True) < temporary(False) / 3
