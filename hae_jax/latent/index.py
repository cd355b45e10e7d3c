"""Codes of a corpus on disk, and exact search among them."""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int
from numpy.lib import format as npy

from hae_jax.data.corpora import identity
from hae_jax.inference.text_batches import TextModel
from hae_jax.inference.texts import Part, iter_encode

FILES = ("codes.npy", "numbers.npy")

BLOCK = 1 << 24
"""Numbers of a block of codes, and of the similarities to it: 64 MiB each."""

QUERIES = 256
"""Queries that are compared with a block at a time."""

MARGIN = 1e-4
"""More than the rounding error of a float32 product of two unit vectors."""


class Matches(NamedTuple):
    """The texts that are nearest to each query, nearest first; equally near ones in the order of their numbers.

    Attributes:
        number: their numbers.
        similarity: the greatest cosine of a code of the text and the query, from -1 to 1.
    """

    number: Int[np.ndarray, "query rank"]
    similarity: Float[np.ndarray, "query rank"]


@dataclass(frozen=True, eq=False)
class Index:
    """Codes of a corpus, for exact search by cosine similarity.

    Attributes:
        codes: one code for each window of each text, as `encode` returns them; may be a memory-mapped file.
        numbers: the number of the text of each code, in ascending order.
        part: the part of the code that they are.

    Example:
        >>> index = Index(np.eye(4, 2, dtype=np.float32), np.array([0, 1, 1, 2]), "all")
        >>> index.query(np.array([[3.0, 4.0]]), count=2)
        Matches(number=array([[1, 0]]), similarity=array([[0.8, 0.6]]))
    """

    codes: Float[np.ndarray, "window code"] = field(repr=False)
    numbers: Int[np.ndarray, "window"] = field(repr=False)
    part: Part = "all"

    @classmethod
    def build(cls, model: TextModel, texts: Iterable[str], folder: Path | str, part: Part = "all") -> "Index":
        """Encodes whole texts into files, one after the other, so that there may be more than memory holds.

        Args:
            model: any model.
            texts: texts of any length.
            folder: the folder to write; it appears when it is complete.
            part: the part of the codes to search by.

        Raises:
            ValueError: if there is no text, a text is blank, or the model has no such part.
            OSError: if the folder cannot be written, or holds files already.
        """
        folder = Path(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
            work = Path(temporary) / "index"
            work.mkdir()
            numbers: list[int] = []
            size = 0
            with (work / FILES[0]).open("wb") as stream:
                for encoding in iter_encode(model, texts, part, windows=True):
                    if not numbers:
                        size = len(encoding.code)
                        _write_header(stream, 0, size)
                    stream.write(encoding.code.astype("<f4").tobytes())
                    numbers.append(encoding.text)
                stream.seek(0)
                _write_header(stream, len(numbers), size)
            np.save(work / FILES[1], np.array(numbers))
            os.replace(work, folder)
        return cls.load(folder, part)

    @classmethod
    def load(cls, folder: Path | str, part: Part = "all") -> "Index":
        """Memory-maps what `build` wrote.

        Raises:
            ValueError: if a file is damaged.
            OSError: if there is none.
        """
        try:
            codes, numbers = (np.load(Path(folder) / name, mmap_mode="r", allow_pickle=False) for name in FILES)
        except (ValueError, EOFError):
            raise ValueError(f"index must hold whole .npy files, got {folder}. Remove it to build it again.") from None
        return cls(codes, numbers, part)

    def query(self, codes: Float[np.ndarray, "query code"], count: int = 10) -> Matches:
        """Searches for the texts with the greatest cosine to each query.

        The search is exact. It reads all codes once per `QUERIES` queries, in blocks of `BLOCK` numbers. Products in
        float32 select candidates, among which products in float64 decide.

        Args:
            codes: the queries, of the same part.
            count: number of texts to return; fewer if the index has fewer.

        Raises:
            ValueError: if `count` is below 1, or the queries have another size.
        """
        if count < 1:
            raise ValueError(f"count must be at least 1, got {count}. Use 10.")
        size = self.codes.shape[1]
        if codes.ndim != 2 or codes.shape[1] != size:
            raise ValueError(
                f"codes must have shape [any, {size}], got {list(codes.shape)}. Encode them with the index's model."
            )
        starts = np.flatnonzero(np.diff(self.numbers, prepend=self.numbers[:1] - 1))
        count = min(count, len(starts))
        empty = Matches(np.zeros((0, count), np.int64), np.zeros((0, count)))
        parts = (codes[first : first + QUERIES].astype(np.float64) for first in range(0, len(codes), QUERIES))
        found = [empty, *(self._query(part, count, starts) for part in parts)]
        return Matches(*(np.concatenate(column) for column in zip(*found, strict=True)))

    def _query(self, queries: Float[np.ndarray, "query code"], count: int, starts: Int[np.ndarray, "text"]) -> Matches:
        """Compares queries with all codes; `starts` is the first row of each text."""
        queries = queries / _lengths(queries)[:, None]
        number = np.full((len(queries), count), -1)
        similarity = np.full((len(queries), count), -np.inf)
        rows, size = self.codes.shape
        height = max(BLOCK // max(size, len(queries)), 1)
        start = 0
        while start < rows:
            # A block ends where a text ends.
            after = starts[np.searchsorted(starts, start + height) :]
            end = int(after[0]) if len(after) else rows
            block, firsts = self.codes[start:end], starts[(starts >= start) & (starts < end)] - start
            unit = block.astype(np.float32) / _lengths(block)[:, None]
            near = np.maximum.reduceat(queries.astype(np.float32) @ unit.T, firsts, axis=1)
            last = max(near.shape[1] - count, 0)
            bound = np.maximum(np.partition(near, last)[:, last], similarity[:, -1]) - MARGIN
            owner = np.searchsorted(firsts, np.arange(len(block)), "right") - 1
            for query, (vector, nearness) in enumerate(zip(queries, near, strict=True)):
                chosen = nearness >= bound[query]
                candidates = np.flatnonzero(chosen[owner])
                if not len(candidates):
                    continue
                exact = block[candidates].astype(np.float64)
                edges = np.flatnonzero(np.diff(owner[candidates], prepend=-1))
                exact = np.maximum.reduceat((exact * vector).sum(1) / _lengths(exact), edges)
                merged = np.append(number[query], self.numbers[start:end][firsts[chosen]])
                nearest = np.append(similarity[query], exact)
                best = np.lexsort((merged, -nearest))[:count]
                number[query], similarity[query] = merged[best], nearest[best]
            start = end
        return Matches(number, similarity)


def _lengths(codes: Float[np.ndarray, "row code"]) -> Float[np.ndarray, " row"]:
    """Returns the lengths of vectors, and 1 for zeros, whose similarity to anything is then 0."""
    lengths = np.sqrt(np.square(codes).sum(1))
    return np.where(lengths > 0, lengths, 1)


def _write_header(stream: BinaryIO, rows: int, size: int) -> None:
    """Writes the header of a .npy; its length does not depend on the number of rows."""
    npy.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (rows, size)})


def cache_name(model: TextModel, corpus: str, column: str, part: Part) -> str:
    """Returns a name for an index, a hash of the model, the corpus and the part.

    Args:
        model: its parameters and its config are hashed.
        corpus: a name or a path.
        column: the field of the text in the corpus.
        part: the part of the codes.
    """
    key = json.dumps([model.config.to_json(), identity(corpus), column, part])
    digest = hashlib.blake2b(key.encode(), digest_size=16)
    for leaf in jax.tree.leaves(model.params):
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()
