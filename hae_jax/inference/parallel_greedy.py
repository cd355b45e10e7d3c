"""Greedy decoding of a document's sentences side by side.

Where no sentence's vector waits for the words before it, only a sentence's own words have to be said one after the
other: as many steps as the longest sentence has words, not as the document has, and products of matrices with as many
rows more. A model that does not end its sentences yet would make that a loss; so there is a budget of steps.
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
"""Of a document, that are said at the same time; those behind its end are said in vain."""


class GreedyState(NamedTuple):
    """How far decoding has come.

    Attributes:
        states: the sentence decoder's.
        text: what has been said.
        length: tokens of it.
        ended: documents that are whole.
        left: steps of the budget.
        settled: whether all sentences that count have come to their ends.
    """

    states: States
    text: Int[Array, "doc token"]
    length: Int[Array, " doc"]
    ended: Bool[Array, " doc"]
    left: Int[Array, ""]
    settled: Bool[Array, ""]


def parallel_greedy(
    model: nn.Module, params: PyTree, code: Code, max_tokens: int
) -> tuple[Int[Array, "doc token"], Bool[Array, ""]]:
    """Decodes codes as one token after the other would, but for ties within rounding.

    Args:
        model: an autoencoder that is `side_by_side`.
        params: its parameters.
        code: what `encode` returned.
        max_tokens: tokens a document, end marks included, at which to stop without EOD.

    Returns:
        Token ids as from `greedy`, and whether half as many steps as tokens were enough; if not, the ids are worthless.
    """
    go_on, docs, budget = bind(model, params, "go_on"), len(code.document), max(max_tokens // 2, 1)

    def more(at: GreedyState):
        return ~at.ended.all() & at.settled & (at.left > 0)

    def advance(at: GreedyState):
        states, vectors = go_on(at.states, code, SENTENCES)
        tokens, steps, settled = _tell(model, params, vectors, at.ended, at.left, budget)
        ends = (tokens == EOD).any(-1)
        said = (tokens != PAD) & ~(_behind(ends) | at.ended[:, None])[..., None]
        tokens, said = (x.reshape(docs, -1) for x in (tokens, said))
        # What has no room is written nowhere.
        place = jnp.where(said, at.length[:, None] + jnp.cumsum(said, axis=1) - 1, max_tokens)
        text = at.text.at[jnp.arange(docs)[:, None], place].set(tokens, mode="drop")
        length = at.length + said.sum(1, dtype=jnp.int32)
        ended = at.ended | ends.any(1) | (length >= max_tokens)
        return GreedyState(states, text, length, ended, at.left - steps, settled)

    text, length = jnp.full((docs, max_tokens), PAD, jnp.int32), jnp.zeros(docs, jnp.int32)
    begun = GreedyState(
        bind(model, params, "open")(code), text, length, jnp.zeros(docs, bool), jnp.int32(budget), jnp.array(True)
    )
    at = jax.lax.while_loop(more, advance, begun)
    return at.text, at.settled & at.ended.all()


def _tell(
    model: nn.Module,
    params: PyTree,
    vectors: Float[Array, "doc sent vec"],
    ended: Bool[Array, " doc"],
    left: Int[Array, ""],
    steps: int,
) -> tuple[Int[Array, "doc sent token"], Int[Array, ""], Bool[Array, ""]]:
    """Says sentences until each that counts has come to its end, or no steps are left.

    Returns:
        Tokens, PAD after an end; how many steps that took; and whether all sentences that count have ended.
    """
    docs, sentences, _ = vectors.shape
    rows, say = vectors.reshape(docs * sentences, -1), bind(model, params, "say")

    def advance(carry, position):
        states, token, end, _ = carry
        states, logits = say(states, token, rows)
        token = jnp.where(end == PAD, mask_pad(logits).argmax(-1).astype(jnp.int32), PAD)
        return (
            states,
            token,
            jnp.where((token == EOS) | (token == EOD), token, end),
            (position + 1).astype(jnp.int32),
        ), token

    def settled(carry):
        end = carry[2].reshape(docs, sentences)
        return ((end != PAD) | _behind(end == EOD) | ended[:, None]).all()

    silence = jnp.full(len(rows), PAD, jnp.int32)
    begun = bind(model, params, "begin")(rows), silence, silence, jnp.int32(0)
    carry, tokens = scan_until(advance, lambda carry: settled(carry) | (carry[3] >= left), begun, steps)
    return tokens.T.reshape(docs, sentences, steps), carry[3], settled(carry)


def _behind(ends: Bool[Array, "doc sent"]) -> Bool[Array, "doc sent"]:
    """Says which sentences stand behind one that ends its document."""
    return jnp.cumsum(ends, axis=1) - ends > 0
