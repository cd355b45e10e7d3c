"""Texts through a trained model: to codes, back from codes, and along the way between two of them."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, PyTree

from hae_jax.batch import Batch
from hae_jax.config import DataConfig
from hae_jax.data.batches import StreamBatcher, encode_text
from hae_jax.data.bucketing import ROWS
from hae_jax.data.text import Tokenizer
from hae_jax.inference.decoding import GREEDY, Decoding
from hae_jax.inference.evaluate import join
from hae_jax.inference.generate import split
from hae_jax.inference.teacher_forcing import encode as encode_batch
from hae_jax.models.outputs import Code

DOCS = 64
"""Documents that go through the model at once."""


class Encoding(NamedTuple):
    """What became of a text.

    Attributes:
        code: its code, of as many float32 numbers as the model's codes have.
        truncated: whether the model has no room for the whole text, and read only its beginning.
    """

    code: Float[np.ndarray, "code"]
    truncated: bool


class Reconstruction(NamedTuple):
    """A text and what came back of it.

    Attributes:
        source: the text as given.
        reconstruction: what the decoder made of its code.
        truncated: whether the model has no room for the whole text, and read only its beginning.
        words: how many words the model read, as its tokenizer counts them.
    """

    source: str
    reconstruction: str
    truncated: bool
    words: int


def encode(
    model: nn.Module, params: PyTree, tokenizer: Tokenizer, config: DataConfig, texts: Iterable[str]
) -> Float[np.ndarray, "doc code"]:
    """Turns texts into codes.

    Args:
        model: an autoencoder of `hae_jax.models`.
        params: its parameters.
        tokenizer: the one it was trained with.
        config: the data it was trained on; what exceeds `max_sentences` or `max_tokens` is cut off.
        texts: one document each.

    Returns:
        One float32 row a text. With attention that is not all the decoder reads, see `decode`.

    Raises:
        ValueError: if there is no text, or a blank one.
    """
    return np.stack([encoding.code for encoding in encodings(model, params, tokenizer, config, texts)])


def encodings(
    model: nn.Module, params: PyTree, tokenizer: Tokenizer, config: DataConfig, texts: Iterable[str]
) -> Iterator[Encoding]:
    """Does what `encode` does text by text, taking them as they are needed, `DOCS` at a time.

    Yields:
        What became of each text, in their order.
    """
    room = StreamBatcher(config)
    for part, documents, truncated in read(texts, tokenizer, config):
        code = encode_batch(model, params, room.batch(documents))
        yield from map(Encoding, np.asarray(code.document[: len(part)], np.float32), truncated)


def decode(
    model: nn.Module,
    params: PyTree,
    tokenizer: Tokenizer,
    config: DataConfig,
    codes: np.ndarray,
    decoding: Decoding = GREEDY,
) -> Iterator[str]:
    """Turns codes into texts, `DOCS` at a time, each part when it is its turn.

    Args:
        model: an autoencoder of `hae_jax.models`, without attention.
        params: its parameters.
        tokenizer: the one it was trained with.
        config: the data it was trained on.
        codes: what `encode` returned, or anything near it.
        decoding: how words are chosen.

    Returns:
        The text of each code, in their order.

    Raises:
        ValueError: if the codes are not of the model's size or not finite, or the model has attention.
    """
    like = jax.eval_shape(
        lambda params, batch: encode_batch(model, params, batch),
        params,
        Batch((jnp.zeros((ROWS, config.max_tokens + 1), int),), jnp.zeros((1, config.max_sentences), int)),
    )
    if like.memory is not None:
        raise ValueError(
            "codes must come with the encoder's sentence states for a model with attention, got codes alone. "
            "Reconstruct the texts instead, or train with model.attention off."
        )
    size = like.document.shape[1]
    if codes.ndim != 2 or codes.shape[1] != size or codes.dtype.kind not in "fiu":
        raise ValueError(
            f"codes must be numbers of shape [any, {size}], got {codes.dtype} of shape {list(codes.shape)}. "
            "Encode texts with this very model."
        )
    if not np.isfinite(codes).all():
        raise ValueError("codes must be finite, got nan or infinity. Encode the texts anew.")

    def said() -> Iterator[str]:
        docs = min(DOCS, len(codes))
        for start in range(0, len(codes), DOCS):
            part = codes[start : start + DOCS]
            padded = np.pad(part, ((0, docs - len(part)), (0, 0)))
            code = Code(jnp.asarray(padded, like.document.dtype))
            yield from write(model, params, tokenizer, config, code, len(part), decoding, start // DOCS)

    return said()


def reconstruct(
    model: nn.Module,
    params: PyTree,
    tokenizer: Tokenizer,
    config: DataConfig,
    texts: Iterable[str],
    decoding: Decoding = GREEDY,
) -> Iterator[Reconstruction]:
    """Puts texts through their codes and back; see `encode` and `decode`, whose arguments these are.

    Texts are taken as they are needed, `DOCS` at a time, and what is done is forgotten: there may be more of them than
    memory holds.

    Yields:
        What became of each text, in their order.

    Raises:
        ValueError: if there is no text, or, when it is its turn, a blank one.
    """
    room = StreamBatcher(config)
    for number, (part, documents, truncated) in enumerate(read(texts, tokenizer, config)):
        code = encode_batch(model, params, room.batch(documents))
        outputs = write(model, params, tokenizer, config, code, len(part), decoding, number)
        words = (sum(map(len, document)) for document in documents)
        yield from map(Reconstruction, part, outputs, truncated, words)


def interpolate(
    model: nn.Module,
    params: PyTree,
    tokenizer: Tokenizer,
    config: DataConfig,
    start: str,
    end: str,
    points: int = 7,
    decoding: Decoding = GREEDY,
) -> list[str]:
    """Decodes points at equal distances on the line between the codes of two texts, both ends included.

    Args:
        model: an autoencoder of `hae_jax.models`, without attention.
        params: its parameters.
        tokenizer: the one it was trained with.
        config: the data it was trained on.
        start: the text to begin with.
        end: the text to arrive at.
        points: number of texts to return.
        decoding: how words are chosen.

    Raises:
        ValueError: if `points` is below 2, a text is blank, or the model has attention.
    """
    if points < 2:
        raise ValueError(f"points must be at least 2, got {points}. Both ends are points.")
    first, last = encode(model, params, tokenizer, config, [start, end])
    share = np.linspace(0, 1, points, dtype=np.float32)[:, None]
    return list(decode(model, params, tokenizer, config, (1 - share) * first[None] + share * last[None], decoding))


def read(
    texts: Iterable[str], tokenizer: Tokenizer, config: DataConfig
) -> Iterator[tuple[list[str], list[list[Int[np.ndarray, "word"]]], list[bool]]]:
    """Cuts texts into parts, and turns them into ids; with each part comes which of its texts were cut off."""
    rest, first = iter(texts), 1
    while part := list(islice(rest, DOCS)):
        yield part, *encode_text(part, tokenizer, config, first)
        first += len(part)
    if first == 1:
        raise ValueError("texts must hold at least one text, got none. Give some text.")


def write(
    model: nn.Module,
    params: PyTree,
    tokenizer: Tokenizer,
    config: DataConfig,
    code: Code,
    count: int,
    decoding: Decoding,
    part: int,
) -> list[str]:
    """Turns the first `count` of some codes into texts."""
    limit = config.max_sentences * (config.max_tokens + 1)
    documents = split(decoding(model, params, code, limit, part))[:count]
    return [join(tokenizer.decode(sentence) for sentence in document) for document in documents]
