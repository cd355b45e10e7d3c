"""The texts of a corpus that are nearest to a text."""

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from hae_jax.config import ModelConfig
from hae_jax.inference.text_batches import TextModel, check_texts
from hae_jax.inference.texts import Part, iter_encode
from hae_jax.latent.index import Index
from hae_jax.latent.interpolation import shares


class Neighbour(NamedTuple):
    """A text near a query.

    Attributes:
        number: its number in the corpus, from 0.
        similarity: cosine of its code and the query's, from -1 to 1; of texts of several windows the greatest one.
    """

    number: int
    similarity: float


def default_part(config: ModelConfig) -> Part:
    """Returns the part of a code that is near for texts of the same topic: `topic` if the model has it, else `all`."""
    return "topic" if config.topic_dim else "all"


def neighbours(
    model: TextModel,
    queries: Iterable[str],
    corpus: Iterable[str] | Index,
    count: int = 10,
    part: Part | None = None,
) -> list[list[Neighbour]]:
    """Finds the texts of a corpus whose codes have the greatest cosine with those of queries.

    Args:
        model: any model.
        queries: texts of any length.
        corpus: texts, which are encoded into a temporary file; or an `Index`, which is built once for many calls.
        count: number of neighbours of each query; fewer if the corpus has fewer texts. A query that is part of the
            corpus is its own nearest neighbour.
        part: the part of the code to search by; by default that of the index, or else the topic part if the model has
            one.

    Returns:
        For each query its neighbours, nearest first; equally near ones in the order of the corpus.

    Raises:
        ValueError: if a text is blank, `count` is below 1, the model has no such part, or the index is of another part.

    Example:
        >>> corpus = ["The rain began.", "The bridge held.", "Trade recovered."]
        >>> [[neighbour.number for neighbour in found] for found in neighbours(model, ["The bridge held."], corpus, 1)]
        [[1]]
    """
    queries = check_texts(queries)
    if not isinstance(corpus, Index):
        with TemporaryDirectory() as folder:
            part = part or default_part(model.config.model)
            return neighbours(model, queries, Index.build(model, corpus, Path(folder) / "index", part), count)
    if part not in (None, corpus.part):
        raise ValueError(f"part must be that of the index ({corpus.part}), got {part}. Build an index of that part.")
    encodings = list(iter_encode(model, queries, corpus.part, windows=True))
    matches = corpus.query(np.stack([encoding.code for encoding in encodings]), count)
    # A text among the nearest to a query is among the nearest to one of its windows.
    found: list[dict[int, float]] = [{} for _ in queries]
    for encoding, numbers, similarities in zip(encodings, *matches, strict=True):
        nearest = found[encoding.text]
        for number, similarity in zip(numbers.tolist(), similarities.tolist(), strict=True):
            nearest[number] = max(similarity, nearest.get(number, -1.0))
    return [
        [Neighbour(number, nearest[number]) for number in sorted(nearest, key=lambda n: (-nearest[n], n))[:count]]
        for nearest in found
    ]


def between(model: TextModel, start: str, end: str, corpus: Index, points: int = 7) -> list[Neighbour]:
    """Finds the text of a corpus that is nearest to each of equidistant points on the line between two texts.

    The line joins the parts of the codes that the index holds, for longer texts the means over their windows. With the
    topic part it leads from one topic to the other through texts that exist: points between two codes are decoded to
    mixtures of words, but the nearest text to each of them can be read.

    Args:
        model: any model.
        start: the text at the first point.
        end: the text at the last point.
        corpus: the texts to search.
        points: number of points, both ends included.

    Returns:
        The neighbour of each point.

    Raises:
        ValueError: if `points` is below 2, a text is blank, or the model has no such part.

    Example:
        >>> corpus = ["The rain began.", "The bridge held.", "Trade recovered."]
        >>> index = Index(model.encode(corpus), np.arange(3))
        >>> [found.number for found in between(model, corpus[0], corpus[2], index, points=2)]
        [0, 2]
    """
    ends: tuple[list, list] = ([], [])
    for encoding in iter_encode(model, check_texts([start, end]), corpus.part, windows=True):
        ends[encoding.text].append(encoding.code)
    first, last = (np.mean(end, axis=0) for end in ends)
    share = shares(points)[:, None]
    found = corpus.query((1 - share) * first + share * last, 1)
    return [Neighbour(int(n), float(s)) for n, s in zip(found.number[:, 0], found.similarity[:, 0], strict=True)]
