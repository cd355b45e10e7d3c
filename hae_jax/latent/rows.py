"""Rows of token ids: from codes and from sentence vectors, and back.

A sentence is a row, or several if it is long (`hae_jax.data.rows`). A document is a list of rows, without end marks.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from hae_jax.batch import EOD, EOS, PAD, UNK, Batch
from hae_jax.data.documents import Ids
from hae_jax.data.rows import split_windows
from hae_jax.data.stream import StreamBatcher
from hae_jax.inference.decode_loop import bind, mask_pad, scan_until
from hae_jax.inference.decoding import GREEDY, Decoding
from hae_jax.inference.generate import split
from hae_jax.inference.teacher_forcing import encode
from hae_jax.inference.text_batches import DOCS, TextModel, Windows
from hae_jax.inference.texts import iter_decode
from hae_jax.models.outputs import Code

Document = Sequence[Ids]
"""The token ids of the rows of a document, without end marks; at least one row."""

ROWS = 256
"""Sentence vectors that are decoded at a time."""


def check_hierarchical(model: TextModel) -> None:
    """Checks that a model has sentence vectors.

    Raises:
        ValueError: if it is flat.
    """
    kind = model.config.model.kind
    if kind == "flat":
        raise ValueError("model.kind must be hierarchical for sentence vectors, got flat. Use interpolate or decode.")


def decode_codes(model: TextModel, codes: Float[np.ndarray, "text code"]) -> Iterator[list[list[int]]]:
    """Decodes codes greedily to rows.

    Raises:
        ValueError: if the codes have another shape or are not finite, or the model has attention or is flat.
    """
    check_hierarchical(model)
    iter_decode(model, codes)  # checks the codes
    data = model.config.data

    def decoded() -> Iterator[list[list[int]]]:
        limit = data.max_sentences * (data.max_tokens + 1)
        for start in range(0, len(codes), DOCS):
            part = codes[start : start + DOCS]
            padded = np.pad(part, ((0, min(DOCS, len(codes)) - len(part)), (0, 0)))
            code = Code(jnp.asarray(padded, model.config.model.dtype))
            for document in split(GREEDY(model.module, model.params, code, limit))[: len(part)]:
                yield [row[: data.max_tokens] for row in document[: data.max_sentences]] or [[]]

    return decoded()


def decode_vectors(model: TextModel, vectors: Float[np.ndarray, "row vec"]) -> Iterator[list[int]]:
    """Decodes sentence vectors greedily, each by itself, to at most `max_tokens` tokens; end marks are omitted."""
    for start in range(0, len(vectors), ROWS):
        part = vectors[start : start + ROWS]
        padded = jnp.asarray(np.pad(part, ((0, ROWS - len(part)), (0, 0))), model.config.model.dtype)
        rows = np.asarray(_decode_vectors(model.module, model.params, padded, model.config.data.max_tokens))
        yield from ([token for token in row if token == UNK or token > EOD] for row in rows[: len(part)].tolist())


def encode_rows(model: TextModel, documents: Sequence[Document]) -> Float[np.ndarray, "text code"]:
    """Encodes documents; their last rows end with EOD, the others with EOS."""
    codes = []
    for batch, count in _batches(model, documents):
        codes.append(np.asarray(encode(model.module, model.params, batch).document[:count], np.float32))
    return np.concatenate(codes)


def recode(model: TextModel, documents: Iterable[Document], decoding: Decoding) -> list[str]:
    """Encodes documents of any number of rows and returns the texts that their codes are decoded to."""
    windows, owners = [], []
    for owner, document in enumerate(documents):
        for window in split_windows(document, model.config.data):
            windows.append(window)
            owners.append(owner)
    return list(iter_decode(model, Windows(encode_rows(model, windows), np.array(owners)), decoding))


def embed_rows(model: TextModel, documents: Sequence[Document]) -> list[Float[np.ndarray, "_ vec"]]:
    """Returns the encoder's vectors of the rows of documents.

    Raises:
        ValueError: if the model is flat.
    """
    check_hierarchical(model)
    found: list[np.ndarray] = []
    for batch, count in _batches(model, documents):
        found.extend(np.asarray(_embed(model.module, model.params, batch), np.float32)[:count])
    return [vectors[: len(document)] for vectors, document in zip(found, documents, strict=True)]


def _batches(model: TextModel, documents: Sequence[Document]) -> Iterator[tuple[Batch, int]]:
    batcher = StreamBatcher(model.config.data)
    for start in range(0, len(documents), DOCS):
        part = documents[start : start + DOCS]
        yield batcher.batch(part), len(part)


@partial(jax.jit, static_argnums=0)
def _embed(module: nn.Module, params: PyTree, batch: Batch) -> Float[Array, "doc sent vec"]:
    return bind(module, params, "embed_sentences")(batch)


@partial(jax.jit, static_argnums=(0, 3))
def _decode_vectors(
    module: nn.Module, params: PyTree, vectors: Float[Array, "row vec"], tokens: int
) -> Int[Array, "row token"]:
    decode_token = bind(module, params, "decode_token")

    def advance(carry, position):
        states, token, ended = carry
        states, logits = decode_token(states, token, vectors)
        token = jnp.where(ended, PAD, mask_pad(logits).argmax(-1).astype(jnp.int32))
        return (states, token, ended | (token == EOS) | (token == EOD)), token

    padding = jnp.full(len(vectors), PAD, jnp.int32)
    initial = bind(module, params, "init_word_state")(vectors), padding, jnp.zeros(len(vectors), bool)
    return scan_until(advance, lambda carry: carry[2].all(), initial, tokens)[1].T
