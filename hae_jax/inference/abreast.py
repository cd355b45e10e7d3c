"""Greedy decoding of a document's sentences side by side.

Where no sentence's vector waits for the words before it, only a sentence's own words have to be said one after the
other: as many steps as the longest sentence has words, not as the document has, and products of matrices with as many
rows more.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from hae_jax.batch import EOD, EOS, PAD
from hae_jax.inference.blocks import ask, blocks, speakable
from hae_jax.models.interface import Code

SENTENCES = 4
"""Of a document, that are said at the same time; those behind its end are said in vain."""


def abreast(model: nn.Module, params: PyTree, code: Code, max_tokens: int) -> Int[Array, "doc token"]:
    """Decodes codes as `greedy` does, for models that are `side_by_side`."""
    go_on, docs = ask(model, params, "go_on"), len(code.document)

    def more(carry):
        return ~carry[-1].all()

    def advance(carry):
        states, text, length, ended = carry
        states, vectors = go_on(states, code, SENTENCES)
        tokens = _tell(model, params, vectors, ended, max_tokens)
        ends = (tokens == EOD).any(-1)
        said = (tokens != PAD) & ~(_behind(ends) | ended[:, None])[..., None]
        tokens, said = (x.reshape(docs, -1) for x in (tokens, said))
        # What has no room is written nowhere.
        at = jnp.where(said, length[:, None] + jnp.cumsum(said, axis=1) - 1, max_tokens)
        text = text.at[jnp.arange(docs)[:, None], at].set(tokens, mode="drop")
        length = length + said.sum(1)
        return states, text, length, ended | ends.any(1) | (length >= max_tokens)

    text, length = jnp.full((docs, max_tokens), PAD, jnp.int32), jnp.zeros(docs, jnp.int32)
    carry = ask(model, params, "open")(code), text, length, jnp.zeros(docs, bool)
    return jax.lax.while_loop(more, advance, carry)[1]


def _tell(
    model: nn.Module, params: PyTree, vectors: Float[Array, "doc sent vec"], ended: Bool[Array, " doc"], steps: int
) -> Int[Array, "doc sent token"]:
    """Says sentences until each that counts has come to its end; PAD after it."""
    docs, sentences, _ = vectors.shape
    rows, say = vectors.reshape(docs * sentences, -1), ask(model, params, "say")

    def advance(carry, _):
        states, token, end = carry
        states, logits = say(states, token, rows)
        token = jnp.where(end == PAD, speakable(logits).argmax(-1).astype(jnp.int32), PAD)
        return (states, token, jnp.where((token == EOS) | (token == EOD), token, end)), token

    def settled(carry):
        end = carry[-1].reshape(docs, sentences)
        return ((end != PAD) | _behind(end == EOD) | ended[:, None]).all()

    silence = jnp.full(len(rows), PAD, jnp.int32)
    _, tokens = blocks(advance, settled, (ask(model, params, "begin")(rows), silence, silence), steps)
    return tokens.T.reshape(docs, sentences, steps)


def _behind(ends: Bool[Array, "doc sent"]) -> Bool[Array, "doc sent"]:
    """Says which sentences stand behind one that ends its document."""
    return jnp.cumsum(ends, axis=1) - ends > 0
