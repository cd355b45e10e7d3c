"""Additive attention against its oracle."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from support import oracle
from support.tolerance import assert_close

from hae_jax.layers.attention import AttentionWeights, attend

BATCH, SENT, HIDDEN, FEAT, ALIGN = 3, 7, 2, 5, 11
MASK = np.array([[1, 1, 1, 1, 1, 1, 1], [1, 1, 0, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0]], bool)


@pytest.fixture
def given(rng):
    """Query, memory and weights, in float64."""
    weights = AttentionWeights(rng.normal(size=(HIDDEN, ALIGN)), rng.normal(size=(FEAT, ALIGN)), rng.normal(size=ALIGN))
    return rng.normal(size=(BATCH, HIDDEN)), rng.normal(size=(BATCH, SENT, FEAT)), weights


def arrays(tree, dtype=None):
    return jax.tree.map(lambda x: jnp.asarray(x, dtype), tree)


@pytest.mark.usefixtures("double")
def test_context_equals_its_oracle(given):
    query, memory, weights = given
    context = attend(*arrays((query, memory)), jnp.asarray(MASK), arrays(weights))
    assert_close(
        context, np.stack([oracle.attend(q, m, r, weights) for q, m, r in zip(query, memory, MASK, strict=True)])
    )


@pytest.mark.usefixtures("double")
def test_gradients_equal_finite_differences(given):
    loss = jax.jit(lambda q, m, w: jnp.sin(attend(q, m, jnp.asarray(MASK), w)).sum())
    check_grads(loss, arrays(given), order=1, modes=["rev"], atol=1e-6, rtol=1e-6)


def test_padding_changes_nothing_and_gets_no_gradient(given):
    query, memory, weights = arrays(given, jnp.float32)
    spoilt = jnp.where(MASK[..., None], memory, 1e6)

    def loss(query, memory, weights):
        return jnp.sin(attend(query, memory, jnp.asarray(MASK), weights)).sum()

    clean, dirty = (jax.value_and_grad(loss, (0, 1, 2))(query, m, weights) for m in (memory, spoilt))
    assert_close(dirty, clean)
    assert not np.asarray(dirty[1][1])[~MASK].any()


def test_nothing_to_attend_to_gives_zeros_without_a_gradient(given):
    query, memory, weights = arrays(given, jnp.float32)
    nothing = jnp.zeros((BATCH, SENT), bool)
    loss = lambda *args: attend(*args[:2], nothing, args[2]).sum()  # noqa: E731
    assert not attend(query, memory, nothing, weights).any()
    for leaf in jax.tree.leaves(jax.grad(loss, (0, 1, 2))(query, memory, weights)):
        assert not leaf.any()


def test_order_of_the_memory_does_not_matter(given, rng):
    query, memory, weights = arrays(given, jnp.float32)
    order = rng.permutation(SENT)
    mask = jnp.asarray(MASK)
    assert_close(attend(query, memory[:, order], mask[:, order], weights), attend(query, memory, mask, weights))


def test_huge_scores_pick_one_entry(given):
    query, memory, weights = arrays(given, jnp.float32)
    weights = weights._replace(score=1e6 * weights.score)
    context = np.asarray(attend(query, memory, jnp.ones((BATCH, SENT), bool), weights))
    for row, picked in zip(context, np.asarray(memory), strict=True):
        assert np.isclose(picked, row, atol=1e-5).all(axis=-1).any()
