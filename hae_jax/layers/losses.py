"""Losses as sums with counts, and a cross-entropy that never stores the logits of all tokens at once.

Unlike means, sums and counts can be added over buckets, devices and evaluation batches without an error, and padding
does not affect them. Gradient accumulation averages the gradients of means: this equals one large batch if all batches
have the same number of tokens, and approximates it if the numbers are similar.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

TILE, LARGEST = 256, 1024
"""Smallest and largest number of tokens whose logits are stored at the same time (a tile). Large inputs use larger
tiles, since every tile adds a gradient of the kernel's size to the kernel's gradient."""
TILES = 16
"""Number of tiles from which on the tiles become larger instead of more."""


class Loss(NamedTuple):
    """A sum over unmasked elements, and their number."""

    total: Float[Array, ""]
    count: Float[Array, ""]  # type: ignore[assignment]  # hides tuple.count, which is not used

    @property
    def mean(self) -> Float[Array, ""]:
        """The sum divided by the count; 0 if the count is 0."""
        return self.total / jnp.maximum(self.count, 1)


def cross_entropy(
    hidden: Float[Array, "token feat"],
    kernel: Float[Array, "feat vocab"],
    bias: Float[Array, "vocab"] | None,
    targets: Int[Array, "token"],
    mask: Bool[Array, "token"],
    tile: int | None = None,
) -> Loss:
    """Sums -ln softmax(hidden W + b)[target] over the unmasked tokens.

    With a vocabulary of 25,000 the logits of a batch would be its largest array. They are computed one tile of tokens
    at a time, and under differentiation the gradients are computed in the same pass, from the same logits: three
    matrix products per tile, and no recomputation.

    Args:
        hidden: hidden states of the decoder.
        kernel: W, the output weights.
        bias: b, the output biases, or None.
        targets: token ids.
        mask: True where a token is counted.
        tile: maximum number of tokens per tile; `tile_size` if None.

    Returns:
        The sum, in nats, and the number of unmasked tokens.
    """
    bias = jnp.zeros(kernel.shape[-1], kernel.dtype) if bias is None else bias
    # Multiplying by 0 would not remove NaN from the padding.
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
    """Returns -ln p(target) of every token, and whether the target is the most probable token."""
    bias = jnp.zeros(kernel.shape[-1], kernel.dtype) if bias is None else bias

    def score(piece):
        hidden, targets = piece
        logits = _logits(hidden, kernel, bias)
        chosen = jnp.take_along_axis(logits, targets[:, None], axis=-1)[:, 0]
        return jax.nn.logsumexp(logits, axis=-1) - chosen, jnp.argmax(logits, axis=-1) == targets

    nll, correct = jax.lax.map(score, _tiles((hidden, targets), _even(tile, len(targets))))
    return nll.reshape(-1)[: len(targets)], correct.reshape(-1)[: len(targets)]


def squared_error(
    prediction: Float[Array, "*shape"], target: Float[Array, "*shape"], mask: Bool[Array, "*shape"]
) -> Loss:
    """Sums squared differences over the unmasked elements; masked ones are ignored, even if they are NaN."""
    difference = jnp.where(mask, prediction, 0) - jnp.where(mask, target, 0)
    return Loss(jnp.square(difference.astype(jnp.float32)).sum(), mask.sum(dtype=jnp.float32))


def _logits(hidden, kernel, bias):
    wide = jnp.promote_types(hidden.dtype, jnp.float32)
    return jnp.matmul(hidden, kernel.astype(hidden.dtype), preferred_element_type=wide) + bias.astype(wide)


def tile_size(tokens: int) -> int:
    """Returns the number of tokens per tile.

    Example:
        >>> tile_size(1000), tile_size(8192), tile_size(65536)
        (256, 512, 1024)
    """
    return min(max(TILE, -(-tokens // TILES)), LARGEST)


def _even(tile: int, tokens: int) -> int:
    """Returns the size of equally large tiles, so that the last one has little padding.

    Example:
        >>> _even(256, 300), _even(256, 200), _even(256, 0)
        (150, 200, 1)
    """
    return -(-tokens // max(-(-tokens // tile), 1)) or 1


def _tiles(arrays, tile):
    """Splits the first axis into tiles; the last one is padded with zeros."""

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
        # No token has the id -1: masked tokens get a gradient of 0 without another pass over the logits.
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
