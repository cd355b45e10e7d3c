"""The training step, with a bag-of-words model."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.stub import VOCAB, Fake, batch

from hae_jax.batch import Batch
from hae_jax.config import Config, ModelConfig, OptimConfig
from hae_jax.models import build
from hae_jax.training import optim, step

KEY = jax.random.key(7)
CONFIG = Config(optim=OptimConfig(warmup=3, learning_rate=0.05))


@cache
def compiled(config):
    """Initial parameters, the optimizer, and the step; compiled once a config."""
    model, optimizer = Fake(), optim.build(config.optim, steps=101)
    params = jax.jit(model.init)(jax.random.key(1), batch())["params"]
    return jax.device_get(params), optimizer, step.make_step(model, optimizer, config)


def ready(config=CONFIG):
    """A fresh state and a compiled step."""
    params, optimizer, train_step = compiled(config)
    return step.start(jax.tree.map(jnp.array, params), optimizer), train_step


MODELS = [
    {"kind": "flat"},
    {"feedback": "none"},
    {"feedback": "sentence", "layer_norm": "cell"},
    {"feedback": "word", "attention": True, "dtype": "bfloat16"},
]


def host(tree):
    return jax.tree.map(lambda leaf: np.array(leaf), tree)


def poisoned(state, name, value):
    """The state with a number of one parameter replaced."""
    params = dict(state.params)
    params[name] = params[name].at[2, 3].set(value)
    return state._replace(params=params)


def test_the_loss_falls():
    state, train_step = ready()
    losses = []
    for _ in range(50):
        state, info = train_step(state, batch(), KEY)
        losses.append(float(info.loss))
    assert np.mean(losses[-5:]) < losses[0] - 0.3
    assert int(state.step) == 50


def test_tokens_are_the_words_that_are_not_padding():
    state, train_step = ready()
    _, info = train_step(state, batch(), KEY)
    assert int(info.tokens) == np.count_nonzero(batch().buckets[0])


def test_randomness_is_a_function_of_key_and_step():
    losses = {}
    for key, number in ((7, 0), (7, 0), (7, 1), (8, 0)):
        state, train_step = ready()
        state = state._replace(step=jnp.asarray(number, jnp.int32))
        losses.setdefault((key, number), []).append(float(train_step(state, batch(), jax.random.key(key))[1].loss))
    assert losses[7, 0][0] == losses[7, 0][1]
    assert len({values[0] for values in losses.values()}) == 3


@pytest.mark.parametrize("clip", ["global_norm", "autoclip", "zclip", "agc"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_non_finite_step_changes_nothing_and_is_counted(clip, value):
    state, train_step = ready(Config(optim=OptimConfig(clip=clip)))
    for seed in range(3):
        state, _ = train_step(state, batch(seed), KEY)
    state = poisoned(state, "kernel", value)
    before = host(state)
    for times in (1, 2):
        state, info = train_step(state, batch(), KEY)
        assert not info.finite
        assert not info.binding
        assert list(step.named_leaves(state.params))[info.first_nonfinite] == "code/bias"
        jax.tree.map(np.testing.assert_array_equal, host((state.params, state.opt_state)), before[1:3])
        assert (int(state.step), int(state.skipped), int(state.skipped_total)) == (3 + times, times, times)
    state = poisoned(state, "kernel", 0.0)
    state, info = train_step(state, batch(), KEY)
    assert info.finite
    assert int(info.first_nonfinite) == -1
    assert (int(state.skipped), int(state.skipped_total)) == (0, 2)


def test_a_gradient_whose_norm_overflows_is_skipped():
    state, train_step = ready()
    # The gradient of what lies before the kernel then has numbers of 1e30, whose squares overflow.
    state = state._replace(params=state.params | {"kernel": 1e30 * state.params["kernel"]})
    _, info = train_step(state, batch(), KEY)
    assert jnp.isinf(info.norm)
    assert not info.finite


def test_norm_is_that_before_clipping_and_binding_is_whether_it_was_clipped():
    for bound, binding in ((1e-4, True), (1e4, False)):
        state, train_step = ready(Config(optim=OptimConfig(clip_norm=bound)))
        _, info = train_step(state, batch(), KEY)
        assert bool(info.binding) is binding
        assert 1e-3 < float(info.norm) < 1e3


def test_the_state_is_donated():
    state, train_step = ready()
    train_step(state, batch(), KEY)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params))


def test_the_state_holds_arrays_only():
    state, _ = ready()
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(state))


def test_one_shape_compiles_once():
    state, train_step = ready()
    for seed in range(4):
        state, _ = train_step(state, batch(seed), KEY)
    assert train_step._cache_size() == 1


def test_two_accumulated_halves_move_the_parameters_as_the_whole_batch():
    """Halves of as many words each: in the mean batches count alike, however many words they have."""
    half = batch(docs=4, rows=16)
    other = np.where(half.buckets[0] < 4, half.buckets[0], 4 + half.buckets[0] * 5 % 19)
    slots = np.concatenate([half.row_index, np.where(half.row_index < 0, -1, half.row_index + len(other))])
    whole = Batch((np.concatenate([*half.buckets, other]),), slots)
    model = Fake(dropout=0.0)
    params = jax.jit(model.init)(jax.random.key(1), half)["params"]

    def trained(accumulate, batches):
        config = Config(optim=OptimConfig(warmup=3, eps=1e-4, clip_norm=0.1, accumulate=accumulate))
        optimizer = optim.build(config.optim, steps=11 * accumulate)
        train_step = step.make_step(model, optimizer, config)
        state = step.start(jax.tree.map(jnp.array, params), optimizer)
        for each in 3 * batches:
            state, info = train_step(state, each, KEY)
        assert info.binding
        return state.params

    found, wanted = trained(2, [half, half._replace(buckets=(other,))]), trained(1, [whole])
    assert optax.tree.norm(optax.tree.sub(wanted, params)) > 0.1
    jax.tree.map(partial(np.testing.assert_allclose, rtol=0, atol=1e-5), found, wanted)


@pytest.mark.parametrize("options", MODELS, ids=str)
def test_the_step_of_every_model_lowers_for_tpu(options):
    """Lowering runs no TPU compiler, but it refuses what has no rule for a TPU."""
    config = Config(model=ModelConfig(embed_dim=7, hidden_dim=7, sentence_dim=11, **options))
    model, optimizer = build(config.model, VOCAB), optim.build(config.optim, steps=101)
    state = jax.eval_shape(lambda b: step.start(model.init(jax.random.key(1), b)["params"], optimizer), batch())
    train_step = step.make_step(model, optimizer, config)
    lowered = train_step.trace(state, batch(), KEY).lower(lowering_platforms=("tpu",))
    assert "stablehlo" in lowered.as_text()
