"""A loop over tokens that stays on the device: a `while` over blocks of scanned steps."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from hae_jax.batch import PAD

BLOCK_SIZE = 8
"""Tokens between two checks of the stopping condition on an accelerator, where each check synchronizes; 1 on a CPU."""


def bind(model: nn.Module, params: PyTree, method: str) -> Callable[..., Any]:
    """Returns a method of a Flax module, by name, as a function of its other arguments."""
    return partial(model.apply, {"params": params}, method=method)


def mask_pad(logits: Float[Array, "*batch vocab"]) -> Float[Array, "*batch vocab"]:
    """Sets the logit of PAD to -inf: PAD marks the start of a document and fills its end, and is never predicted."""
    return jnp.where(jnp.arange(logits.shape[-1]) == PAD, -jnp.inf, logits.astype(jnp.float32))


def scan_until(
    advance: Callable[[PyTree, Int[Array, ""]], tuple[PyTree, PyTree]],
    ended: Callable[[PyTree], Array],
    carry: PyTree,
    steps: int,
) -> tuple[PyTree, PyTree]:
    """Scans `advance` over the positions 0, 1, ... in blocks until `ended` returns True.

    Args:
        advance: one step, `(carry, position) -> (carry, output)`.
        ended: whether to stop, as a function of the carry.
        carry: initial carry.
        steps: maximum number of positions; a last block may run beyond it.

    Returns:
        The last carry, and the outputs stacked over positions; zeros after the loop has ended.
    """
    size = 1 if jax.default_backend() == "cpu" else BLOCK_SIZE
    count = -(-steps // size)
    outputs = jax.eval_shape(advance, carry, jnp.zeros((), jnp.int32))[1]
    outputs = jax.tree.map(lambda x: jnp.zeros((count, size, *x.shape), x.dtype), outputs)

    def run(loop):
        block, carry, outputs = loop
        carry, new = jax.lax.scan(advance, carry, block * size + jnp.arange(size))
        outputs = jax.tree.map(lambda all, one: jax.lax.dynamic_update_index_in_dim(all, one, block, 0), outputs, new)
        return block + 1, carry, outputs

    def more(loop):
        block, carry, _ = loop
        return (block < count) & ~ended(carry)

    _, carry, outputs = jax.lax.while_loop(more, run, (jnp.zeros((), jnp.int32), carry, outputs))
    return carry, jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:steps], outputs)
