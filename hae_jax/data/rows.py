"""Texts to documents that a model can encode: sentences to rows of tokens, rows to windows; nothing is cut off."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

import numpy as np
from jaxtyping import Int

from hae_jax.config import DataConfig
from hae_jax.data.documents import Ids
from hae_jax.data.text import split_sentences
from hae_jax.data.tokenizer import Tokenizer

Items = TypeVar("Items", bound=Sequence | np.ndarray)


def divide(items: Items, most: int) -> list[Items]:
    """Divides a sequence into the fewest parts of at most `most` elements: of nearly equal lengths, the longer first.

    Example:
        >>> divide("abcdefghij", 4)
        ['abcd', 'efg', 'hij']
    """
    parts = -(-len(items) // most)
    size, longer = divmod(len(items), max(parts, 1))
    edges = [part * size + min(part, longer) for part in range(parts + 1)]
    return [items[start:end] for start, end in pairwise(edges)]  # type: ignore[misc]  # a slice has the same type


def split_rows(sentences: Sequence[Ids], config: DataConfig) -> list[Ids]:
    """Divides the sentences of a text into rows of at most `max_tokens` tokens; empty sentences have no row.

    Example:
        >>> split_rows([[5, 6, 7, 8, 9], [], [4]], DataConfig(max_tokens=3))
        [[5, 6, 7], [8, 9], [4]]
    """
    return [row for sentence in sentences for row in divide(sentence, config.max_tokens)]


def split_windows(rows: Sequence[Ids], config: DataConfig) -> list[Sequence[Ids]]:
    """Divides the rows of a text into documents of at most `max_sentences` rows, one after the other.

    They are of nearly the same length, so that none is a short remainder. If they would be shorter than
    `min_sentences`, all but the last have `max_sentences` rows: most rows are then used in training.

    Example:
        >>> split_windows([[4], [5], [6], [7], [8]], DataConfig(max_sentences=4))
        [[[4], [5], [6]], [[7], [8]]]
    """
    windows, most = divide(rows, config.max_sentences), config.max_sentences
    if min(map(len, windows), default=0) < config.min_sentences:
        return [rows[start : start + most] for start in range(0, len(rows), most)]
    return windows


def encode_text(
    texts: Sequence[str], tokenizer: Tokenizer, config: DataConfig, first: int = 1
) -> tuple[list[list[Int[np.ndarray, "_"]]], list[int]]:
    """Encodes texts of any length as documents of token ids.

    A sentence longer than `max_tokens` is continued in further rows. A text of more than `max_sentences` rows becomes
    several documents, its windows. The ids of all rows of all windows, concatenated, are those of the whole text.

    Args:
        texts: texts of any length.
        tokenizer: the run's tokenizer.
        config: `max_tokens`, `max_sentences` and `min_sentences` are used.
        first: number of the first text in error messages.

    Returns:
        The documents, each a list of rows without end marks; and for each the index of its text in `texts`.

    Raises:
        ValueError: if a text is blank.
    """
    documents, owners = [], []
    for index, text in enumerate(texts):
        rows = split_rows(tokenizer.encode_all(split_sentences(text)), config)
        if not rows:
            raise ValueError(f"text must hold at least one word, got {text!r} as text {first + index}. Remove it.")
        for window in split_windows(rows, config):
            documents.append([np.asarray(row, np.int32) for row in window])
            owners.append(index)
    return documents, owners
