"""Texts as batches of windows, and what the windows of a text have in common.

A text longer than one code is several documents, its windows, one after the other (`hae_jax.data.rows`).
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import flax.linen as nn
import numpy as np
from jaxtyping import Float, Int, PyTree

from hae_jax.batch import Batch
from hae_jax.config import Config
from hae_jax.data import Tokenizer, encode_text
from hae_jax.data.stream import StreamBatcher

DOCS = 64
"""Windows of a batch."""

Value = TypeVar("Value")


@runtime_checkable
class TextModel(Protocol):
    """A model of texts with all that it needs, as `hae_jax.trained.TrainedModel`."""

    @property
    def config(self) -> Config:
        """The config it was trained with."""

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer it was trained with."""

    @property
    def module(self) -> nn.Module:
        """An autoencoder of `hae_jax.models`."""

    @property
    def params(self) -> PyTree:
        """Its parameters."""


class Windows(NamedTuple):
    """The codes of whole texts, one per window.

    Attributes:
        codes: float32; the windows of a text follow each other.
        text: the index of the text that each code belongs to.
    """

    codes: Float[np.ndarray, "window code"]
    text: Int[np.ndarray, "window"]


class EncodedText(NamedTuple):
    """A text as token ids: its number, from 0, and its windows, each a list of rows."""

    source: str
    number: int
    windows: list[list[Int[np.ndarray, "_"]]]


def check_texts(texts: Any, first: int = 1) -> list[str]:
    """Returns texts as a list.

    Args:
        texts: texts of any length.
        first: number of the first text, for error messages.

    Raises:
        ValueError: if `texts` is one string, is not iterable, is empty, or holds a blank text or anything but strings.

    Example:
        >>> check_texts("One text.")
        Traceback (most recent call last):
        ValueError: texts must be a list of strings, got one string. Write [text].
    """
    if isinstance(texts, str | bytes):
        raise ValueError("texts must be a list of strings, got one string. Write [text].")
    if not isinstance(texts, Iterable):
        raise ValueError(f"texts must be a list of strings, got {type(texts).__name__}. Use a list.")
    checked: list[str] = []
    for number, text in enumerate(texts, first):
        if not isinstance(text, str):
            raise ValueError(f"texts must be a list of strings, got {type(text).__name__} as text {number}. Use str.")
        if not text.strip():
            raise ValueError(f"text must hold at least one word, got {text!r} as text {number}. Remove it.")
        checked.append(text)
    if not checked:
        raise ValueError("texts must hold at least one text, got none. Add some text.")
    return checked


def run_lengths(windows: Windows) -> list[int]:
    """Returns the numbers of consecutive codes that belong to the same text."""
    text = np.asarray(windows.text)
    if text.shape != (len(windows.codes),) or text.dtype.kind not in "iu":
        raise ValueError(
            f"text must hold a whole number for each of {len(windows.codes)} codes, got {text.dtype} of shape "
            f"{list(text.shape)}. Use what encode returned together with the codes."
        )
    starts = np.flatnonzero(np.diff(text, prepend=text[:1] - 1))
    return np.diff(starts, append=len(text)).tolist()


def by_text(found: Iterator[tuple[EncodedText, Value]]) -> Iterator[tuple[EncodedText, list[Value]]]:
    """Collects the values of all windows of each text; none of the next text is awaited."""
    for text, value in found:
        yield text, [value, *(each for _, each in islice(found, len(text.windows) - 1))]


def batches(
    model: TextModel, texts: Iterable[str], every: bool = True
) -> Iterator[tuple[list[EncodedText], list[list[Int[np.ndarray, "_"]]], Batch]]:
    """Yields windows of texts in parts of `DOCS`: their texts, their ids, and their batch.

    Args:
        model: any model.
        texts: texts of any length.
        every: False for the first window of each text only.
    """
    batcher = StreamBatcher(model.config.data)
    windows = ((text, window) for text in encode_texts(model, texts) for window in text.windows[: None if every else 1])
    while part := list(islice(windows, DOCS)):
        documents = [window for _, window in part]
        yield [text for text, _ in part], documents, batcher.batch(documents)


def encode_texts(model: TextModel, texts: Iterable[str]) -> Iterator[EncodedText]:
    """Encodes texts as token ids.

    Raises:
        ValueError: if there is no text, or, when it is reached, if one is blank or no string.
    """
    if isinstance(texts, str | bytes):
        check_texts(texts)
    number = 0
    for number, text in enumerate(texts, 1):
        windows, _ = encode_text(check_texts([text], number), model.tokenizer, model.config.data, number)
        yield EncodedText(text, number - 1, windows)
    if not number:
        check_texts([])
