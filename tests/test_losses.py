"""Losses are sums with counts: against optax and torch, whole and in tiles."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support import oracle
from support.tolerance import assert_close

from hae_jax.layers.losses import Loss, cross_entropy, squared_error, token_scores

TOKENS, FEAT, VOCAB = 13, 5, 11
MASK = np.arange(TOKENS) % 3 != 1


@pytest.fixture
def given(rng):
    """Hidden states, kernel, bias and targets."""
    arrays = (rng.normal(size=(TOKENS, FEAT)), rng.normal(size=(FEAT, VOCAB)), rng.normal(size=VOCAB))
    return *(jnp.asarray(x, jnp.float32) for x in arrays), jnp.asarray(rng.integers(0, VOCAB, TOKENS))


def whole(hidden, kernel, bias, targets):
    """All logits at once, by optax."""
    nll = optax.softmax_cross_entropy_with_integer_labels(hidden @ kernel + bias[None], targets)
    return jnp.where(MASK, nll, 0).sum()


@pytest.mark.parametrize("tile", [None, 1, 2, 5, 13, 1024])
def test_loss_and_gradients_equal_optax_on_all_logits(given, tile):
    def tiled(hidden, kernel, bias, targets):
        return cross_entropy(hidden, kernel, bias, targets, jnp.asarray(MASK), tile).total

    ours, theirs = (jax.jit(jax.value_and_grad(f, argnums=(0, 1, 2)))(*given) for f in (tiled, whole))
    assert_close(ours, theirs)
    assert_close(tiled(*given), ours[0])


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch comes with the extra `peers`")
def test_loss_and_gradients_equal_torch(given):
    import torch

    hidden, kernel, bias, targets = (torch.from_numpy(np.array(x)) for x in given)
    leaves = [x.requires_grad_() for x in (hidden, kernel, bias)]
    targets = torch.where(torch.from_numpy(MASK), targets.long(), -100)
    total = torch.nn.functional.cross_entropy(hidden @ kernel + bias, targets, reduction="sum")
    total.backward()
    loss = lambda h, k, b: cross_entropy(h, k, b, given[3], jnp.asarray(MASK), 5).total  # noqa: E731
    ours = jax.value_and_grad(loss, argnums=(0, 1, 2))(*given[:3])
    assert_close(ours, (total.detach().numpy(), tuple(x.grad.numpy() for x in leaves)))


@pytest.mark.parametrize("biased", [True, False])
def test_loss_equals_its_oracle(given, biased):
    hidden, kernel, bias, targets = given
    bias = bias if biased else None
    arrays = [None if x is None else np.asarray(x, np.float64) for x in (hidden, kernel, bias)]
    expected = Loss(*oracle.cross_entropy(*arrays, np.asarray(targets), MASK))
    assert_close(cross_entropy(hidden, kernel, bias, targets, jnp.asarray(MASK), 5), expected)


def test_an_upstream_gradient_scales_the_gradients(given):
    def loss(h, factor):
        return factor * cross_entropy(h, *given[1:], jnp.asarray(MASK), 5).total

    assert_close(jax.grad(loss)(given[0], 7.0), 7 * jax.grad(loss)(given[0], 1.0))


def test_values_at_padding_have_no_effect(given):
    hidden, kernel, bias, targets = given
    mask = jnp.asarray(MASK)
    spoilt = (jnp.where(mask[:, None], hidden, jnp.nan), kernel, bias, jnp.where(mask, targets, 10**6))

    def loss(h, k, b, targets):
        return cross_entropy(h, k, b, targets, mask, 5).total

    clean, dirty = (jax.value_and_grad(loss, argnums=(0, 1, 2))(*x) for x in (given, spoilt))
    assert_close(dirty, clean)
    assert not np.asarray(dirty[1][0])[~MASK].any()


def test_nothing_real_makes_a_loss_of_zero_without_a_gradient(given):
    hidden, *rest = given
    nothing = jnp.zeros(TOKENS, bool)
    loss = cross_entropy(hidden, *rest, nothing)
    assert (float(loss.total), float(loss.count), float(loss.mean)) == (0, 0, 0)
    assert not jax.grad(lambda h: cross_entropy(h, *rest, nothing).mean)(hidden).any()


def test_parts_add_up_to_the_whole(given):
    hidden, kernel, bias, targets = given
    mask = jnp.asarray(MASK)
    parts = [cross_entropy(hidden[s], kernel, bias, targets[s], mask[s]) for s in (slice(0, 4), slice(4, None))]
    both = jax.tree.map(jnp.add, *parts)
    loss = cross_entropy(hidden, kernel, bias, targets, mask)
    assert_close(both, loss)
    assert_close(both.mean, loss.total / MASK.sum())


def test_huge_logits_stay_finite(given):
    hidden, kernel, bias, targets = given
    loss = jax.value_and_grad(lambda h: cross_entropy(h, kernel, bias, targets, jnp.asarray(MASK)).total)
    total, gradient = loss(1e4 * hidden)
    assert jnp.isfinite(total)
    assert jnp.isfinite(gradient).all()


def test_sums_stay_float32_under_bfloat16(given):
    hidden, kernel, bias, targets = given
    narrow, mask = hidden.astype(jnp.bfloat16), jnp.asarray(MASK)
    loss, gradient = jax.value_and_grad(lambda h, k: cross_entropy(h, k, bias, targets, mask, 5).total, (0, 1))(
        narrow, kernel
    )
    assert (loss.dtype, gradient[0].dtype, gradient[1].dtype) == (jnp.float32, jnp.bfloat16, jnp.float32)
    wide = jax.grad(lambda h, k: cross_entropy(h, k, bias, targets, mask, 5).total, (0, 1))(hidden, kernel)
    assert_close(gradient[0], wide[0], slack=2)
    assert jnp.linalg.norm(gradient[1] - wide[1]) < 0.02 * jnp.linalg.norm(wide[1])


def test_all_logits_never_exist_at_once(given):
    """Neither forward nor backward holds an array of [token, vocab]."""
    tokens, tile = 128, 16
    hidden = jnp.ones((tokens, FEAT))
    targets, mask = jnp.zeros(tokens, int), jnp.ones(tokens, bool)
    loss = lambda h: cross_entropy(h, given[1], given[2], targets, mask, tile).total  # noqa: E731
    program = str(jax.make_jaxpr(jax.value_and_grad(loss))(hidden))
    assert f"[{tile},{VOCAB}]" in program
    assert f"[{tokens},{VOCAB}]" not in program
    assert f"[{tokens // tile},{tile},{VOCAB}]" not in program


@pytest.mark.parametrize("tile", [1, 5, 1024])
def test_scores_are_those_of_each_token(given, tile):
    hidden, kernel, bias, targets = given
    logits = hidden @ kernel + bias[None]
    targets = targets.at[::2].set(logits.argmax(-1)[::2])
    nll, hit = token_scores(hidden, kernel, bias, targets, tile)
    assert_close(nll, optax.softmax_cross_entropy_with_integer_labels(logits, targets))
    np.testing.assert_array_equal(hit, logits.argmax(-1) == targets)


def test_squared_error_counts_real_numbers_only(rng):
    prediction, target = jnp.asarray(rng.normal(size=(2, 7, 3)), jnp.float32)
    mask = jnp.asarray(rng.integers(0, 2, (7, 3)), bool)
    loss = squared_error(jnp.where(mask, prediction, jnp.nan), target, mask)
    expected = np.square(np.asarray(prediction - target))[np.asarray(mask)]
    assert_close(loss, Loss(expected.sum(), np.float32(mask.sum())))
    gradient = jax.grad(lambda p: squared_error(p, target, mask).total)(jnp.where(mask, prediction, jnp.nan))
    assert_close(gradient, np.where(mask, 2 * (prediction - target), 0))
