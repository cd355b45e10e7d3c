"""The training step, with a model that only counts words."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fake import Fake, batch

from hae_jax.config import Config, OptimConfig
from hae_jax.training import optim, step

KEY = jax.random.key(7)
CONFIG = Config(optim=OptimConfig(warmup=3, learning_rate=0.05))


def ready(config=CONFIG, **kwargs):
    """A fresh state and a compiled step."""
    model = Fake()
    optimizer = optim.build(config.optim, steps=101)
    params = model.init(jax.random.key(1), batch())["params"]
    return step.start(params, optimizer), step.make_step(model, optimizer, config, **kwargs)


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
    for _ in range(60):
        state, info = train_step(state, batch(), KEY)
        losses.append(float(info.loss))
    assert np.mean(losses[-5:]) < losses[0] - 0.3
    assert int(state.step) == 60


def test_tokens_are_the_words_that_are_not_padding():
    state, train_step = ready()
    _, info = train_step(state, batch(), KEY)
    assert int(info.tokens) == np.count_nonzero(batch().tables[0])


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
        assert list(step.named(state.params))[info.culprit] == "code/bias"
        jax.tree.map(np.testing.assert_array_equal, host((state.params, state.opt_state)), before[1:3])
        assert (int(state.step), int(state.skipped), int(state.skipped_total)) == (3 + times, times, times)
    state = poisoned(state, "kernel", 0.0)
    state, info = train_step(state, batch(), KEY)
    assert info.finite
    assert int(info.culprit) == -1
    assert (int(state.skipped), int(state.skipped_total)) == (0, 2)


def test_a_gradient_whose_norm_overflows_is_skipped():
    state, train_step = ready()
    state = state._replace(params=jax.tree.map(lambda leaf: leaf * 1e30, state.params))
    _, info = train_step(state, batch(), KEY)
    assert not info.finite


def test_norm_is_that_before_clipping_and_binding_says_whether_it_was_cut():
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


def test_the_step_lowers_for_tpu():
    state, train_step = ready()
    lowered = train_step.trace(state, batch(), KEY).lower(lowering_platforms=("tpu",))
    assert "stablehlo" in lowered.as_text()
