"""Greedy decoding by whole sentences: several of a document in parallel, or one after the other.

Where no sentence vector depends on the words of earlier sentences, only the tokens within a sentence have to be decoded
sequentially. Decoding then takes as many steps as the longest sentence has tokens, instead of the whole document, with
larger matrix products. For a model that does not end its sentences this would be slower, so the steps are limited.

Where a sentence vector depends on the words of the last sentence, one sentence of every document is decoded, and then
encoded. Since all documents wait for the longest sentence, each sentence is encoded once for all of them, instead of
whenever one of them ends a sentence.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from hae_jax.batch import EOD, EOS, PAD
from hae_jax.inference.decode_loop import bind, mask_pad, scan_until
from hae_jax.models.autoregressive import SentenceState
from hae_jax.models.outputs import Code


class GreedyState(NamedTuple):
    """Loop state of decoding by sentences.

    Attributes:
        sentence: state of the sentence decoder.
        tokens: tokens decoded so far, PAD after them.
        length: number of tokens decoded so far.
        ended: documents that have ended.
        budget: remaining steps; does not decrease where sentences are decoded one after the other.
        complete: whether all sentences up to the end of their document have ended.
    """

    sentence: SentenceState
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
        model: an autoencoder whose `parallel_sentences` is not 0.
        params: its parameters.
        code: the codes, as returned by the model's `encode`.
        max_tokens: maximum length of a document in tokens, end marks included; at this length it stops without EOD.

    Returns:
        Token ids as from `greedy`, and whether they are valid: always where sentences are decoded one after the other,
        and in parallel if `max_tokens // 2` steps sufficed.
    """
    next_vectors, feed_back = bind(model, params, "next_sentence_vectors"), bind(model, params, "feed_back")
    docs, sentences = len(code.document), model.parallel_sentences
    steps = max(max_tokens // 2, 1) if sentences > 1 else max_tokens

    def unfinished(loop: GreedyState):
        return ~loop.ended.all() & loop.complete & (loop.budget > 0)

    def advance(loop: GreedyState):
        sentence, vectors = next_vectors(loop.sentence, code, sentences)
        room = jnp.where(loop.ended, 0, max_tokens - loop.length)
        tokens, used, complete = _decode_sentences(model, params, vectors, room, loop.budget, steps)
        ends = (tokens == EOD).any(-1)
        kept = (tokens != PAD) & ~(_after_end(ends) | loop.ended[:, None])[..., None]
        sentence = feed_back(sentence, jnp.where(kept, tokens, PAD)[:, -1])
        tokens, kept = (x.reshape(docs, -1) for x in (tokens, kept))
        # Tokens beyond max_tokens have an index out of range and are dropped.
        index = jnp.where(kept, loop.length[:, None] + jnp.cumsum(kept, axis=1) - 1, max_tokens)
        decoded = loop.tokens.at[jnp.arange(docs)[:, None], index].set(tokens, mode="drop")
        length = loop.length + kept.sum(1, dtype=jnp.int32)
        ended = loop.ended | ends.any(1) | (length >= max_tokens)
        budget = loop.budget - used if sentences > 1 else loop.budget
        return GreedyState(sentence, decoded, length, ended, budget, complete)

    tokens, length = jnp.full((docs, max_tokens), PAD, jnp.int32), jnp.zeros(docs, jnp.int32)
    sentence = bind(model, params, "init_sentence_state")(code)
    initial = GreedyState(sentence, tokens, length, jnp.zeros(docs, bool), jnp.int32(steps), jnp.array(True))
    final = jax.lax.while_loop(unfinished, advance, initial)
    return final.tokens, final.complete & final.ended.all()


def sentence_vectors(
    model: nn.Module, params: PyTree, code: Code, sentences: int, max_tokens: int
) -> Float[Array, "doc sent vec"]:
    """Returns the vectors that the decoder computes from codes alone, one for each sentence.

    Args:
        model: an autoencoder whose `parallel_sentences` is not 0.
        params: its parameters.
        code: the codes, as returned by the model's `encode`.
        sentences: number of sentences; the vectors of those after the end of a document are meaningless.
        max_tokens: maximum length of a sentence in tokens, where the next one depends on it.
    """
    next_vectors, feed_back = bind(model, params, "next_sentence_vectors"), bind(model, params, "feed_back")
    state = bind(model, params, "init_sentence_state")(code)
    if model.parallel_sentences > 1:
        return next_vectors(state, code, sentences)[1]
    room = jnp.full(len(code.document), max_tokens)

    def advance(state, _):
        state, vectors = next_vectors(state, code, 1)
        tokens, *_ = _decode_sentences(model, params, vectors, room, jnp.int32(max_tokens), max_tokens)
        return feed_back(state, tokens[:, 0]), vectors[:, 0]

    return jnp.swapaxes(jax.lax.scan(advance, state, None, length=sentences)[1], 0, 1)


def _decode_sentences(
    model: nn.Module,
    params: PyTree,
    vectors: Float[Array, "doc sent vec"],
    room: Int[Array, " doc"],
    budget: Int[Array, ""],
    steps: int,
) -> tuple[Int[Array, "doc sent token"], Int[Array, ""], Bool[Array, ""]]:
    """Decodes sentences until all up to the end of their document have ended, or the budget is used up.

    A document also ends where one of its sentences has as many tokens as the document has room for.

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
        return ((end != PAD) | _after_end(end == EOD) | (carry[3] >= room)[:, None]).all()

    padding = jnp.full(len(rows), PAD, jnp.int32)
    initial = bind(model, params, "init_word_state")(rows), padding, padding, jnp.int32(0)
    carry, tokens = scan_until(advance, lambda carry: complete(carry) | (carry[3] >= budget), initial, steps)
    return tokens.T.reshape(docs, sentences, steps), carry[3], complete(carry)


def _after_end(ends: Bool[Array, "doc sent"]) -> Bool[Array, "doc sent"]:
    """Returns which sentences follow one that ends its document."""
    return jnp.cumsum(ends, axis=1) - ends > 0
