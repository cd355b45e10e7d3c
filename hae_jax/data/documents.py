"""Documents as token ids, in flat arrays that may be memory-mapped files."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, SupportsIndex

import numpy as np
from jaxtyping import Int, Integer

Ids = Sequence[int] | Integer[np.ndarray, "_"]
"""The token ids of a sentence, without its end mark."""

ARRAYS = ("tokens", "sentences", "documents")
"""The arrays of a `Corpus`, and the names of their files."""


@dataclass(frozen=True, eq=False)
class Corpus:
    """Documents as token ids, in three flat arrays.

    Attributes:
        tokens: ids of all sentences, concatenated without end marks.
        sentences: offset in `tokens` at which each sentence starts, and the end of the last one.
        documents: offset in `sentences` at which each document starts, and the end of the last one.
    """

    tokens: Integer[np.ndarray, "token"]
    sentences: Int[np.ndarray, "sentence_edge"]
    documents: Int[np.ndarray, "document_edge"]

    @classmethod
    def from_documents(cls, documents: Iterable[Sequence[Ids]]) -> "Corpus":
        """Concatenates documents, each a list of sentences of ids, to flat arrays in memory."""
        documents = list(documents)
        flat = [np.asarray(sentence, np.int32) for document in documents for sentence in document]
        return cls(
            np.concatenate([np.zeros(0, np.int32), *flat]),
            np.cumsum([0, *map(len, flat)], dtype=np.int64),
            np.cumsum([0, *map(len, documents)], dtype=np.int64),
        )

    @classmethod
    def open(cls, folder: Path, types: Mapping[str, str]) -> "Corpus":
        """Memory-maps the files that `CorpusWriter` wrote, read-only."""
        return cls(*(np.memmap(folder / name, types[name], "r") for name in ARRAYS))

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
            raise IndexError(f"document must lie in [0, {len(self)}), got {index}. Use an index below len(corpus).")
        first, last = self.documents[index : index + 2]
        return [np.array(self.tokens[start:end], np.int32) for start, end in pairwise(self.sentences[first : last + 1])]

    def evenly_spaced(self, number: int) -> "Corpus":
        """Returns `number` documents at evenly spaced indices, in memory; all documents if there are no more."""
        chosen = np.linspace(0, len(self) - 1, min(number, len(self))).round().astype(int)
        return Corpus.from_documents(self.document(i) for i in chosen)


class CorpusWriter:
    """Appends documents to the three files of a `Corpus`.

    Args:
        folder: folder of the files; it must not exist yet.
        types: NumPy type of each array, by its name in `ARRAYS`.

    Attributes:
        documents: number of documents written.
    """

    def __init__(self, folder: Path, types: Mapping[str, str]) -> None:
        folder.mkdir()
        self._types = types
        self._files: dict[str, BinaryIO] = {name: (folder / name).open("wb") for name in ARRAYS}
        self._ends = {"sentences": 0, "documents": 0}
        self.documents = 0
        self._append("sentences", [0])
        self._append("documents", [0])

    def write(self, documents: Iterable[Sequence[Sequence[int]]]) -> None:
        """Appends documents, each a sequence of sentences of token ids."""
        for document in documents:
            for sentence in document:
                self._append("tokens", sentence)
                self._append_end("sentences", len(sentence))
            self._append_end("documents", len(document))
            self.documents += 1

    def close(self) -> None:
        """Closes the files."""
        for file in self._files.values():
            file.close()

    def _append_end(self, name: str, length: int) -> None:
        self._ends[name] += length
        self._append(name, [self._ends[name]])

    def _append(self, name: str, values: Sequence[int]) -> None:
        self._files[name].write(np.asarray(values, self._types[name]).tobytes())
