"""Documents to batches: tables of sentences whose shapes never change, or seldom where nobody knows what comes."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import SupportsIndex

import numpy as np
from jaxtyping import Int

from hae_jax.batch import Batch
from hae_jax.config import DataConfig
from hae_jax.data.bucketing import ceil, optimal_widths, pack, rows_needed, sentence_lengths
from hae_jax.data.documents import Corpus, Ids
from hae_jax.data.text import Tokenizer, split_sentences

SPARE = 4.0
"""Spare rows of a table, in standard deviations of the number that a batch needs."""

SAMPLE = 1 << 16
"""Documents, at most, from which that number is estimated."""

SLACK = 1.25
"""Rows that tables get when they have to grow, as a multiple of those that are needed."""


class Batches:
    """The batches of a training run: batch `step` is a pure function of (seed, step).

    An epoch visits every document once, and a batch may straddle two. Each batch is a stratified sample: the documents,
    ordered by length, are cut into `batch_size` strata, and position p of the endless sequence of documents takes one
    from stratum p mod batch_size. So all batches are nearly of one size, which saves rows and steadies the gradient.

    Table widths minimise the cells that the corpus fills; the widest holds `max_tokens` and an end mark. Sentences that
    find their table full go into the next wider one. Should the widest overflow too, it is enlarged to hold any batch,
    so that all batches of a run have one of two shapes.

    Args:
        corpus: the documents; 24 bytes of memory are needed for each.
        config: `batch_size`, `buckets`, `max_sentences` and `max_tokens` are used.
        seed: seed of the order.

    Raises:
        ValueError: if the corpus is empty, or a document is larger than `config` allows.
    """

    def __init__(self, corpus: Corpus, config: DataConfig, seed: int) -> None:
        if not len(corpus):
            raise ValueError("corpus must have at least one document, got none. Lower data.min_sentences.")
        self._corpus, self._seed = corpus, seed
        self._size, self._sentences = config.batch_size, config.max_sentences
        self.widths: tuple[int, ...] = optimal_widths(sentence_lengths(corpus, config), config.buckets)
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
        return pack(self._corpus, documents, self.widths, self.rows, self._size, self._sentences)

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
        needs = rows_needed(self._corpus, sample, self.widths)
        # One document comes from each stratum: the means of the strata add up, and so do the variances.
        strata = [part for part in np.array_split(needs, self._size) if len(part)]
        mean = needs.mean(axis=0) * self._size
        variance = sum(part.var(axis=0) for part in strata)
        wanted = np.minimum(mean + SPARE * np.sqrt(variance), self._size * self._sentences)
        # What needs a table may also stand in a wider one, so the widest is measured first.
        rows: list[int] = []
        for need in wanted[::-1]:
            rows.insert(0, ceil(need - sum(rows)))
        return tuple(rows)


def sequential_batches(
    documents: Corpus | Sequence[Sequence[Ids]],
    config: DataConfig,
    batch_size: int,
) -> Iterator[tuple[Batch, int]]:
    """Cuts documents into batches in their order, for evaluation and new text.

    All batches of one call share one shape; the last one is filled up with empty documents.

    Args:
        documents: a corpus, or what `encode_text` returns.
        config: `buckets`, `max_sentences` and `max_tokens` are used.
        batch_size: documents a batch.

    Yields:
        A batch, and the number of real documents in it.

    Raises:
        ValueError: if a document is larger than `config` allows.
    """
    corpus = documents if isinstance(documents, Corpus) else Corpus.of(documents)
    if not len(corpus):
        return
    widths = optimal_widths(sentence_lengths(corpus, config), config.buckets)
    parts = [np.arange(i, min(i + batch_size, len(corpus))) for i in range(0, len(corpus), batch_size)]
    needs = np.array([rows_needed(corpus, part, widths).sum(axis=0) for part in parts])
    rows = tuple(map(ceil, (needs - np.pad(needs, ((0, 0), (0, 1)))[:, 1:]).max(axis=0)))
    for part in parts:
        yield pack(corpus, part, widths, rows, batch_size, config.max_sentences), len(part)


class StreamBatcher:
    """Lays out documents that come part after part, while nobody knows what is still to come.

    The first part decides how many documents a batch holds, and the widths of the tables. A part that finds too few
    rows makes the tables larger, for itself and all others, and by `SLACK` more than it needs; so the shapes of a
    stream, each of which has to be compiled for, are few however long it is.

    Args:
        config: `buckets`, `max_sentences` and `max_tokens` are used.

    Attributes:
        widths: columns of each table, end mark included; none before the first part.
        rows: rows of each table.
    """

    def __init__(self, config: DataConfig) -> None:
        self._config, self._size = config, 0
        self.widths: tuple[int, ...] = ()
        self.rows: tuple[int, ...] = ()

    def batch(self, documents: Sequence[Sequence[Ids]]) -> Batch:
        """Returns the next part as a batch, filled up with empty documents.

        Args:
            documents: what `encode_text` returns; no more of them than in the first part.

        Raises:
            ValueError: if a document is larger than `config` allows.
        """
        corpus = Corpus.of(documents)
        part, lengths = np.arange(len(corpus)), sentence_lengths(corpus, self._config)
        slack = SLACK
        if not self.widths:
            # Most often there is no other part.
            self._size, self.widths, slack = len(corpus), optimal_widths(lengths, self._config.buckets), 1.0
            self.rows = (0,) * len(self.widths)
        needs = rows_needed(corpus, part, self.widths).sum(axis=0)
        room = np.cumsum(self.rows[::-1])[::-1]
        if (needs > room).any():
            most = ceil(self._size * self._config.max_sentences)
            wanted = np.minimum(np.maximum(needs * slack, room), most)
            self.rows = tuple(map(ceil, wanted - np.append(wanted[1:], 0)))
        return pack(corpus, part, self.widths, self.rows, self._size, self._config.max_sentences)


def encode_text(
    texts: Sequence[str], tokenizer: Tokenizer, config: DataConfig, first: int = 1
) -> tuple[list[list[Int[np.ndarray, "_"]]], list[bool]]:
    """Turns new texts into documents, cutting off what the model has no room for.

    Args:
        texts: one document each, of any length.
        tokenizer: the run's tokenizer.
        config: `max_sentences` and `max_tokens` are used.
        first: the number by which a complaint calls the first of them.

    Returns:
        The documents, and for each whether something was cut off.

    Raises:
        ValueError: if a text is blank.
    """
    documents, truncated = [], []
    for number, text in enumerate(texts, first):
        encoded = [ids for ids in tokenizer.encode_all(split_sentences(text)) if ids]
        if not encoded:
            raise ValueError(f"text must hold at least one word, got {text!r} as text {number}. Remove it.")
        documents.append([np.asarray(ids[: config.max_tokens], np.int32) for ids in encoded[: config.max_sentences]])
        truncated.append(len(encoded) > config.max_sentences or max(map(len, encoded)) > config.max_tokens)
    return documents, truncated
