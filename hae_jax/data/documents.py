"""Documents as token ids, in flat arrays that may lie in files."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import SupportsIndex

import numpy as np
from jaxtyping import Int, Integer

Ids = Sequence[int] | Integer[np.ndarray, "_"]
"""The token ids of a sentence, without its end mark."""


@dataclass(frozen=True, eq=False)
class Corpus:
    """Documents as token ids, in three flat arrays, which may be memory-mapped.

    Attributes:
        tokens: ids of all sentences one after the other, without end marks.
        sentences: where each sentence begins in `tokens`, and last where the last one ends.
        documents: where each document begins in `sentences`, and last where the last one ends.
    """

    tokens: Integer[np.ndarray, "token"]
    sentences: Int[np.ndarray, "sentence_edge"]
    documents: Int[np.ndarray, "document_edge"]

    @classmethod
    def of(cls, documents: Iterable[Sequence[Ids]]) -> "Corpus":
        """Puts documents, lists of sentences of ids, into flat arrays."""
        documents = list(documents)
        flat = [np.asarray(sentence, np.int32) for document in documents for sentence in document]
        return cls(
            np.concatenate([np.zeros(0, np.int32), *flat]),
            np.cumsum([0, *map(len, flat)], dtype=np.int64),
            np.cumsum([0, *map(len, documents)], dtype=np.int64),
        )

    def __len__(self) -> int:
        """The number of documents."""
        return len(self.documents) - 1

    def document(self, index: SupportsIndex) -> list[Int[np.ndarray, "_"]]:
        """Returns the sentences of one document, as ids without end marks.

        Raises:
            IndexError: if there is no such document.
        """
        index = int(index)
        if not 0 <= index < len(self):
            raise IndexError(f"document must lie in [0, {len(self)}), got {index}. Ask `len` first.")
        first, last = self.documents[index : index + 2]
        return [np.array(self.tokens[start:end], np.int32) for start, end in pairwise(self.sentences[first : last + 1])]

    def spread(self, number: int) -> "Corpus":
        """Returns that many documents in memory, evenly spread over the corpus; all of them if it has no more."""
        chosen = np.linspace(0, len(self) - 1, min(number, len(self))).round().astype(int)
        return Corpus.of(self.document(i) for i in chosen)
