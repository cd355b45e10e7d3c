"""Teacher-forced scores of every token, decoded from its own document's code and from a foreign one."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, PyTree

from hae_jax.batch import Batch
from hae_jax.inference.decode_loop import bind
from hae_jax.models.outputs import Code, Scores


class Tokens(NamedTuple):
    """Teacher-forced scores of all real tokens of an evaluation, on the host."""

    nll: Float[np.ndarray, " token"]
    foreign: Float[np.ndarray, " token"]
    hit: Bool[np.ndarray, " token"]
    doc: Int[np.ndarray, " token"]
    sent: Int[np.ndarray, " token"]


@partial(jax.jit, static_argnums=0)
def encode(model: nn.Module, params: PyTree, batch: Batch) -> Code:
    """Encodes the documents of a batch."""
    return bind(model, params, "encode")(batch)


@partial(jax.jit, static_argnums=0)
def score(model: nn.Module, params: PyTree, code: Code, batch: Batch) -> Scores:
    """Scores the tokens of a batch, teacher-forced, as decoded from `code`."""
    return bind(model, params, "score")(code, batch)


def mismatched_codes(before: Code, last: int, code: Code) -> Code:
    """Gives each document the code of the one before it; the first gets the code of document `last` of `before`."""
    return jax.tree.map(lambda a, b: jnp.concatenate([a[last : last + 1], b[:-1]]), before, code)


def tokens_of(model: nn.Module, params: PyTree, batches: Sequence[tuple[Batch, int]], codes: Sequence[Code]) -> Tokens:
    """Scores all real tokens twice, decoded from their own document's code and from that of the document before it.

    The codes go round over all batches, the last one's to the first document, so that it does not matter how the
    documents fall into batches.
    """
    parts, seen = [], 0
    for at, (batch, documents) in enumerate(batches):
        own = jax.device_get(score(model, params, codes[at], batch))
        other = jax.device_get(
            score(model, params, mismatched_codes(codes[at - 1], batches[at - 1][1] - 1, codes[at]), batch)
        )
        real = own.mask & (own.doc < documents)
        nll, wrong = own.nll[real].astype(np.float64), other.nll[real].astype(np.float64)
        parts.append(Tokens(nll, wrong, own.correct[real].astype(bool), own.doc[real] + seen, own.sent[real]))
        seen += documents
    return Tokens(*(np.concatenate(column) for column in zip(*parts, strict=True)))
