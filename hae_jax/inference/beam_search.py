"""Codes to token ids by beam search."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from hae_jax.batch import EOD, PAD
from hae_jax.inference.decode_loop import bind, mask_pad, scan_until
from hae_jax.inference.generate import check
from hae_jax.models.outputs import Code


def select_beams(tree: PyTree, chosen: Int[Array, "doc beam"]) -> PyTree:
    """Picks beams of each document; leaves stay flat, `[doc * beam, ...]`."""
    docs, beam = chosen.shape
    flat = (jnp.arange(docs)[:, None] * beam + chosen).reshape(-1)
    return jax.tree.map(lambda x: x[flat], tree)


def normalized_score(
    total: Float[Array, "doc *beam"], length: Int[Array, "doc *beam"] | int, length_penalty: Float[Array, ""]
) -> Float[Array, "doc *beam"]:
    """Returns what the search maximises: log probability over length ** penalty."""
    return total / jnp.maximum(length, 1) ** length_penalty


def is_decided(
    total: Float[Array, "doc beam"],
    length: Int[Array, "doc beam"],
    ended: Bool[Array, "doc beam"],
    limit: int,
    length_penalty: Float[Array, ""],
) -> Bool[Array, ""]:
    """Tells whether no document can do better than its best ended beam, whatever its open beams go on to say.

    Log probabilities only fall, so an open beam ends at best with what it has now, spread over the greatest length.
    """
    best = jnp.where(ended, normalized_score(total, length, length_penalty), -jnp.inf).max(-1)
    hope = jnp.where(ended, -jnp.inf, normalized_score(total, limit, length_penalty)).max(-1)
    return (best > hope).all()


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
    state = jax.tree.map(lambda x: jnp.repeat(x, beam, axis=0), bind(model, params, "start")(code))
    docs = code.document.shape[0]

    def advance(carry, position):
        state, token, total, length, ended = carry
        state, logits = step(state, token.reshape(-1))
        score = jax.nn.log_softmax(mask_pad(logits)).reshape(docs, beam, -1)
        vocab = score.shape[-1]
        silence = jnp.where(jnp.arange(vocab) == PAD, 0.0, -jnp.inf)[None, None]
        total = (total[..., None] + jnp.where(ended[..., None], silence, score)).reshape(docs, -1)
        length = length + ~ended
        _, best = jax.lax.top_k(normalized_score(total, jnp.repeat(length, vocab, axis=1), length_penalty), beam)
        parent, token = jnp.divmod(best, vocab)
        pick = partial(jnp.take_along_axis, indices=parent, axis=1)
        state, ended = select_beams(state, parent), pick(ended) | (token == EOD)
        total = jnp.take_along_axis(total, best, axis=1)
        return (state, token, total, pick(length), ended), (parent, token)

    def over(carry):
        _, _, total, length, ended = carry
        return is_decided(total, length, ended, max_tokens, length_penalty)

    # At first all beams are the same, so only one of them counts.
    total = jnp.broadcast_to(jnp.where(jnp.arange(beam) == 0, 0.0, -jnp.inf), (docs, beam))
    empty = jnp.zeros((docs, beam), jnp.int32)
    carry = state, jnp.full((docs, beam), PAD, jnp.int32), total, empty, empty.astype(bool)
    _, (parents, tokens) = scan_until(advance, over, carry, max_tokens)
    return backtrack(parents, tokens)


def beam_search(
    model: nn.Module, params: PyTree, code: Code, beam: int, max_tokens: int, length_penalty: float = 0.0
) -> Int[Array, "doc token"]:
    """Decodes codes, keeping the `beam_search` best beginnings of each document.

    Beginnings are ranked by log probability / length ** length_penalty. One that has ended stays in the beam as it is.

    Args:
        model: an autoencoder of `hae_jax.models`.
        params: its parameters.
        code: what `encode` returned.
        beam: number of beginnings kept; 1 is greedy.
        max_tokens: tokens a document, end marks included, at which to stop without EOD.
        length_penalty: 0 looks for the most probable text, which favours short ones; 1 for the most probable tokens.

    Returns:
        Token ids of the best text, as from `greedy`.

    Raises:
        ValueError: if `beam_search` or `max_tokens` is not positive, or `length_penalty` negative.
    """
    check(max_tokens)
    if beam < 1:
        raise ValueError(f"beam must be at least 1, got {beam}. Use 1 for greedy decoding.")
    if not length_penalty >= 0:
        raise ValueError(f"length_penalty must be at least 0, got {length_penalty}. Use 1 for longer texts.")
    return _beam(model, params, code, beam, max_tokens, jnp.float32(length_penalty))
