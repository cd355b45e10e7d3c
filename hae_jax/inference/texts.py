"""Texts to codes and codes to texts, `DOCS` at a time, for any number of texts.

These functions are iterators: they take texts as they need them and keep nothing, so that there may be more texts than
memory holds. `hae_jax.TrainedModel` has the same for lists.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any, NamedTuple, Protocol, runtime_checkable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from hae_jax.batch import Batch
from hae_jax.config import Config
from hae_jax.data import Tokenizer, encode_text
from hae_jax.data.bucketing import ROWS
from hae_jax.data.stream import StreamBatcher
from hae_jax.data.text import join_sentences
from hae_jax.inference.decode_loop import bind
from hae_jax.inference.decoding import GREEDY, Decoding
from hae_jax.inference.generate import split
from hae_jax.inference.teacher_forcing import encode, score
from hae_jax.models.outputs import Code

DOCS = 64
"""Documents of a batch."""


@runtime_checkable
class TextModel(Protocol):
    """A model of texts with all that it needs, as `hae_jax.trained.TrainedModel`."""

    @property
    def config(self) -> Config:
        """The config it was trained with; what exceeds `data.max_sentences` or `data.max_tokens` is cut off."""

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer it was trained with."""

    @property
    def module(self) -> nn.Module:
        """An autoencoder of `hae_jax.models`."""

    @property
    def params(self) -> PyTree:
        """Its parameters."""


class Encoding(NamedTuple):
    """The code of a text.

    Attributes:
        code: float32.
        truncated: whether the text exceeded the limits of the model, which encoded only its beginning.
    """

    code: Float[np.ndarray, "code"]
    truncated: bool


class Reconstruction(NamedTuple):
    """A text and its reconstruction.

    Attributes:
        source: the text as given.
        reconstruction: the text decoded from its code.
        truncated: whether the text exceeded the limits of the model, which encoded only its beginning.
        words: tokens that were encoded.
    """

    source: str
    reconstruction: str
    truncated: bool
    words: int


def check_texts(texts: Any, first: int = 1) -> list[str]:
    """Returns texts as a list.

    Args:
        texts: one document each.
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


def check_decoding(decoding: Any) -> None:
    """Checks that a decoding method is one.

    Raises:
        ValueError: if it is a class or a name instead of an object.

    Example:
        >>> check_decoding("beam")
        Traceback (most recent call last):
        ValueError: decoding must be a Greedy, Sampling or BeamSearch, got 'beam'. Use BeamSearch(4), for example.
    """
    if isinstance(decoding, type) or not callable(decoding):
        got = decoding.__name__ if isinstance(decoding, type) else repr(decoding)
        raise ValueError(
            f"decoding must be a Greedy, Sampling or BeamSearch, got {got}. Use BeamSearch(4), for example."
        )


def iter_encode(model: TextModel, texts: Iterable[str]) -> Iterator[Encoding]:
    """Encodes texts.

    Yields:
        The code of each text, in order. With attention the decoder needs more than the code; see `iter_decode`.

    Raises:
        ValueError: if there is no text, or, when it is reached, if one is blank or no string.
    """
    for _, batch, documents, truncated in _batches(model, texts):
        code = encode(model.module, model.params, batch)
        yield from map(Encoding, np.asarray(code.document[: len(documents)], np.float32), truncated)


def iter_embed_sentences(model: TextModel, texts: Iterable[str]) -> Iterator[Float[np.ndarray, "sent vec"]]:
    """Encodes the sentences of texts, each by itself.

    Yields:
        The sentence vectors of each text, in order.

    Raises:
        ValueError: as `iter_encode`, or if the model is flat.
    """
    if model.config.model.kind == "flat":
        raise ValueError("model.kind must be hierarchical to embed sentences, got flat. Use encode.")
    for _, batch, documents, _ in _batches(model, texts):
        vectors = np.asarray(_embed_sentences(model.module, model.params, batch), np.float32)
        yield from (vector[: len(document)] for vector, document in zip(vectors, documents, strict=False))


def iter_log_likelihood(model: TextModel, texts: Iterable[str]) -> Iterator[float]:
    """Scores texts, teacher-forced, each decoded from its own code.

    Yields:
        The mean log-likelihood of each text's tokens, end marks included, in nats per token.

    Raises:
        ValueError: as `iter_encode`.
    """
    for _, batch, documents, _ in _batches(model, texts):
        code = encode(model.module, model.params, batch)
        scores = jax.device_get(score(model.module, model.params, code, batch))
        doc, nll = scores.doc[scores.mask], scores.nll[scores.mask].astype(np.float64)
        total, count = (np.bincount(doc, weights, len(documents)) for weights in (nll, None))
        yield from (-total / count)[: len(documents)].tolist()


def iter_decode(model: TextModel, codes: np.ndarray, decoding: Decoding = GREEDY) -> Iterator[str]:
    """Decodes codes.

    Args:
        model: a model without attention.
        codes: [text, code], encoded by the same model, or near such codes.
        decoding: how tokens are chosen.

    Returns:
        The text of each code, in order.

    Raises:
        ValueError: if the codes have another shape or are not finite, or the model has attention.
    """
    check_decoding(decoding)
    data = model.config.data
    like = jax.eval_shape(
        lambda batch: encode(model.module, model.params, batch),
        Batch((jnp.zeros((ROWS, data.max_tokens + 1), int),), jnp.zeros((1, data.max_sentences), int)),
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
            "Encode texts with the same model."
        )
    if not np.isfinite(codes).all():
        raise ValueError("codes must be finite, got nan or infinity. Encode the texts anew.")

    def decoded() -> Iterator[str]:
        docs = min(DOCS, len(codes))
        for start in range(0, len(codes), DOCS):
            part = codes[start : start + DOCS]
            padded = np.pad(part, ((0, docs - len(part)), (0, 0)))
            code = Code(jnp.asarray(padded, like.document.dtype))
            yield from decode_batch(model, code, len(part), decoding, start // DOCS)

    return decoded()


def iter_reconstruct(model: TextModel, texts: Iterable[str], decoding: Decoding = GREEDY) -> Iterator[Reconstruction]:
    """Encodes texts and decodes their codes.

    Args:
        model: any model, also with attention.
        texts: one document each.
        decoding: how tokens are chosen.

    Yields:
        The reconstruction of each text, in order.

    Raises:
        ValueError: as `iter_encode`.
    """
    check_decoding(decoding)
    for number, (part, batch, documents, truncated) in enumerate(_batches(model, texts)):
        code = encode(model.module, model.params, batch)
        outputs = decode_batch(model, code, len(part), decoding, number)
        words = (sum(map(len, document)) for document in documents)
        yield from map(Reconstruction, part, outputs, truncated, words)


def decode_batch(model: TextModel, code: Code, count: int, decoding: Decoding, part: int) -> list[str]:
    """Decodes the first `count` codes of a batch, the batch number `part` of its call."""
    limit = model.config.data.max_sentences * (model.config.data.max_tokens + 1)
    documents = split(decoding(model.module, model.params, code, limit, part))[:count]
    return [join_sentences(model.tokenizer.decode(sentence) for sentence in document) for document in documents]


@partial(jax.jit, static_argnums=0)
def _embed_sentences(module: nn.Module, params: PyTree, batch: Batch) -> Float[Array, "doc sent vec"]:
    return bind(module, params, "embed_sentences")(batch)


def _batches(
    model: TextModel, texts: Iterable[str]
) -> Iterator[tuple[list[str], Batch, list[list[Int[np.ndarray, "token"]]], list[bool]]]:
    """Yields texts in parts of `DOCS`: the texts, their batch, their token ids, and which of them were cut off."""
    if isinstance(texts, str | bytes):
        check_texts(texts)
    batcher, rest, first = StreamBatcher(model.config.data), iter(texts), 1
    while part := list(islice(rest, DOCS)):
        documents, truncated = encode_text(check_texts(part, first), model.tokenizer, model.config.data, first)
        yield part, batcher.batch(documents), documents, truncated
        first += len(part)
    if first == 1:
        check_texts([])
