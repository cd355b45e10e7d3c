"""Additive attention: a weighted mean of the memory's entries, with weights that depend on a query.

score_j = u . tanh(q Q + m_j M)        weight = softmax over unmasked j        context = sum_j weight_j m_j
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


class AttentionWeights(NamedTuple):
    """Parameters: query [hidden, align], memory [feat, align], score [align]."""

    query: Float[Array, "hidden align"]
    memory: Float[Array, "feat align"]
    score: Float[Array, "align"]


def attend(
    query: Float[Array, "*batch hidden"],
    memory: Float[Array, "*batch sent feat"],
    mask: Bool[Array, "*batch sent"],
    weights: AttentionWeights,
) -> Float[Array, "*batch feat"]:
    """Returns the context: the mean of the memory, weighted by attention.

    Args:
        query: hidden state of the decoder.
        memory: sentence states of the encoder.
        mask: True where a memory entry is valid; the context is zero where a row has none.
        weights: the parameters.

    Reference:
        Bahdanau, Cho & Bengio, 2015, https://arxiv.org/abs/1409.0473; over sentences: Li, Luong & Jurafsky, 2015, 3.4
    """
    aligned = jnp.tanh(
        (query @ weights.query.astype(query.dtype))[..., None, :] + memory @ weights.memory.astype(memory.dtype)
    )
    scores = (aligned @ weights.score.astype(aligned.dtype)).astype(jnp.promote_types(query.dtype, jnp.float32))
    # A row without valid entries must have a context and gradients of zero instead of 0 / 0.
    scores = jnp.where(mask, scores, -jnp.inf)
    peak = jnp.max(scores, axis=-1, keepdims=True, where=mask, initial=jnp.finfo(scores.dtype).min)
    powers = jnp.where(mask, jnp.exp(jnp.where(mask, scores - peak, 0)), 0)
    attention = powers / jnp.maximum(powers.sum(axis=-1, keepdims=True), jnp.finfo(scores.dtype).tiny)
    return jnp.einsum("...s,...sf->...f", attention.astype(memory.dtype), jnp.where(mask[..., None], memory, 0))
