"""Documents to batches: tables of sentences whose shapes never change."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import SupportsFloat, SupportsIndex

import numpy as np
from jaxtyping import Int, Integer

from hae_jax.batch import EOD, EOS, PAD, Batch
from hae_jax.config import DataConfig
from hae_jax.data.documents import Corpus, Ids
from hae_jax.data.text import Tokenizer, split_sentences

ROWS = 8
"""The rows of every table are a multiple of this, so that they can be shared among as many devices."""

SPARE = 4.0
"""Spare rows of a table, in standard deviations of the number that a batch needs."""

SAMPLE = 1 << 16
"""Documents, at most, from which that number is estimated."""


class Batches:
    """The batches of a training run: batch `step` is a pure function of (seed, step).

    An epoch visits every document once, and a batch may straddle two. Each batch is a stratified sample: the documents,
    ordered by length, are cut into `batch_size` strata, and position p of the endless sequence of documents takes one
    from stratum p mod batch_size. So all batches are nearly of one size, which saves rows and steadies the gradient.

    Table widths minimise the cells that the corpus fills; the widest holds `max_words` and an end mark. Sentences that
    find their table full go into the next wider one. Should the widest overflow too, it is enlarged to hold any batch,
    so that all batches of a run have one of two shapes.

    Args:
        corpus: the documents; 24 bytes of memory are needed for each.
        config: `batch_size`, `buckets`, `max_sentences` and `max_words` are used.
        seed: seed of the order.

    Raises:
        ValueError: if the corpus is empty, or a document is larger than `config` allows.
    """

    def __init__(self, corpus: Corpus, config: DataConfig, seed: int) -> None:
        if not len(corpus):
            raise ValueError("corpus must have at least one document, got none. Lower data.min_sentences.")
        self._corpus, self._seed = corpus, seed
        self._size, self._sentences = config.batch_size, config.max_sentences
        self.widths: tuple[int, ...] = best_widths(_histogram(corpus, config), config.buckets)
        """Columns of each table, end mark included."""
        words = corpus.sentences[corpus.documents]
        self._by_length = np.lexsort((np.diff(words), np.diff(corpus.documents)))
        self._strata = np.random.default_rng([seed, 0]).permutation(self._size)
        self.rows: tuple[int, ...] = self._capacities()
        """Rows of each table, as long as a batch fits."""
        # Two epochs, because a batch may straddle them.
        self._epoch = lru_cache(maxsize=2)(self._order)

    def at(self, step: SupportsIndex) -> Batch:
        """Returns the batch of one step, as NumPy arrays.

        Raises:
            ValueError: if `step` is negative.
        """
        documents = self.documents(step)
        return _batch(self._corpus, documents, self.widths, self.rows, self._size, self._sentences)

    def documents(self, step: SupportsIndex) -> Int[np.ndarray, "doc"]:
        """Returns the numbers of the documents in one step's batch.

        Raises:
            ValueError: if `step` is negative.
        """
        step = int(step)
        if step < 0:
            raise ValueError(f"step must be at least 0, got {step}. Steps count from 0.")
        chosen: list[np.ndarray] = []
        position, end = step * self._size, (step + 1) * self._size
        while position < end:
            epoch, start = divmod(position, len(self._corpus))
            chosen.append(self._epoch(epoch)[start : start + end - position])
            position += len(chosen[-1])
        return np.concatenate(chosen)

    def _order(self, epoch: int) -> Int[np.ndarray, "position"]:
        number = len(self._corpus)
        stratum = self._strata[(epoch * number + np.arange(number)) % self._size]
        random = np.random.default_rng([self._seed, epoch + 1]).random(number)
        # Positions sorted by stratum, at random within each, meet the documents sorted by length.
        order = np.empty(number, np.int64)
        order[np.argsort(stratum + random, kind="stable")] = self._by_length
        return order

    def _capacities(self) -> tuple[int, ...]:
        number = min(len(self._corpus), SAMPLE)
        sample = self._by_length[np.arange(number) * len(self._corpus) // number]
        needs = _needs(self._corpus, sample, self.widths)
        # One document comes from each stratum: the means of the strata add up, and so do the variances.
        strata = [part for part in np.array_split(needs, self._size) if len(part)]
        mean = needs.mean(axis=0) * self._size
        variance = sum(part.var(axis=0) for part in strata)
        wanted = np.minimum(mean + SPARE * np.sqrt(variance), self._size * self._sentences)
        # What needs a table may also stand in a wider one, so the widest is measured first.
        rows: list[int] = []
        for need in wanted[::-1]:
            rows.insert(0, _ceil(need - sum(rows)))
        return tuple(rows)


def in_order(
    documents: Corpus | Sequence[Sequence[Ids]],
    config: DataConfig,
    batch_size: int,
) -> Iterator[tuple[Batch, int]]:
    """Cuts documents into batches in their order, for evaluation and new text.

    All batches of one call share one shape; the last one is filled up with empty documents.

    Args:
        documents: a corpus, or what `encode_text` returns.
        config: `buckets`, `max_sentences` and `max_words` are used.
        batch_size: documents a batch.

    Yields:
        A batch, and the number of real documents in it.

    Raises:
        ValueError: if a document is larger than `config` allows.
    """
    corpus = documents if isinstance(documents, Corpus) else Corpus.of(documents)
    if not len(corpus):
        return
    widths = best_widths(_histogram(corpus, config), config.buckets)
    parts = [np.arange(i, min(i + batch_size, len(corpus))) for i in range(0, len(corpus), batch_size)]
    needs = np.array([_needs(corpus, part, widths).sum(axis=0) for part in parts])
    rows = tuple(map(_ceil, (needs - np.pad(needs, ((0, 0), (0, 1)))[:, 1:]).max(axis=0)))
    for part in parts:
        yield _batch(corpus, part, widths, rows, batch_size, config.max_sentences), len(part)


def encode_text(
    texts: Sequence[str], tokenizer: Tokenizer, config: DataConfig
) -> tuple[list[list[Int[np.ndarray, "_"]]], list[bool]]:
    """Turns new texts into documents, cutting off what the model has no room for.

    Args:
        texts: one document each, of any length.
        tokenizer: the run's tokenizer.
        config: `max_sentences` and `max_words` are used.

    Returns:
        The documents, and for each whether something was cut off.

    Raises:
        ValueError: if a text is blank.
    """
    documents, truncated = [], []
    for number, text in enumerate(texts, 1):
        encoded = [ids for ids in tokenizer.encode_all(split_sentences(text)) if ids]
        if not encoded:
            raise ValueError(f"text must hold at least one word, got {text!r} as text {number}. Remove it.")
        documents.append([np.asarray(ids[: config.max_words], np.int32) for ids in encoded[: config.max_sentences]])
        truncated.append(len(encoded) > config.max_sentences or max(map(len, encoded)) > config.max_words)
    return documents, truncated


def best_widths(histogram: Int[np.ndarray, "length"], buckets: int) -> tuple[int, ...]:
    """Chooses the widths of at most `buckets` tables that hold sentences in the fewest cells.

    With H(w) sentences of length w or less, the cheapest k tables of which the widest has w columns cost

        cost_k(w) = min over v < w of  cost_{k-1}(v) + (H(w) - H(v)) w

    Args:
        histogram: how many sentences have length 0, 1, 2, ...; the longest length is always a width.
        buckets: number of tables, at most.

    Example:
        >>> best_widths(np.array([0, 0, 0, 9, 0, 0, 0, 1]), 2)
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


def _ceil(rows: SupportsFloat) -> int:
    """Rounds up to a multiple of `ROWS`; a table is never without rows."""
    return max(int(np.ceil(float(rows) / ROWS)), 1) * ROWS


def _histogram(corpus: Corpus, config: DataConfig) -> Int[np.ndarray, "length"]:
    """Counts sentences by length, end mark included; a piece at a time, as the corpus may exceed memory."""
    counts = np.zeros(config.max_words + 2, np.int64)
    for start in range(0, len(corpus.sentences) - 1, 1 << 20):
        lengths = np.diff(corpus.sentences[start : start + (1 << 20) + 1])
        if lengths.max() > config.max_words:
            raise ValueError(_TOO_LARGE.format("words a sentence", "max_words", config.max_words, lengths.max()))
        counts += np.bincount(lengths + 1, minlength=len(counts))
    most = np.diff(corpus.documents).max()
    if most > config.max_sentences:
        raise ValueError(_TOO_LARGE.format("sentences", "max_sentences", config.max_sentences, most))
    return counts


_TOO_LARGE = "documents must have at most {2} {0} (data.{1}), got {3}. Use `encode_text`, which cuts them off."


def _needs(corpus: Corpus, documents: Int[np.ndarray, "doc"], widths: tuple[int, ...]) -> Int[np.ndarray, "doc table"]:
    """Counts each document's sentences that need a table of that width or a wider one."""
    doc, sentence, _ = _sentences(corpus, documents)
    lengths = corpus.sentences[sentence + 1] - corpus.sentences[sentence] + 1
    counts = [np.bincount(doc[lengths > narrower], minlength=len(documents)) for narrower in (0, *widths[:-1])]
    return np.stack(counts, axis=1)


def _batch(
    corpus: Corpus,
    documents: Int[np.ndarray, "doc"],
    widths: tuple[int, ...],
    rows: tuple[int, ...],
    size: int,
    sentences: int,
) -> Batch:
    """Lays out some documents; the shortest sentences take the narrowest tables."""
    doc, sentence, sent = _sentences(corpus, documents)
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
        rows = (*rows[:-1], _ceil(size * sentences))

    tables, slots, above = [], np.full((size, sentences), -1, np.int32), 0
    for width, room, start, end in zip(widths, rows, edges[:-1], edges[1:], strict=True):
        chosen = order[start:end]
        tables.append(_table(corpus.tokens, starts[chosen], lengths[chosen], marks[chosen], (room, width)))
        slots[doc[chosen], sent[chosen]] = above + np.arange(len(chosen))
        above += room
    return Batch(tuple(tables), slots)  # type: ignore[arg-type]  # NumPy's, until they reach a device


def _sentences(
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
