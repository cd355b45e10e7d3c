"""Scores of an autoencoder on whole documents: teacher-forced, with foreign codes, and running free."""

import dataclasses
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import flax.linen as nn
import jax
import numpy as np
from jaxtyping import Bool, PyTree

from hae_jax.batch import SPECIALS, UNK, Batch
from hae_jax.data.tokenizer import Tokenizer
from hae_jax.inference import metrics
from hae_jax.inference.generate import greedy, sentences, split
from hae_jax.inference.teacher_forcing import Tokens, encode, tokens_of
from hae_jax.models.outputs import Code

EXAMPLES = 3
"""Documents an evaluation shows beside their reconstructions."""
NOTHING = "\ue000"
"""Stands for an unknown word of a source; a sign for private use, which no text holds."""
SHORTEST = 8
"""Tokens of the longest documents in the first length bucket; each further bucket ends at twice the length."""


@dataclass(frozen=True)
class Part:
    """Scores of some of the tokens and texts of an evaluation.

    Attributes:
        documents: number of documents that have such tokens.
        tokens: number of tokens, end marks included.
        loss: nats a token, teacher-forced.
        token_accuracy: share of the tokens that were the most probable one, teacher-forced.
        bleu: of the texts reconstructed free-running; None without.
        exact_match: share of those texts without a difference; None without.
    """

    documents: int
    tokens: int
    loss: float
    token_accuracy: float
    bleu: float | None
    exact_match: float | None


@dataclass(frozen=True)
class Evaluation:
    """How well documents pass through their codes.

    Attributes:
        loss: nats a token, end marks included, teacher-forced.
        perplexity: exp(loss).
        token_accuracy: share of the tokens that were the most probable one, teacher-forced.
        code_gap: nats a token by which the loss grows when each document is decoded from the code of the document
            before it. Near 0 the decoder ignores the code and is a mere language model. Overstates what the code
            tells, as a wrong code misleads. 0 if there is one document only.
        bleu: corpus BLEU-4 in [0, 100] of greedy, free-running reconstructions; None without, as all that follow. In
            these an unknown word of the source matches nothing, though it counts as a word.
        bleu_limit: what would be perfect: BLEU-4 of every token said again, unknown words as unknown ones.
        rouge1: F1 of shared words.
        rouge2: F1 of shared word pairs.
        rougeL: F1 of the longest common subsequence.
        exact_match: share of the documents that came back without a difference.
        exact_limit: what would be perfect: share of the documents without unknown words.
        coherence: disorder of the sentences, 0 is best; see `metrics.coherence`. nan if none can be ordered.
        by_length: the same by the number of tokens a document has, as in "17-32".
        by_position: the same by sentence, "1" being the first of each document; missing sentences count as empty.
        documents: number of documents.
        tokens: number of tokens, end marks included.
        examples: the first few documents as (source, reconstruction).
    """

    loss: float
    perplexity: float
    token_accuracy: float
    code_gap: float
    bleu: float | None
    bleu_limit: float | None
    rouge1: float | None
    rouge2: float | None
    rougeL: float | None
    exact_match: float | None
    exact_limit: float | None
    coherence: float | None
    by_length: dict[str, Part]
    by_position: dict[str, Part]
    documents: int
    tokens: int
    examples: tuple[tuple[str, str], ...]

    def to_dict(self) -> dict:
        """Returns all but the examples, ready for JSON: a number that is not finite becomes None."""
        raw = dataclasses.asdict(self)
        del raw["examples"]
        return jax.tree.map(lambda x: None if isinstance(x, float) and not math.isfinite(x) else x, raw)


class Pair(NamedTuple):
    """The sentences of a document and those of its reconstruction, as text."""

    source: list[str]
    output: list[str]


def pairs_of(
    model: nn.Module, params: PyTree, batch: Batch, documents: int, code: Code, tokenizer: Tokenizer
) -> list[Pair]:
    """Reconstructs the first documents of a batch from their codes, greedily and running free."""
    rows = [row for table in batch.buckets for row in np.asarray(table).tolist()]
    slots = np.asarray(batch.row_index)[:documents].tolist()
    sources = [sentences(token for slot in document if slot >= 0 for token in rows[slot]) for document in slots]
    limit = batch.row_index.shape[1] * max(table.shape[1] for table in batch.buckets)
    outputs = split(greedy(model, params, code, limit))[:documents]
    texts = ([[tokenizer.decode(ids) for ids in document] for document in side] for side in (sources, outputs))
    return [Pair(*pair) for pair in zip(*texts, strict=True)]


def judged(pair: Pair) -> Pair:
    """Replaces the unknown words of a source by what no reconstruction holds: saying `<unk>` again is no merit."""
    unknown = f"(?<!\\S){re.escape(SPECIALS[UNK])}(?!\\S)"
    return Pair([re.sub(unknown, NOTHING, sentence) for sentence in pair.source], pair.output)


def join(text: Iterable[str]) -> str:
    """Joins the sentences of a document by spaces; empty ones leave no gap."""
    return " ".join(sentence for sentence in text if sentence)


def part_of(tokens: Tokens, chosen: Bool[np.ndarray, " token"], texts: Sequence[tuple[str, str]]) -> Part:
    """Scores the chosen tokens, and the texts, as (source, reconstruction), that they stand in."""
    count = int(chosen.sum())
    sources, outputs = zip(*texts, strict=True) if texts else ((), ())
    return Part(
        documents=len(np.unique(tokens.doc[chosen])),
        tokens=count,
        loss=float(tokens.nll[chosen].sum() / count),
        token_accuracy=float(tokens.hit[chosen].sum() / count),
        bleu=metrics.bleu(sources, outputs) if texts else None,
        exact_match=metrics.exact_match(sources, outputs) if texts else None,
    )


def by_length(tokens: Tokens, pairs: Sequence[Pair]) -> dict[str, Part]:
    """Scores documents of similar length together, in buckets that double."""
    length = np.bincount(tokens.doc)
    upper = 2 ** np.ceil(np.log2(np.maximum(length, SHORTEST))).astype(int)
    parts = {}
    for end in np.unique(upper).tolist():
        texts = [(join(pair.source), join(pair.output)) for pair, its in zip(pairs, upper, strict=False) if its == end]
        start = end // 2 + 1 if end > SHORTEST else 1
        parts[f"{start}-{end}"] = part_of(tokens, upper[tokens.doc] == end, texts)
    return parts


def by_position(tokens: Tokens, pairs: Sequence[Pair]) -> dict[str, Part]:
    """Scores the first sentences of all documents together, then the second ones, and so on."""
    parts = {}
    for at in np.unique(tokens.sent).tolist():
        texts = [
            (pair.source[at], pair.output[at] if at < len(pair.output) else "")
            for pair in pairs
            if at < len(pair.source)
        ]
        parts[str(at + 1)] = part_of(tokens, tokens.sent == at, texts)
    return parts


def evaluate(
    model: nn.Module,
    params: PyTree,
    batches: Iterable[tuple[Batch, int]],
    tokenizer: Tokenizer,
    free_run: bool = True,
) -> Evaluation:
    """Evaluates an autoencoder on documents.

    All numbers are ratios of sums over all documents, so batch size and padding documents cannot change them. Texts are
    compared with their sources as the model read them: cut to its size, and unknown words as one and the same word.

    Args:
        model: an autoencoder of `hae_jax.models`.
        params: its parameters.
        batches: batches of one shape, each with the number of its documents that are real; these come first.
        tokenizer: turns ids into the text that BLEU, ROUGE, exact match and coherence compare.
        free_run: whether to reconstruct the documents as well; it costs most of the time.

    Returns:
        The scores.

    Raises:
        ValueError: if there is no document.
    """
    batches = [(batch, documents) for batch, documents in batches if documents]
    if not batches:
        raise ValueError("batches must hold at least one document, got none. Give text to evaluate on.")
    codes = [encode(model, params, batch) for batch, _ in batches]
    tokens = tokens_of(model, params, batches, codes)
    pairs: list[Pair] = []
    if free_run:
        for (batch, documents), code in zip(batches, codes, strict=True):
            pairs += pairs_of(model, params, batch, documents, code, tokenizer)
    examples = tuple((join(pair.source), join(pair.output)) for pair in pairs[:EXAMPLES])
    read = [join(pair.source) for pair in pairs]
    pairs = list(map(judged, pairs))
    texts = [(join(pair.source), join(pair.output)) for pair in pairs]
    whole = part_of(tokens, np.ones(len(tokens.nll), bool), texts)
    sources, outputs = zip(*texts, strict=True) if texts else ((), ())
    rouge = metrics.rouge(sources, outputs) if texts else dict.fromkeys(metrics.ROUGE)
    coherence = metrics.coherence([pair.source for pair in pairs], [pair.output for pair in pairs]) if pairs else None
    return Evaluation(
        loss=whole.loss,
        perplexity=math.exp(min(whole.loss, 700.0)),  # beyond, a float has no room
        token_accuracy=whole.token_accuracy,
        code_gap=float((tokens.foreign.sum() - tokens.nll.sum()) / whole.tokens),
        bleu=whole.bleu,
        bleu_limit=metrics.bleu(sources, read) if texts else None,
        **rouge,
        exact_match=whole.exact_match,
        exact_limit=metrics.exact_match(sources, read) if texts else None,
        coherence=coherence,
        by_length=by_length(tokens, pairs),
        by_position=by_position(tokens, pairs),
        documents=whole.documents,
        tokens=whole.tokens,
        examples=examples,
    )
