"""Documents laid out in tables: which widths are best, how many rows are needed, and which sentence stands where."""

from typing import SupportsFloat

import numpy as np
from jaxtyping import Int, Integer

from hae_jax.batch import EOD, EOS, PAD, Batch
from hae_jax.config import DataConfig
from hae_jax.data.documents import Corpus

ROWS = 8
"""The rows of every table are a multiple of this, so that they can be shared among as many devices."""


def optimal_widths(histogram: Int[np.ndarray, "length"], buckets: int) -> tuple[int, ...]:
    """Chooses the widths of at most `buckets` tables that hold sentences in the fewest cells.

    With H(w) sentences of length w or less, the cheapest k tables of which the widest has w columns cost

        cost_k(w) = min over v < w of  cost_{k-1}(v) + (H(w) - H(v)) w

    Args:
        histogram: how many sentences have length 0, 1, 2, ...; the longest length is always a width.
        buckets: number of tables, at most.

    Example:
        >>> optimal_widths(np.array([0, 0, 0, 9, 0, 0, 0, 1]), 2)
        (3, 7)
    """
    below = np.cumsum(histogram)
    width = np.arange(len(histogram))
    step = np.where(width[:, None] < width, (below - below[:, None]) * width, np.inf)
    cost, chosen = np.where(width == 0, 0.0, np.inf), []
    for _ in range(buckets):
        # The diagonal lets a table go unused, so fewer tables win when more would save nothing.
        paths = cost[:, None] + np.where(np.eye(len(width), dtype=bool), 0, step)
        chosen.append(paths.argmin(axis=0))
        cost = paths.min(axis=0)
    widths = [len(histogram) - 1]
    for previous in reversed(chosen):
        widths.append(int(previous[widths[-1]]))
    return tuple(sorted(set(widths) - {0}))


def ceil(rows: SupportsFloat) -> int:
    """Rounds up to a multiple of `ROWS`; a table is never without rows."""
    return max(int(np.ceil(float(rows) / ROWS)), 1) * ROWS


def sentence_lengths(corpus: Corpus, config: DataConfig) -> Int[np.ndarray, "length"]:
    """Counts sentences by length, end mark included; a piece at a time, as the corpus may exceed memory."""
    counts = np.zeros(config.max_tokens + 2, np.int64)
    for start in range(0, len(corpus.sentences) - 1, 1 << 20):
        lengths = np.diff(corpus.sentences[start : start + (1 << 20) + 1])
        if lengths.max() > config.max_tokens:
            raise ValueError(_TOO_LARGE.format("words a sentence", "max_tokens", config.max_tokens, lengths.max()))
        counts += np.bincount(lengths + 1, minlength=len(counts))
    most = np.diff(corpus.documents).max()
    if most > config.max_sentences:
        raise ValueError(_TOO_LARGE.format("sentences", "max_sentences", config.max_sentences, most))
    return counts


_TOO_LARGE = "documents must have at most {2} {0} (data.{1}), got {3}. Use `encode_text`, which cuts them off."


def rows_needed(
    corpus: Corpus, documents: Int[np.ndarray, "doc"], widths: tuple[int, ...]
) -> Int[np.ndarray, "doc table"]:
    """Counts each document's sentences that need a table of that width or a wider one."""
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
    """Lays out some documents; the shortest sentences take the narrowest tables."""
    doc, sentence, sent = sentences_of(corpus, documents)
    starts = corpus.sentences[sentence]
    lengths = corpus.sentences[sentence + 1] - starts
    marks = np.where(sentence + 1 == corpus.documents[documents + 1][doc], EOD, EOS)

    order = np.argsort(lengths, kind="stable")
    fits = np.searchsorted(lengths[order] + 1, widths, side="right")
    edges = [0]
    for fit, room in zip(fits, rows, strict=True):
        edges.append(max(edges[-1], min(int(fit), edges[-1] + room)))
    if edges[-1] < len(order):
        edges[-1] = len(order)
        rows = (*rows[:-1], ceil(size * sentences))

    tables, slots, above = [], np.full((size, sentences), -1, np.int32), 0
    for width, room, start, end in zip(widths, rows, edges[:-1], edges[1:], strict=True):
        chosen = order[start:end]
        tables.append(_table(corpus.tokens, starts[chosen], lengths[chosen], marks[chosen], (room, width)))
        slots[doc[chosen], sent[chosen]] = above + np.arange(len(chosen))
        above += room
    return Batch(tuple(tables), slots)  # type: ignore[arg-type]  # NumPy's, until they reach a device


def sentences_of(
    corpus: Corpus, documents: Int[np.ndarray, "doc"]
) -> tuple[Int[np.ndarray, "sentence"], Int[np.ndarray, "sentence"], Int[np.ndarray, "sentence"]]:
    """Lists the sentences of some documents: whose each one is, its number in the corpus, and in its document."""
    first = corpus.documents[documents]
    counts = corpus.documents[documents + 1] - first
    doc = np.repeat(np.arange(len(documents)), counts)
    sent = np.arange(len(doc)) - (np.cumsum(counts) - counts)[doc]
    return doc, first[doc] + sent, sent


def _table(
    tokens: Integer[np.ndarray, "token"],
    starts: Int[np.ndarray, "sentence"],
    lengths: Int[np.ndarray, "sentence"],
    marks: Int[np.ndarray, "sentence"],
    shape: tuple[int, int],
) -> Int[np.ndarray, "row word"]:
    table = np.full(shape, PAD, np.int32)
    filled = table[: len(starts)]
    word = np.arange(shape[1])
    real = word < lengths[:, None]
    filled[real] = tokens[(starts[:, None] + word)[real]]
    filled[np.arange(len(starts)), lengths] = marks
    return table
