"""Batches of a stream of documents whose number and lengths are not known in advance."""

from collections.abc import Sequence

import numpy as np

from hae_jax.batch import Batch
from hae_jax.config import DataConfig
from hae_jax.data.bucketing import ceil, optimal_widths, pack, rows_needed, sentence_lengths
from hae_jax.data.documents import Corpus, Ids

SLACK = 1.25
"""Rows of a bucket that has to grow, as a multiple of those needed."""


class StreamBatcher:
    """Packs consecutive parts of a stream of documents into batches of few different shapes.

    The first part fixes the number of documents per batch and the widths of the buckets. A part that needs more rows
    enlarges the buckets, for itself and all later parts, to `SLACK` times its needs. So the number of shapes, each of
    which has to be compiled for, stays small for a stream of any length.

    Args:
        config: `buckets`, `max_sentences` and `max_tokens` are used.

    Attributes:
        widths: columns of each bucket, end mark included; empty before the first part.
        rows: rows of each bucket.
    """

    def __init__(self, config: DataConfig) -> None:
        self._config, self._size = config, 0
        self.widths: tuple[int, ...] = ()
        self.rows: tuple[int, ...] = ()

    def batch(self, documents: Sequence[Sequence[Ids]]) -> Batch:
        """Returns the next part as a batch, filled up with empty documents.

        Args:
            documents: what `encode_text` returns; at most as many as in the first part.

        Raises:
            ValueError: if a document exceeds the limits of `config`.
        """
        corpus = Corpus.from_documents(documents)
        part, lengths = np.arange(len(corpus)), sentence_lengths(corpus, self._config)
        slack = SLACK
        if not self.widths:
            # Most streams consist of one part.
            self._size, self.widths, slack = len(corpus), optimal_widths(lengths, self._config.buckets), 1.0
            self.rows = (0,) * len(self.widths)
        needs = rows_needed(corpus, part, self.widths).sum(axis=0)
        # Rows of each bucket and of all wider ones, which may hold its sentences as well.
        capacity = np.cumsum(self.rows[::-1])[::-1]
        if (needs > capacity).any():
            most = ceil(self._size * self._config.max_sentences)
            wanted = np.minimum(np.maximum(needs * slack, capacity), most)
            self.rows = tuple(map(ceil, wanted - np.append(wanted[1:], 0)))
        return pack(corpus, part, self.widths, self.rows, self._size, self._config.max_sentences)
