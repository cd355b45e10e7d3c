"""Texts to codes and codes to texts, a batch of windows at a time, for any number of texts of any length.

These functions are iterators: they take texts as they need them and keep nothing, so that there may be more texts than
memory holds. `hae_jax.TrainedModel` has the same for lists.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain, islice
from typing import Any, Literal, NamedTuple, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from hae_jax.batch import Batch
from hae_jax.config import DataConfig, ModelConfig
from hae_jax.data.bucketing import ROWS
from hae_jax.inference import text_batches
from hae_jax.inference.decode_loop import bind
from hae_jax.inference.decoding import GREEDY, Decoding
from hae_jax.inference.generate import split
from hae_jax.inference.teacher_forcing import encode, score
from hae_jax.inference.text_batches import EncodedText, batches, by_text, run_lengths
from hae_jax.inference.text_batches import TextModel as TextModel
from hae_jax.inference.text_batches import Windows as Windows
from hae_jax.inference.text_batches import check_texts as check_texts
from hae_jax.models.outputs import Code

Part = Literal["all", "order", "topic"]
"""A part of a code: the units that hold the words in their order, those that hold their topic, or both."""


class Encoding(NamedTuple):
    """The code of a window of a text.

    Attributes:
        code: float32.
        text: index of the text.
        windows: number of windows of the text; above 1 the text exceeds one code.
    """

    code: Float[np.ndarray, "code"]
    text: int
    windows: int


class Reconstruction(NamedTuple):
    """A text and its reconstruction.

    Attributes:
        source: the text as given.
        reconstruction: the text decoded from its codes, one after the other.
        windows: number of codes.
        words: tokens that were encoded.
    """

    source: str
    reconstruction: str
    windows: int
    words: int


def check_decoding(decoding: Any) -> None:
    """Checks that a decoding method is one.

    Raises:
        ValueError: if it is a class or a name instead of an object.

    Example:
        >>> check_decoding("beam")
        Traceback (most recent call last):
        ValueError: decoding must be a decoding method, got 'beam'. Use BeamSearch(4), for example.
    """
    if isinstance(decoding, type) or not callable(decoding):
        got = decoding.__name__ if isinstance(decoding, type) else repr(decoding)
        raise ValueError(f"decoding must be a decoding method, got {got}. Use BeamSearch(4), for example.")


def check_part(config: ModelConfig, part: Any) -> None:
    """Checks that codes of a model have a part.

    Raises:
        ValueError: if it is the name of none, or the model has no topic part.

    Example:
        >>> check_part(ModelConfig(), "tpoic")
        Traceback (most recent call last):
        ValueError: part must be one of all, order, topic, got 'tpoic'. Use 'all' for the whole code.
    """
    if part not in get_args(Part):
        raise ValueError(
            f"part must be one of {', '.join(get_args(Part))}, got {part!r}. Use 'all' for the whole code."
        )
    if part == "topic" and not config.topic_dim:
        raise ValueError(
            "part must be all or order for a model without a topic part, got topic. "
            "Train one with model.topic_dim above 0."
        )


def code_part(config: ModelConfig, codes: Float[np.ndarray, "text code"], part: Part) -> Float[np.ndarray, "text _"]:
    """Returns a part of codes, each of which is [order | topic].

    Raises:
        ValueError: as `check_part`.

    Example:
        >>> code_part(ModelConfig(), np.zeros((2, 1024), np.float32), "order").shape
        (2, 1024)
    """
    check_part(config, part)
    order = codes.shape[1] - config.topic_dim
    return {"all": codes, "order": codes[:, :order], "topic": codes[:, order:]}[part]


def excess(longer: int, total: int, config: DataConfig) -> str:
    """Returns a sentence on texts of which one code holds a part.

    Example:
        >>> excess(2, 5, DataConfig(max_sentences=4, max_tokens=16))
        '2 of 5 texts exceed one code (4 rows of 16 tokens): the codes hold their beginnings.'
    """
    limits = f"{config.max_sentences} rows of {config.max_tokens} tokens"
    return f"{longer} of {total} texts exceed one code ({limits}): the codes hold their beginnings."


def iter_encode(
    model: TextModel, texts: Iterable[str], part: Part = "all", windows: bool = False
) -> Iterator[Encoding]:
    """Encodes texts.

    Args:
        model: any model.
        texts: texts of any length.
        part: the part of the codes to return; only whole codes can be decoded.
        windows: whether every window of a text is encoded, instead of the first.

    Yields:
        The code of each text, or of each window, in order. With attention the decoder needs more than the code; see
        `iter_decode`.

    Raises:
        ValueError: if the model has no such part; if there is no text, or, when it is reached, if one is blank or no
            string.
    """
    check_part(model.config.model, part)
    for owners, documents, batch in batches(model, texts, windows):
        code = encode(model.module, model.params, batch)
        found = code_part(model.config.model, np.asarray(code.document[: len(documents)], np.float32), part)
        for text, one in zip(owners, found, strict=True):
            yield Encoding(one, text.number, len(text.windows))


def iter_embed_sentences(model: TextModel, texts: Iterable[str]) -> Iterator[Float[np.ndarray, "row vec"]]:
    """Encodes the rows of texts, each by itself: a sentence is one row, or several if it is long.

    Yields:
        The vectors of the rows of each text, in order.

    Raises:
        ValueError: as `iter_encode`, or if the model is flat.
    """
    if model.config.model.kind == "flat":
        raise ValueError("model.kind must be hierarchical to embed sentences, got flat. Use encode.")

    def embedded() -> Iterator[tuple[EncodedText, np.ndarray]]:
        for owners, documents, batch in batches(model, texts):
            vectors = np.asarray(_embed_sentences(model.module, model.params, batch), np.float32)
            for text, document, vector in zip(owners, documents, vectors, strict=False):
                yield text, vector[: len(document)]

    for _, vectors in by_text(embedded()):
        yield np.concatenate(vectors)


def iter_log_likelihood(model: TextModel, texts: Iterable[str]) -> Iterator[float]:
    """Scores texts, teacher-forced, each window decoded from its own code.

    Yields:
        The mean log-likelihood of each text's tokens, end marks included, in nats per token.

    Raises:
        ValueError: as `iter_encode`.
    """

    def scored() -> Iterator[tuple[EncodedText, np.ndarray]]:
        for owners, documents, batch in batches(model, texts):
            code = encode(model.module, model.params, batch)
            scores = jax.device_get(score(model.module, model.params, code, batch))
            doc, nll = scores.doc[scores.mask], scores.nll[scores.mask].astype(np.float64)
            sums = [np.bincount(doc, weights, len(documents)) for weights in (nll, None)]
            yield from zip(owners, np.stack(sums, axis=1), strict=False)

    for _, sums in by_text(scored()):
        total, count = np.sum(sums, axis=0)
        yield float(-total / count)


def iter_decode(model: TextModel, codes: np.ndarray | Windows, decoding: Decoding = GREEDY) -> Iterator[str]:
    """Decodes codes.

    Args:
        model: a model without attention.
        codes: [text, code], encoded by the same model, or near such codes; or the windows of texts, which are joined.
        decoding: how tokens are chosen.

    Returns:
        The text of each code, or of the consecutive codes with the same index of a text, in order.

    Raises:
        ValueError: if the codes have another shape or are not finite, or the model has attention.
    """
    check_decoding(decoding)
    data, counts = model.config.data, None
    if isinstance(codes, Windows):
        counts = run_lengths(codes)
        codes = codes.codes
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

    def decoded() -> Iterator[list[int]]:
        docs = min(text_batches.DOCS, len(codes))
        for start in range(0, len(codes), text_batches.DOCS):
            part = codes[start : start + text_batches.DOCS]
            padded = np.pad(part, ((0, docs - len(part)), (0, 0)))
            code = Code(jnp.asarray(padded, like.document.dtype))
            yield from decode_batch(model, code, len(part), decoding, start // text_batches.DOCS)

    ids = decoded()
    return (_join(model, islice(ids, count)) for count in (counts or [1] * len(codes)))


def iter_reconstruct(model: TextModel, texts: Iterable[str], decoding: Decoding = GREEDY) -> Iterator[Reconstruction]:
    """Encodes texts and decodes their codes; the windows of a text are joined.

    Args:
        model: any model, also with attention.
        texts: texts of any length.
        decoding: how tokens are chosen.

    Yields:
        The reconstruction of each text, in order.

    Raises:
        ValueError: as `iter_encode`.
    """
    check_decoding(decoding)

    def decoded() -> Iterator[tuple[EncodedText, list[int]]]:
        for number, (owners, documents, batch) in enumerate(batches(model, texts)):
            code = encode(model.module, model.params, batch)
            yield from zip(owners, decode_batch(model, code, len(documents), decoding, number), strict=True)

    for text, ids in by_text(decoded()):
        words = sum(len(row) for window in text.windows for row in window)
        yield Reconstruction(text.source, _join(model, ids), len(text.windows), words)


def decode_batch(model: TextModel, code: Code, count: int, decoding: Decoding, part: int) -> list[list[int]]:
    """Decodes the first `count` codes of a batch, the batch number `part` of its call, to token ids without marks."""
    limit = model.config.data.max_sentences * (model.config.data.max_tokens + 1)
    documents = split(decoding(model.module, model.params, code, limit, part))[:count]
    return [list(chain.from_iterable(document)) for document in documents]


def _join(model: TextModel, windows: Iterable[list[int]]) -> str:
    """Returns the text of the ids of consecutive windows; a word may be divided between them."""
    return model.tokenizer.decode(chain.from_iterable(windows))


@partial(jax.jit, static_argnums=0)
def _embed_sentences(module: nn.Module, params: PyTree, batch: Batch) -> Float[Array, "doc sent vec"]:
    return bind(module, params, "embed_sentences")(batch)
