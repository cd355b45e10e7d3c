"""Teacher-forced scores of every token, decoded from the code of its own document and from a mismatched one."""

import math
from collections.abc import Iterable, Sequence
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


class EncodedBatch(NamedTuple):
    """A batch and the codes of its documents.

    Attributes:
        batch: the batch.
        documents: number of its real documents; these come first.
        code: their codes, and those of the empty documents.
    """

    batch: Batch
    documents: int
    code: Code


class TokenScores(NamedTuple):
    """Teacher-forced scores of all real tokens of an evaluation, end marks included, on the host.

    Attributes:
        nll: negative log-likelihood, in nats.
        mismatched_nll: the same, decoded from the code of the preceding document.
        correct: whether the token was the most probable one.
        doc: index of the token's document.
        sent: index of the token's sentence in its document.
    """

    nll: Float[np.ndarray, " token"]
    mismatched_nll: Float[np.ndarray, " token"]
    correct: Bool[np.ndarray, " token"]
    doc: Int[np.ndarray, " token"]
    sent: Int[np.ndarray, " token"]


class TeacherForcedScores(NamedTuple):
    """Teacher-forced scores of documents; see `Evaluation` for their definitions."""

    loss: float
    perplexity: float
    token_accuracy: float
    code_gap: float
    documents: int
    tokens: int


@partial(jax.jit, static_argnums=0)
def encode(model: nn.Module, params: PyTree, batch: Batch) -> Code:
    """Encodes the documents of a batch."""
    return bind(model, params, "encode")(batch)


@partial(jax.jit, static_argnums=0)
def score(model: nn.Module, params: PyTree, code: Code, batch: Batch) -> Scores:
    """Scores the tokens of a batch, teacher-forced, as decoded from `code`."""
    return bind(model, params, "score")(code, batch)


def encode_batches(model: nn.Module, params: PyTree, batches: Iterable[tuple[Batch, int]]) -> list[EncodedBatch]:
    """Encodes batches, each given with the number of its real documents; batches without any are skipped.

    Raises:
        ValueError: if there is no document.
    """
    encoded = [EncodedBatch(batch, count, encode(model, params, batch)) for batch, count in batches if count]
    if not encoded:
        raise ValueError("batches must hold at least one document, got none. Add text to evaluate on.")
    return encoded


def mismatched_codes(before: Code, last: int, code: Code) -> Code:
    """Shifts codes by one document; the first document gets the code of document `last` of `before`."""
    return jax.tree.map(lambda a, b: jnp.concatenate([a[last : last + 1], b[:-1]]), before, code)


def score_tokens(model: nn.Module, params: PyTree, encoded: Sequence[EncodedBatch]) -> TokenScores:
    """Scores all real tokens twice: decoded from their own document's code, and from that of the preceding document.

    The codes are shifted cyclically over all batches, the last one to the first document, so that the result does not
    depend on how the documents are divided into batches.
    """
    parts, offset = [], 0
    for index, (batch, documents, code) in enumerate(encoded):
        before = encoded[index - 1]
        scores = jax.device_get(score(model, params, code, batch))
        mismatched = mismatched_codes(before.code, before.documents - 1, code)
        mismatched_scores = jax.device_get(score(model, params, mismatched, batch))
        real = scores.mask & (scores.doc < documents)
        nll, mismatched_nll = (each.nll[real].astype(np.float64) for each in (scores, mismatched_scores))
        correct, doc, sent = scores.correct[real].astype(bool), scores.doc[real] + offset, scores.sent[real]
        parts.append(TokenScores(nll, mismatched_nll, correct, doc, sent))
        offset += documents
    return TokenScores(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def teacher_forced_scores(tokens: TokenScores) -> TeacherForcedScores:
    """Averages the scores of at least one token."""
    count = len(tokens.nll)
    loss = float(tokens.nll.sum() / count)
    return TeacherForcedScores(
        loss=loss,
        perplexity=math.exp(min(loss, 700.0)),  # the exponential of more overflows
        token_accuracy=float(tokens.correct.sum() / count),
        code_gap=float((tokens.mismatched_nll.sum() - tokens.nll.sum()) / count),
        documents=len(np.unique(tokens.doc)),
        tokens=count,
    )
