"""Batches of fixed shapes: shuffled for training, and in order for evaluation."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import SupportsIndex

import numpy as np
from jaxtyping import Int

from hae_jax.batch import Batch
from hae_jax.config import DataConfig
from hae_jax.data.bucketing import ceil, optimal_widths, pack, rows_needed, sentence_lengths
from hae_jax.data.documents import Corpus, Ids

SPARE = 4.0
"""Spare rows of a bucket, in standard deviations of the number of rows that a batch needs."""

SAMPLE = 1 << 16
"""Maximum number of documents from which that number is estimated."""


class Batches:
    """The batches of a training run: batch `step` is a pure function of (seed, step).

    An epoch visits every document once, and a batch may straddle two. Each batch is a stratified sample: the documents,
    ordered by length, are cut into `batch_size` strata, and position p of the endless sequence of documents takes one
    from stratum p mod batch_size. So all batches have nearly the same size, which saves rows and reduces the variance
    of the gradient.

    The widths of the buckets minimize the number of cells over the corpus; the widest holds `max_tokens` and an end
    mark. Sentences whose bucket is full go into the next wider one. If the widest overflows too, it is enlarged to hold
    any batch, so that all batches of a run have one of two shapes.

    Args:
        corpus: the documents; 24 bytes of memory are needed for each.
        config: `batch_size`, `buckets`, `max_sentences` and `max_tokens` are used.
        seed: seed of the order.

    Raises:
        ValueError: if the corpus is empty, or a document exceeds the limits of `config`.
    """

    def __init__(self, corpus: Corpus, config: DataConfig, seed: int) -> None:
        if not len(corpus):
            raise ValueError("corpus must have at least one document, got none. Lower data.min_sentences.")
        self._corpus, self._seed = corpus, seed
        self._size, self._sentences = config.batch_size, config.max_sentences
        self._tokens = config.max_sentences * config.max_tokens
        self.widths: tuple[int, ...] = optimal_widths(sentence_lengths(corpus, config), config.buckets)
        """Columns of each bucket, end mark included."""
        token_edges = corpus.sentences[corpus.documents]
        self._by_length = np.lexsort((np.diff(token_edges), np.diff(corpus.documents)))
        self._strata = np.random.default_rng([seed, 0]).permutation(self._size)
        self.rows: tuple[int, ...] = self._capacities()
        """Rows of each bucket, unless a batch overflows the widest."""
        # Two epochs, because a batch may straddle them.
        self._epoch = lru_cache(maxsize=2)(self._order)

    def batch(self, step: SupportsIndex) -> Batch:
        """Returns the batch of one step, as NumPy arrays, with the next document of each.

        Raises:
            ValueError: if `step` is negative.
        """
        documents = self.documents(step)
        batch = pack(self._corpus, documents, self.widths, self.rows, self._size, self._sentences)
        following = self._corpus.next_tokens(documents, self._tokens)
        return batch._replace(next_tokens=following)  # type: ignore[arg-type]  # as in `pack`

    def documents(self, step: SupportsIndex) -> Int[np.ndarray, "doc"]:
        """Returns the indices of the documents in one step's batch.

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
        # Positions sorted by stratum, at random within each, are assigned the documents sorted by length.
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
        # A sentence may also be placed in a wider bucket, so the widest is sized first.
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

    All batches of one call have the same shape; the last one is filled up with empty documents.

    Args:
        documents: a corpus, or what `encode_text` returns.
        config: `buckets`, `max_sentences` and `max_tokens` are used.
        batch_size: documents per batch.

    Yields:
        A batch, and the number of real documents in it.

    Raises:
        ValueError: if a document exceeds the limits of `config`.
    """
    corpus = documents if isinstance(documents, Corpus) else Corpus.from_documents(documents)
    if not len(corpus):
        return
    widths = optimal_widths(sentence_lengths(corpus, config), config.buckets)
    parts = [np.arange(i, min(i + batch_size, len(corpus))) for i in range(0, len(corpus), batch_size)]
    needs = np.array([rows_needed(corpus, part, widths).sum(axis=0) for part in parts])
    rows = tuple(map(ceil, (needs - np.pad(needs, ((0, 0), (0, 1)))[:, 1:]).max(axis=0)))
    for part in parts:
        yield pack(corpus, part, widths, rows, batch_size, config.max_sentences), len(part)
