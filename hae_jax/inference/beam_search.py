"""Codes to token ids by beam search."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from hae_jax.batch import EOD, PAD
from hae_jax.inference.decode_loop import bind, mask_pad, scan_until
from hae_jax.inference.generate import check_max_tokens
from hae_jax.models.outputs import Code


def select_beams(tree: PyTree, chosen: Int[Array, "doc beam"]) -> PyTree:
    """Selects beams of each document; leaves have shape `[doc * beam, ...]`."""
    docs, beam = chosen.shape
    flat = (jnp.arange(docs)[:, None] * beam + chosen).reshape(-1)
    return jax.tree.map(lambda x: x[flat], tree)


def normalized_score(
    total: Float[Array, "doc *beam"], length: Int[Array, "doc *beam"] | int, length_penalty: Float[Array, ""]
) -> Float[Array, "doc *beam"]:
    """Returns the objective of the search: log probability / length ** length_penalty."""
    return total / jnp.maximum(length, 1) ** length_penalty


def is_decided(
    total: Float[Array, "doc beam"],
    length: Int[Array, "doc beam"],
    ended: Bool[Array, "doc beam"],
    limit: int,
    length_penalty: Float[Array, ""],
) -> Bool[Array, ""]:
    """Returns whether the best finished beam of every document scores above all continuations of its open beams.

    A continuation never raises the log probability, so the score of an open beam is bounded by its present log
    probability at the greatest length.
    """
    best = jnp.where(ended, normalized_score(total, length, length_penalty), -jnp.inf).max(-1)
    bound = jnp.where(ended, -jnp.inf, normalized_score(total, limit, length_penalty)).max(-1)
    return (best > bound).all()


def backtrack(parents: Int[Array, "token doc beam"], tokens: Int[Array, "token doc beam"]) -> Int[Array, "doc token"]:
    """Follows the first beam of each document back from the last token to the first."""

    def back(beam, step):
        parents, tokens = step
        pick = partial(jnp.take_along_axis, indices=beam[:, None], axis=1)
        return pick(parents)[:, 0], pick(tokens)[:, 0]

    first = jnp.zeros(tokens.shape[1], jnp.int32)
    return jax.lax.scan(back, first, (parents, tokens), reverse=True)[1].T


@partial(jax.jit, static_argnums=(0, 3, 4))
def _beam(
    model: nn.Module, params: PyTree, code: Code, beam: int, max_tokens: int, length_penalty: Float[Array, ""]
) -> Int[Array, "doc token"]:
    step = bind(model, params, "step")
    state = jax.tree.map(lambda x: jnp.repeat(x, beam, axis=0), bind(model, params, "start")(code, max_tokens))
    docs = code.document.shape[0]

    def advance(carry, position):
        state, token, total, length, ended = carry
        state, logits = step(state, token.reshape(-1))
        score = jax.nn.log_softmax(mask_pad(logits)).reshape(docs, beam, -1)
        vocab = score.shape[-1]
        only_pad = jnp.where(jnp.arange(vocab) == PAD, 0.0, -jnp.inf)[None, None]
        total = (total[..., None] + jnp.where(ended[..., None], only_pad, score)).reshape(docs, -1)
        length = length + ~ended
        _, best = jax.lax.top_k(normalized_score(total, jnp.repeat(length, vocab, axis=1), length_penalty), beam)
        parent, token = jnp.divmod(best, vocab)
        pick = partial(jnp.take_along_axis, indices=parent, axis=1)
        state, ended = select_beams(state, parent), pick(ended) | (token == EOD)
        total = jnp.take_along_axis(total, best, axis=1)
        return (state, token, total, pick(length), ended), (parent, token)

    def decided(carry):
        _, _, total, length, ended = carry
        return is_decided(total, length, ended, max_tokens, length_penalty)

    # All beams of a document start equal, so only the first is kept.
    total = jnp.broadcast_to(jnp.where(jnp.arange(beam) == 0, 0.0, -jnp.inf), (docs, beam))
    empty = jnp.zeros((docs, beam), jnp.int32)
    carry = state, jnp.full((docs, beam), PAD, jnp.int32), total, empty, empty.astype(bool)
    _, (parents, tokens) = scan_until(advance, decided, carry, max_tokens)
    return backtrack(parents, tokens)


def beam_search(
    model: nn.Module, params: PyTree, code: Code, beam: int, max_tokens: int, length_penalty: float = 0.0
) -> Int[Array, "doc token"]:
    """Decodes codes by beam search, which keeps the `beam` best hypotheses of each document.

    Hypotheses are ranked by log probability / length ** length_penalty. A finished one stays in the beam unchanged.

    Args:
        model: an autoencoder of `hae_jax.models`.
        params: its parameters.
        code: the codes, as returned by the model's `encode`.
        beam: number of hypotheses; 1 is greedy.
        max_tokens: maximum length of a document in tokens, end marks included; at this length it stops without EOD.
        length_penalty: 0 maximizes the probability of the text, which favours short texts; 1 its mean per token.

    Returns:
        Token ids of the best hypothesis, as from `greedy`.

    Raises:
        ValueError: if `beam` or `max_tokens` is not positive, or `length_penalty` negative.
    """
    check_max_tokens(max_tokens)
    if beam < 1:
        raise ValueError(f"beam must be at least 1, got {beam}. Use 1 for greedy decoding.")
    if not length_penalty >= 0:
        raise ValueError(f"length_penalty must be at least 0, got {length_penalty}. Use 0 or more.")
    return _beam(model, params, code, beam, max_tokens, jnp.float32(length_penalty))
