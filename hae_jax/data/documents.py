"""Documents as token ids, in flat arrays that may be memory-mapped files."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, SupportsIndex

import numpy as np
from jaxtyping import Int, Integer

from hae_jax.batch import PAD

Ids = Sequence[int] | Integer[np.ndarray, "_"]
"""The token ids of a sentence, without its end mark."""

ARRAYS = ("tokens", "sentences", "documents", "groups")
"""The arrays of a `Corpus`, and the names of their files."""


@dataclass(frozen=True, eq=False)
class Corpus:
    """Documents as token ids, in flat arrays. The sentences of a document are its rows: a long one is several.

    Attributes:
        tokens: ids of all sentences, concatenated without end marks.
        sentences: offset in `tokens` at which each sentence starts, and the end of the last one.
        documents: offset in `sentences` at which each document starts, and the end of the last one.
        groups: the group of each document; documents of one group follow each other in the order of the text. None if
            unknown, as in caches of versions before 0.5.
    """

    tokens: Integer[np.ndarray, "token"]
    sentences: Int[np.ndarray, "sentence_edge"]
    documents: Int[np.ndarray, "document_edge"]
    groups: Integer[np.ndarray, "document"] | None = None

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
        return cls(*(np.memmap(folder / name, types[name], "r") for name in ARRAYS if name in types))

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

    def next_tokens(self, documents: Int[np.ndarray, "doc"], width: int) -> Int[np.ndarray, "doc width"]:
        """Returns the token ids of the document after each of the given ones, if it belongs to the same group.

        Args:
            documents: indices of documents.
            width: number of columns; at least the tokens of any document.

        Returns:
            The ids of all its sentences, without end marks, followed by PAD; PAD alone where there is none.

        Example:
            >>> corpus = Corpus.from_documents([[[5], [6, 7]], [[8], [9]], [[4]]])
            >>> grouped = Corpus(corpus.tokens, corpus.sentences, corpus.documents, np.array([1, 1, 2]))
            >>> grouped.next_tokens(np.array([0, 1]), 3).tolist()
            [[8, 9, 0], [0, 0, 0]]
        """
        following = np.minimum(documents + 1, len(self) - 1)
        starts, ends = (self.sentences[self.documents[following + edge]] for edge in (0, 1))
        known = following > documents
        if self.groups is None:
            known[:] = False
        else:
            known &= self.groups[following] == self.groups[documents]
        column = np.arange(width)
        real = (column < (ends - starts)[:, None]) & known[:, None]
        found = np.full(real.shape, PAD, np.int32)
        found[real] = self.tokens[(starts[:, None] + column)[real]]
        return found

    def evenly_spaced(self, number: int) -> "Corpus":
        """Returns `number` documents at evenly spaced indices, in memory; all documents if there are no more.

        Their groups are not kept: they do not follow each other in the text.
        """
        chosen = np.linspace(0, len(self) - 1, min(number, len(self))).round().astype(int)
        return Corpus.from_documents(self.document(i) for i in chosen)


class CorpusWriter:
    """Appends documents to the files of a `Corpus`.

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

    def write(self, documents: Iterable[Sequence[Ids]], group: int) -> None:
        """Appends documents of one group, each a sequence of sentences of token ids."""
        for document in documents:
            for sentence in document:
                self._append("tokens", sentence)
                self._append_end("sentences", len(sentence))
            self._append_end("documents", len(document))
            self._append("groups", [group])
            self.documents += 1

    def close(self) -> None:
        """Closes the files."""
        for file in self._files.values():
            file.close()

    def _append_end(self, name: str, length: int) -> None:
        self._ends[name] += length
        self._append(name, [self._ends[name]])

    def _append(self, name: str, values: Ids) -> None:
        self._files[name].write(np.asarray(values, self._types[name]).tobytes())
