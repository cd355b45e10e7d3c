"""Losses as sums with counts, and a cross-entropy that never holds the logits of all tokens at once.

A mean over a batch cannot be combined with the mean over another; a sum and its count can. So buckets, devices and
evaluation batches add up exactly, and padding cannot change a value. Accumulated steps average the gradients of means:
they equal one large batch where their batches have equally many words, and nearly where they have nearly as many.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

TILE, LARGEST = 256, 1024
"""Tokens whose logits exist at the same time: so many, or more of many thousands, since each tile's gradient is added
to the kernel's."""
TILES = 16
"""From so many tiles on they grow."""


class Loss(NamedTuple):
    """A sum over real elements, and how many there were."""

    total: Float[Array, ""]
    count: Float[Array, ""]  # type: ignore[assignment]  # hides tuple.count, which nobody asks of a loss

    @property
    def mean(self) -> Float[Array, ""]:
        """The sum over the count; 0 where there was nothing to count."""
        return self.total / jnp.maximum(self.count, 1)


def cross_entropy(
    hidden: Float[Array, "token feat"],
    kernel: Float[Array, "feat vocab"],
    bias: Float[Array, "vocab"] | None,
    targets: Int[Array, "token"],
    mask: Bool[Array, "token"],
    tile: int | None = None,
) -> Loss:
    """Sums -ln softmax(hidden W + b)[target] over the real tokens.

    With a vocabulary of 25,000 the logits of a batch outweigh all else in memory. Here they live a tile at a time, and
    where gradients are wanted they are taken in the same visit, while the tile's logits are at hand: three matrix
    products a tile and nothing recomputed.

    Args:
        hidden: the decoder's hidden states.
        kernel: output weights.
        bias: output biases, or None.
        targets: word ids.
        mask: True where a token counts.
        tile: tokens a tile, at most; `tile_size` of them if None.

    Returns:
        The sum, in nats, and the number of real tokens.
    """
    bias = jnp.zeros(kernel.shape[-1], kernel.dtype) if bias is None else bias
    # Where padding holds NaN, a product with 0 would not silence it.
    hidden = jnp.where(mask[:, None], hidden, 0)
    targets = jnp.where(mask, targets, 0)
    tile = _even(tile or tile_size(len(targets)), len(targets))
    return Loss(_total(hidden, kernel, bias, targets, mask, tile), mask.sum(dtype=jnp.float32))


def token_scores(
    hidden: Float[Array, "token feat"],
    kernel: Float[Array, "feat vocab"],
    bias: Float[Array, "vocab"] | None,
    targets: Int[Array, "token"],
    tile: int = TILE,
) -> tuple[Float[Array, "token"], Bool[Array, "token"]]:
    """Returns -ln p(target) of every token, and whether the target was the likeliest word."""
    bias = jnp.zeros(kernel.shape[-1], kernel.dtype) if bias is None else bias

    def score(piece):
        hidden, targets = piece
        logits = _logits(hidden, kernel, bias)
        chosen = jnp.take_along_axis(logits, targets[:, None], axis=-1)[:, 0]
        return jax.nn.logsumexp(logits, axis=-1) - chosen, jnp.argmax(logits, axis=-1) == targets

    nll, hit = jax.lax.map(score, _tiles((hidden, targets), _even(tile, len(targets))))
    return nll.reshape(-1)[: len(targets)], hit.reshape(-1)[: len(targets)]


def squared_error(
    prediction: Float[Array, "*shape"], target: Float[Array, "*shape"], mask: Bool[Array, "*shape"]
) -> Loss:
    """Sums squared differences over the real elements; what stands at the others, NaN even, plays no part."""
    difference = jnp.where(mask, prediction, 0) - jnp.where(mask, target, 0)
    return Loss(jnp.square(difference.astype(jnp.float32)).sum(), mask.sum(dtype=jnp.float32))


def _logits(hidden, kernel, bias):
    wide = jnp.promote_types(hidden.dtype, jnp.float32)
    return jnp.matmul(hidden, kernel.astype(hidden.dtype), preferred_element_type=wide) + bias.astype(wide)


def tile_size(tokens: int) -> int:
    """Returns the size of the loss's tiles.

    Example:
        >>> tile_size(1000), tile_size(8192), tile_size(65536)
        (256, 512, 1024)
    """
    return min(max(TILE, -(-tokens // TILES)), LARGEST)


def _even(tile: int, tokens: int) -> int:
    """Returns the size of equal tiles: were all but the last one full, that one would be mostly padding.

    Example:
        >>> _even(256, 300), _even(256, 200), _even(256, 0)
        (150, 200, 1)
    """
    return -(-tokens // max(-(-tokens // tile), 1)) or 1


def _tiles(arrays, tile):
    """Cuts the first axis into tiles, the last one filled up with zeros."""

    def cut(x):
        spare = -len(x) % tile
        return jnp.pad(x, [(0, spare)] + [(0, 0)] * (x.ndim - 1)).reshape(-1, tile, *x.shape[1:])

    return jax.tree.map(cut, arrays)


@partial(jax.custom_vjp, nondiff_argnums=(5,))
def _total(hidden, kernel, bias, targets, mask, tile):
    def add(total, piece):
        hidden, targets, mask = piece
        logits = _logits(hidden, kernel, bias)
        chosen = jnp.take_along_axis(logits, targets[:, None], axis=-1)[:, 0]
        return total + jnp.where(mask, jax.nn.logsumexp(logits, axis=-1) - chosen, 0).sum(), None

    wide = jnp.promote_types(hidden.dtype, jnp.float32)
    return jax.lax.scan(add, jnp.zeros((), wide), _tiles((hidden, targets, mask), tile))[0]


def _total_and_gradients(hidden, kernel, bias, targets, mask, tile):
    wide = jnp.promote_types(hidden.dtype, jnp.float32)

    def add(sums, piece):
        hidden, targets, mask = piece
        logits = _logits(hidden, kernel, bias)
        highest = logits.max(axis=-1, keepdims=True)
        powers = jnp.exp(logits - highest)
        norm = powers.sum(axis=-1, keepdims=True)
        nll = (jnp.log(norm) + (highest - jnp.take_along_axis(logits, targets[:, None], axis=-1)))[:, 0]
        # No word has the number -1: a token that does not count gets a gradient of 0 without another visit.
        chosen = jnp.arange(logits.shape[-1]) == jnp.where(mask, targets, -1)[:, None]
        d_logits = powers * jnp.where(mask[:, None], 1 / norm, 0) - chosen
        narrow = d_logits.astype(hidden.dtype)
        d_kernel = jnp.matmul(hidden.T, narrow, preferred_element_type=wide)
        d_hidden = jnp.matmul(narrow, kernel.T.astype(hidden.dtype), preferred_element_type=wide)
        steps = (jnp.where(mask, nll, 0).sum(), d_kernel, d_logits.sum(axis=0))
        return jax.tree.map(jnp.add, sums, steps), d_hidden.astype(hidden.dtype)

    zeros = (jnp.zeros((), wide), jnp.zeros(kernel.shape, wide), jnp.zeros(bias.shape, wide))
    (total, d_kernel, d_bias), d_hidden = jax.lax.scan(add, zeros, _tiles((hidden, targets, mask), tile))
    d_hidden = d_hidden.reshape(-1, hidden.shape[-1])[: len(hidden)]
    return total, (d_hidden, d_kernel.astype(kernel.dtype), d_bias.astype(bias.dtype))


def _scaled(tile, gradients, d_total):
    hidden, kernel, bias = (g * d_total.astype(g.dtype) for g in gradients)
    return hidden, kernel, bias, None, None


_total.defvjp(_total_and_gradients, _scaled)
