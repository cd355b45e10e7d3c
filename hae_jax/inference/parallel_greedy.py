"""Greedy decoding of several sentences of a document in parallel.

Where no sentence vector depends on the words of earlier sentences, only the tokens within a sentence have to be decoded
sequentially. Decoding then takes as many steps as the longest sentence has tokens, instead of the whole document, with
larger matrix products. For a model that does not end its sentences this would be slower, so the steps are limited.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from hae_jax.batch import EOD, EOS, PAD
from hae_jax.inference.decode_loop import bind, mask_pad, scan_until
from hae_jax.layers.stack import States
from hae_jax.models.outputs import Code

SENTENCES = 4
"""Sentences of a document that are decoded in parallel; those after the end of the document are discarded."""


class GreedyState(NamedTuple):
    """Loop state of parallel decoding.

    Attributes:
        states: states of the sentence decoder.
        tokens: tokens decoded so far, PAD after them.
        length: number of tokens decoded so far.
        ended: documents that have ended.
        budget: remaining steps.
        complete: whether all sentences up to the end of their document have ended.
    """

    states: States
    tokens: Int[Array, "doc token"]
    length: Int[Array, " doc"]
    ended: Bool[Array, " doc"]
    budget: Int[Array, ""]
    complete: Bool[Array, ""]


def parallel_greedy(
    model: nn.Module, params: PyTree, code: Code, max_tokens: int
) -> tuple[Int[Array, "doc token"], Bool[Array, ""]]:
    """Decodes codes; equal to sequential greedy decoding except for ties within rounding.

    Args:
        model: an autoencoder with `parallel_sentences`.
        params: its parameters.
        code: the codes, as returned by the model's `encode`.
        max_tokens: maximum length of a document in tokens, end marks included; at this length it stops without EOD.

    Returns:
        Token ids as from `greedy`, and whether `max_tokens // 2` steps sufficed; if not, the ids are invalid.
    """
    next_vectors = bind(model, params, "next_sentence_vectors")
    docs, steps = len(code.document), max(max_tokens // 2, 1)

    def unfinished(loop: GreedyState):
        return ~loop.ended.all() & loop.complete & (loop.budget > 0)

    def advance(loop: GreedyState):
        states, vectors = next_vectors(loop.states, code, SENTENCES)
        tokens, used, complete = _decode_sentences(model, params, vectors, loop.ended, loop.budget, steps)
        ends = (tokens == EOD).any(-1)
        kept = (tokens != PAD) & ~(_after_end(ends) | loop.ended[:, None])[..., None]
        tokens, kept = (x.reshape(docs, -1) for x in (tokens, kept))
        # Tokens beyond max_tokens have an index out of range and are dropped.
        index = jnp.where(kept, loop.length[:, None] + jnp.cumsum(kept, axis=1) - 1, max_tokens)
        decoded = loop.tokens.at[jnp.arange(docs)[:, None], index].set(tokens, mode="drop")
        length = loop.length + kept.sum(1, dtype=jnp.int32)
        ended = loop.ended | ends.any(1) | (length >= max_tokens)
        return GreedyState(states, decoded, length, ended, loop.budget - used, complete)

    tokens, length = jnp.full((docs, max_tokens), PAD, jnp.int32), jnp.zeros(docs, jnp.int32)
    states = bind(model, params, "init_sentence_state")(code)
    initial = GreedyState(states, tokens, length, jnp.zeros(docs, bool), jnp.int32(steps), jnp.array(True))
    final = jax.lax.while_loop(unfinished, advance, initial)
    return final.tokens, final.complete & final.ended.all()


def _decode_sentences(
    model: nn.Module,
    params: PyTree,
    vectors: Float[Array, "doc sent vec"],
    ended: Bool[Array, " doc"],
    budget: Int[Array, ""],
    steps: int,
) -> tuple[Int[Array, "doc sent token"], Int[Array, ""], Bool[Array, ""]]:
    """Decodes sentences until all up to the end of their document have ended, or the budget is used up.

    Returns:
        Tokens, PAD after an end mark; the number of steps used; and whether all these sentences have ended.
    """
    docs, sentences, _ = vectors.shape
    rows, decode_token = vectors.reshape(docs * sentences, -1), bind(model, params, "decode_token")

    def advance(carry, position):
        states, token, end, _ = carry
        states, logits = decode_token(states, token, rows)
        token = jnp.where(end == PAD, mask_pad(logits).argmax(-1).astype(jnp.int32), PAD)
        return (
            states,
            token,
            jnp.where((token == EOS) | (token == EOD), token, end),
            (position + 1).astype(jnp.int32),
        ), token

    def complete(carry):
        end = carry[2].reshape(docs, sentences)
        return ((end != PAD) | _after_end(end == EOD) | ended[:, None]).all()

    padding = jnp.full(len(rows), PAD, jnp.int32)
    initial = bind(model, params, "init_word_state")(rows), padding, padding, jnp.int32(0)
    carry, tokens = scan_until(advance, lambda carry: complete(carry) | (carry[3] >= budget), initial, steps)
    return tokens.T.reshape(docs, sentences, steps), carry[3], complete(carry)


def _after_end(ends: Bool[Array, "doc sent"]) -> Bool[Array, "doc sent"]:
    """Returns which sentences follow one that ends its document."""
    return jnp.cumsum(ends, axis=1) - ends > 0
