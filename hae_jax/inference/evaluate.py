"""Scores of an autoencoder on whole documents: teacher-forced, with mismatched codes, and free-running."""

import dataclasses
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import flax.linen as nn
import jax
import numpy as np
from jaxtyping import Bool, PyTree

from hae_jax.batch import SPECIALS, UNK, Batch
from hae_jax.data.tokenizer import Tokenizer
from hae_jax.inference import metrics
from hae_jax.inference.generate import greedy, sentences, split
from hae_jax.inference.teacher_forcing import (
    EncodedBatch,
    TokenScores,
    encode_batches,
    score_tokens,
    teacher_forced_scores,
)

EXAMPLES = 3
"""Number of documents that an evaluation shows together with their reconstructions."""
UNMATCHABLE = "\ue000"
"""Replaces an unknown word of a source: a private-use character, which no text contains."""
SHORTEST = 8
"""Tokens of the longest documents in the first length group; each further group ends at twice the length."""


class TextPair(NamedTuple):
    """A document and its reconstruction, as text.

    Attributes:
        source: the text of the document: its rows, joined before they are decoded, since a word may continue in the
            next row.
        output: the text of its reconstruction, likewise.
        source_rows: the text of each row by itself.
        output_rows: the text of each row of the reconstruction by itself.
    """

    source: str
    output: str
    source_rows: list[str]
    output_rows: list[str]


class FreeRunningScores(NamedTuple):
    """Scores of free-running reconstructions; see `Evaluation` for their definitions."""

    bleu: float
    bleu_limit: float
    rouge1: float
    rouge2: float
    rougeL: float
    exact_match: float
    exact_limit: float
    coherence: float


@dataclass(frozen=True)
class GroupScores:
    """Scores of a group of the tokens and texts of an evaluation.

    Attributes:
        documents: number of documents that have such tokens.
        tokens: number of tokens, end marks included.
        loss: mean negative log-likelihood in nats per token, teacher-forced.
        token_accuracy: share of tokens that were the most probable one, teacher-forced.
        bleu: corpus BLEU-4 of the free-running reconstructions.
        exact_match: share of texts reconstructed exactly.
    """

    documents: int
    tokens: int
    loss: float
    token_accuracy: float
    bleu: float
    exact_match: float


@dataclass(frozen=True)
class Evaluation:
    """How well documents are reconstructed from their codes.

    Attributes:
        loss: mean negative log-likelihood in nats per token, end marks included, teacher-forced.
        perplexity: exp(loss).
        token_accuracy: share of tokens that were the most probable one, teacher-forced.
        code_gap: increase of the loss, in nats per token, under mismatched codes: each document is decoded from the
            code of the preceding one. Near 0 the decoder ignores the code and acts as a language model. It
            overestimates the information in the code, since a wrong code misleads. 0 for a single document.
        bleu: corpus BLEU-4 in [0, 100] of greedy, free-running reconstructions. Here and in the following scores an
            unknown word of the source matches nothing, but counts as a word.
        bleu_limit: BLEU-4 of a perfect reconstruction, in which unknown words remain unknown.
        rouge1: F1 of unigrams.
        rouge2: F1 of bigrams.
        rougeL: F1 of the longest common subsequence.
        exact_match: share of documents reconstructed exactly.
        exact_limit: exact_match of a perfect reconstruction: share of documents without unknown words.
        coherence: disorder of the rows, 0 is best; see `metrics.coherence`. nan if none can be ordered.
        by_length: scores of documents grouped by their number of tokens, as in "17-32".
        by_position: scores of rows grouped by their position, "1" being the first of each document; missing rows
            count as empty. A row is a sentence, or a part of a long one.
        documents: number of documents.
        tokens: number of tokens, end marks included.
        examples: the first few documents as (source, reconstruction).
    """

    loss: float
    perplexity: float
    token_accuracy: float
    code_gap: float
    bleu: float
    bleu_limit: float
    rouge1: float
    rouge2: float
    rougeL: float
    exact_match: float
    exact_limit: float
    coherence: float
    by_length: dict[str, GroupScores]
    by_position: dict[str, GroupScores]
    documents: int
    tokens: int
    examples: tuple[tuple[str, str], ...]

    def to_dict(self) -> dict:
        """Returns all but the examples as JSON values; a number that is not finite becomes None."""
        raw = dataclasses.asdict(self)
        del raw["examples"]
        return jax.tree.map(lambda x: None if isinstance(x, float) and not math.isfinite(x) else x, raw)


def evaluate(
    model: nn.Module, params: PyTree, batches: Iterable[tuple[Batch, int]], tokenizer: Tokenizer
) -> Evaluation:
    """Evaluates an autoencoder on documents, teacher-forced and free-running.

    All scores are ratios of sums over all documents, independent of batch size and empty documents. Reconstructions
    are compared with the sources as encoded: in the spelling of the tokenizer, and with unknown words replaced.

    Args:
        model: an autoencoder of `hae_jax.models`.
        params: its parameters.
        batches: batches of one shape, each with the number of its real documents; these come first.
        tokenizer: decodes ids to the text that BLEU, ROUGE, exact match and coherence compare.

    Returns:
        The scores.

    Raises:
        ValueError: if there is no document.
    """
    encoded = encode_batches(model, params, batches)
    tokens = score_tokens(model, params, encoded)
    pairs = [pair for each in encoded for pair in reconstruct_batch(model, params, each, tokenizer)]
    masked = list(map(mask_unknown, pairs))
    return Evaluation(
        **teacher_forced_scores(tokens)._asdict(),
        **free_running_scores(pairs)._asdict(),
        by_length=by_length(tokens, masked),
        by_position=by_position(tokens, masked),
        examples=tuple((pair.source, pair.output) for pair in pairs[:EXAMPLES]),
    )


def reconstruct_batch(model: nn.Module, params: PyTree, encoded: EncodedBatch, tokenizer: Tokenizer) -> list[TextPair]:
    """Reconstructs the real documents of a batch from their codes, greedily and free-running."""
    batch, documents, code = encoded
    rows = [row for bucket in batch.buckets for row in np.asarray(bucket).tolist()]
    row_index = np.asarray(batch.row_index)[:documents].tolist()
    sources = [sentences(token for row in document if row >= 0 for token in rows[row]) for document in row_index]
    limit = batch.row_index.shape[1] * max(bucket.shape[1] for bucket in batch.buckets)
    outputs = split(greedy(model, params, code, limit))[:documents]
    joined = ([tokenizer.decode(chain.from_iterable(document)) for document in side] for side in (sources, outputs))
    rows_alone = ([[tokenizer.decode(ids) for ids in document] for document in side] for side in (sources, outputs))
    return [TextPair(*pair) for pair in zip(*joined, *rows_alone, strict=True)]


def free_running_scores(pairs: Sequence[TextPair]) -> FreeRunningScores:
    """Compares at least one reconstruction with its source."""
    masked = list(map(mask_unknown, pairs))
    sources, outputs = [pair.source for pair in masked], [pair.output for pair in masked]
    # A perfect reconstruction repeats the source, unknown words included.
    perfect = [pair.source for pair in pairs]
    return FreeRunningScores(
        bleu=metrics.bleu(sources, outputs),
        bleu_limit=metrics.bleu(sources, perfect),
        **metrics.rouge(sources, outputs),
        exact_match=metrics.exact_match(sources, outputs),
        exact_limit=metrics.exact_match(sources, perfect),
        coherence=metrics.coherence([pair.source_rows for pair in masked], [pair.output_rows for pair in masked]),
    )


def mask_unknown(pair: TextPair) -> TextPair:
    """Replaces the unknown words of a source, so that a predicted `<unk>` is not counted as a match."""
    unknown = f"(?<!\\S){re.escape(SPECIALS[UNK])}(?!\\S)"
    source, *rows = (re.sub(unknown, UNMATCHABLE, text) for text in (pair.source, *pair.source_rows))
    return pair._replace(source=source, source_rows=rows)


def by_length(tokens: TokenScores, masked: Sequence[TextPair]) -> dict[str, GroupScores]:
    """Scores documents grouped by length; the upper bounds of the groups double."""
    texts = [(pair.source, pair.output) for pair in masked]
    length = np.bincount(tokens.doc)
    upper = 2 ** np.ceil(np.log2(np.maximum(length, SHORTEST))).astype(int)
    groups = {}
    for end in np.unique(upper).tolist():
        start = end // 2 + 1 if end > SHORTEST else 1
        inside = [pair for pair, bound in zip(texts, upper, strict=False) if bound == end]
        groups[f"{start}-{end}"] = group_scores(tokens, upper[tokens.doc] == end, inside)
    return groups


def by_position(tokens: TokenScores, masked: Sequence[TextPair]) -> dict[str, GroupScores]:
    """Scores rows grouped by their position in the document."""
    groups = {}
    for position in np.unique(tokens.sent).tolist():
        texts = [
            (pair.source_rows[position], pair.output_rows[position] if position < len(pair.output_rows) else "")
            for pair in masked
            if position < len(pair.source_rows)
        ]
        groups[str(position + 1)] = group_scores(tokens, tokens.sent == position, texts)
    return groups


def group_scores(
    tokens: TokenScores, chosen: Bool[np.ndarray, " token"], texts: Sequence[tuple[str, str]]
) -> GroupScores:
    """Scores the chosen tokens, and the texts that contain them, as (source, reconstruction)."""
    count = int(chosen.sum())
    sources, outputs = zip(*texts, strict=True)
    return GroupScores(
        documents=len(np.unique(tokens.doc[chosen])),
        tokens=count,
        loss=float(tokens.nll[chosen].sum() / count),
        token_accuracy=float(tokens.correct[chosen].sum() / count),
        bleu=metrics.bleu(sources, outputs),
        exact_match=metrics.exact_match(sources, outputs),
    )
