"""Length bucketing: the widths of the buckets, the rows they need, and the sentences they hold."""

from typing import SupportsFloat

import numpy as np
from jaxtyping import Int, Integer

from hae_jax.batch import EOD, EOS, PAD, Batch
from hae_jax.config import DataConfig
from hae_jax.data.documents import Corpus

ROWS = 8
"""The rows of every bucket are a multiple of this, so that they can be sharded over as many devices."""


def optimal_widths(histogram: Int[np.ndarray, "length"], buckets: int) -> tuple[int, ...]:
    """Returns the widths of at most `buckets` buckets that hold all sentences in the fewest cells.

    With H(w) sentences of length w or less, the cheapest k buckets of which the widest has w columns cost

        cost_k(w) = min over v < w of  cost_{k-1}(v) + (H(w) - H(v)) w

    Args:
        histogram: number of sentences of length 0, 1, 2, ...; the greatest length is always a width.
        buckets: maximum number of buckets.

    Returns:
        The widths in ascending order.

    Example:
        >>> optimal_widths(np.array([0, 0, 0, 9, 0, 0, 0, 1]), 2)
        (3, 7)
    """
    below = np.cumsum(histogram)
    width = np.arange(len(histogram))
    step = np.where(width[:, None] < width, (below - below[:, None]) * width, np.inf)
    cost, chosen = np.where(width == 0, 0.0, np.inf), []
    for _ in range(buckets):
        # The diagonal leaves a bucket unused, so fewer buckets are preferred where more would save nothing.
        paths = cost[:, None] + np.where(np.eye(len(width), dtype=bool), 0, step)
        chosen.append(paths.argmin(axis=0))
        cost = paths.min(axis=0)
    widths = [len(histogram) - 1]
    for previous in reversed(chosen):
        widths.append(int(previous[widths[-1]]))
    return tuple(sorted(set(widths) - {0}))


def ceil(rows: SupportsFloat) -> int:
    """Rounds a number of rows up to a positive multiple of `ROWS`."""
    return max(int(np.ceil(float(rows) / ROWS)), 1) * ROWS


def sentence_lengths(corpus: Corpus, config: DataConfig) -> Int[np.ndarray, "length"]:
    """Counts the sentences of each length, end mark included; in chunks, as the corpus may exceed memory.

    Raises:
        ValueError: if a document exceeds the limits of `config`.
    """
    counts = np.zeros(config.max_tokens + 2, np.int64)
    for start in range(0, len(corpus.sentences) - 1, 1 << 20):
        lengths = np.diff(corpus.sentences[start : start + (1 << 20) + 1])
        if lengths.max() > config.max_tokens:
            raise ValueError(_TOO_LARGE.format("tokens a sentence", "max_tokens", config.max_tokens, lengths.max()))
        counts += np.bincount(lengths + 1, minlength=len(counts))
    most = np.diff(corpus.documents).max()
    if most > config.max_sentences:
        raise ValueError(_TOO_LARGE.format("sentences", "max_sentences", config.max_sentences, most))
    return counts


_TOO_LARGE = "documents must have at most {2} {0} (data.{1}), got {3}. Use `encode_text`, which divides them."


def rows_needed(
    corpus: Corpus, documents: Int[np.ndarray, "doc"], widths: tuple[int, ...]
) -> Int[np.ndarray, "doc bucket"]:
    """Counts, for each bucket, the sentences of each document that need its width or more."""
    doc, sentence, _ = sentences_of(corpus, documents)
    lengths = corpus.sentences[sentence + 1] - corpus.sentences[sentence] + 1
    counts = [np.bincount(doc[lengths > narrower], minlength=len(documents)) for narrower in (0, *widths[:-1])]
    return np.stack(counts, axis=1)


def pack(
    corpus: Corpus,
    documents: Int[np.ndarray, "doc"],
    widths: tuple[int, ...],
    rows: tuple[int, ...],
    size: int,
    sentences: int,
) -> Batch:
    """Packs documents into a batch; the shortest sentences go into the narrowest buckets.

    Args:
        corpus: the corpus.
        documents: indices of the documents.
        widths: columns of each bucket, ascending.
        rows: rows of each bucket; the widest is enlarged if the sentences overflow it.
        size: documents of the batch, empty ones included.
        sentences: maximum number of sentences per document.

    Returns:
        The batch, as NumPy arrays.
    """
    doc, sentence, sent = sentences_of(corpus, documents)
    starts = corpus.sentences[sentence]
    lengths = corpus.sentences[sentence + 1] - starts
    marks = np.where(sentence + 1 == corpus.documents[documents + 1][doc], EOD, EOS)

    order = np.argsort(lengths, kind="stable")
    fits = np.searchsorted(lengths[order] + 1, widths, side="right")
    edges = [0]
    for fit, capacity in zip(fits, rows, strict=True):
        edges.append(max(edges[-1], min(int(fit), edges[-1] + capacity)))
    if edges[-1] < len(order):
        edges[-1] = len(order)
        rows = (*rows[:-1], ceil(size * sentences))

    buckets, row_index, offset = [], np.full((size, sentences), -1, np.int32), 0
    for width, height, start, end in zip(widths, rows, edges[:-1], edges[1:], strict=True):
        chosen = order[start:end]
        buckets.append(_fill(corpus.tokens, starts[chosen], lengths[chosen], marks[chosen], (height, width)))
        row_index[doc[chosen], sent[chosen]] = offset + np.arange(len(chosen))
        offset += height
    return Batch(tuple(buckets), row_index)  # type: ignore[arg-type]  # NumPy arrays until they reach a device


def sentences_of(
    corpus: Corpus, documents: Int[np.ndarray, "doc"]
) -> tuple[Int[np.ndarray, "sentence"], Int[np.ndarray, "sentence"], Int[np.ndarray, "sentence"]]:
    """Lists the sentences of documents.

    Returns:
        For each sentence the position of its document in `documents`, its index in the corpus, and in its document.
    """
    first = corpus.documents[documents]
    counts = corpus.documents[documents + 1] - first
    doc = np.repeat(np.arange(len(documents)), counts)
    sent = np.arange(len(doc)) - (np.cumsum(counts) - counts)[doc]
    return doc, first[doc] + sent, sent


def _fill(
    tokens: Integer[np.ndarray, "token"],
    starts: Int[np.ndarray, "sentence"],
    lengths: Int[np.ndarray, "sentence"],
    marks: Int[np.ndarray, "sentence"],
    shape: tuple[int, int],
) -> Int[np.ndarray, "row word"]:
    bucket = np.full(shape, PAD, np.int32)
    filled = bucket[: len(starts)]
    word = np.arange(shape[1])
    real = word < lengths[:, None]
    filled[real] = tokens[(starts[:, None] + word)[real]]
    filled[np.arange(len(starts)), lengths] = marks
    return bucket
