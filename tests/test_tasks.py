"""Tasks against published baselines of models without memory."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.gradients.schemes import SCHEMES, config
from benchmarks.gradients.tasks import COPIED, LETTERS, SYMBOLS, TASKS, adding, copy_memory, recall


@pytest.mark.parametrize("gap", [100, 200, 500])
def test_blanks_then_a_uniform_guess_give_the_published_baseline_of_copying(gap):
    task = copy_memory(gap)
    _, targets = task.draw(jax.random.key(0), 3)
    sure, guess = jnp.full(LETTERS + 1, -jnp.inf).at[LETTERS].set(0.0), jnp.zeros(LETTERS + 1).at[LETTERS].set(-jnp.inf)
    recalled = jnp.arange(gap + 2 * COPIED) >= gap + COPIED
    logits = jnp.broadcast_to(jnp.where(recalled[:, None], guess, sure), (*targets.shape, LETTERS + 1))
    np.testing.assert_allclose(task.loss(logits, targets), 10 * math.log(8) / (gap + 20), rtol=1e-5)
    assert task.chance == pytest.approx(10 * math.log(8) / (gap + 20))


def test_the_targets_of_copying_are_the_first_symbols_right_after_the_delimiter():
    inputs, targets = map(np.asarray, copy_memory(11).draw(jax.random.key(1), 5))
    assert inputs.shape == targets.shape == (5, 31)
    np.testing.assert_array_equal(targets[:, -COPIED:], inputs[:, :COPIED])
    assert (inputs[:, :COPIED] < LETTERS).all()
    # The delimiter is at the step before the first target.
    assert (np.argwhere(inputs == LETTERS + 1)[:, 1] == 31 - COPIED - 1).all()
    assert (inputs[:, COPIED : -COPIED - 1] == LETTERS).all()
    assert (targets[:, :-COPIED] == LETTERS).all()


def test_predicting_one_gives_the_published_baseline_of_adding():
    task = adding(200)
    inputs, targets = task.draw(jax.random.key(0), 20_011)
    np.testing.assert_allclose(task.loss(jnp.ones_like(targets), targets), 0.167, atol=0.005)
    assert task.chance == pytest.approx(0.167, abs=5e-4)
    inputs = np.asarray(inputs, np.float64)
    assert (inputs[:, :100, 1].sum(axis=1) == 1).all()
    assert (inputs[:, 100:, 1].sum(axis=1) == 1).all()
    np.testing.assert_allclose(targets, (inputs[..., 0] * inputs[..., 1]).sum(axis=1), rtol=1e-5)


def test_recall_without_memory_gives_ln_16_and_without_order_ln_8():
    task = recall()
    documents, targets = task.draw(jax.random.key(0), 997)
    assert documents.shape == (997, 8, 16)
    np.testing.assert_array_equal(targets, documents[:, :, 0])
    np.testing.assert_allclose(task.loss(jnp.zeros((*targets.shape, SYMBOLS)), targets), math.log(16), rtol=1e-5)
    known = jax.nn.one_hot(targets, SYMBOLS).sum(axis=1, keepdims=True)
    assert known.max() == 1
    unordered = task.loss(jnp.broadcast_to(jnp.log(known), (*targets.shape, SYMBOLS)), targets)
    np.testing.assert_allclose(unordered, math.log(8), rtol=1e-5)
    assert task.threshold < math.log(8) - 0.05
    assert task.chance == pytest.approx(2.7726, abs=1e-4)


@pytest.mark.parametrize("name", TASKS)
def test_a_batch_is_a_function_of_its_key(name):
    first, again, other = (TASKS[name].draw(jax.random.key(seed), 2) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.inputs, again.inputs)
    assert (np.asarray(first.inputs) != np.asarray(other.inputs)).any()


@pytest.mark.parametrize(
    ("name", "norm"),
    [
        *(("recall of 8 x 16", norm) for norm in ("none", "cell", "output")),
        ("adding 200", "none"),
        ("copy 100", "none"),
    ],
)
def test_a_recipe_without_bias_has_none_anywhere(name, norm):
    task = TASKS[name]
    inputs, targets = task.draw(jax.random.key(0), 3)
    model = task.model(config(task, "glorot, no bias", norm, 5))
    params = model.init(jax.random.key(1), inputs)
    assert "bias" not in str(jax.tree_util.tree_structure(params))
    assert jnp.isfinite(task.loss(model.apply(params, inputs), targets))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_is_a_config_of_the_model(scheme):
    assert config(TASKS["recall of 8 x 16"], scheme, "none", 7).sentence_dim == 14
