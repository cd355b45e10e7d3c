"""The sentences inside a code: vectors to compute with, and codes of what was computed.

The sentence decoder's own vectors are near those of the encoder, but not near enough to be encoded again, and each of
them holds an end mark: the last one that of the document. So a code is opened by decoding it and embedding the
sentences found, and vectors become a code by decoding them and encoding the sentences found, with the end marks of
their new places. See docs/latent.md for a measurement.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from hae_jax.data.rows import split_windows
from hae_jax.inference.text_batches import TextModel
from hae_jax.latent.rows import check_hierarchical, decode_codes, decode_vectors, embed_rows, encode_rows
from hae_jax.models.bridge import vector_size


def sentences(model: TextModel, codes: Float[np.ndarray, "text code"]) -> list[Float[np.ndarray, "_ vec"]]:
    """Returns the encoder's vectors of the sentences that codes are decoded to.

    Args:
        model: a hierarchical model without attention.
        codes: [text, code], as returned by `encode`, or near such codes.

    Returns:
        For each code the vector of each sentence, or of each row of a sentence longer than `data.max_tokens`.

    Raises:
        ValueError: if the codes have another shape or are not finite, or the model has attention or is flat.

    Example:
        >>> [vectors.shape[1] for vectors in sentences(model, model.encode(["The rain began. The bridge held."]))]
        [5]
    """
    return embed_rows(model, list(decode_codes(model, codes)))


def compose(model: TextModel, vectors: Sequence[Float[np.ndarray, "_ vec"]]) -> Float[np.ndarray, "text code"]:
    """Returns codes of documents with given sentence vectors.

    Each vector is decoded by itself, and the sentences found are encoded. So a vector may stand at any place, the end
    of the document is that of the last one, and a topic part of the code is that of the words found.

    Args:
        model: a hierarchical model.
        vectors: for each document the vectors of its sentences: those of `sentences` or `embed_sentences`, in any
            order, or points near them.

    Raises:
        ValueError: if a document has no sentence or more than `data.max_sentences`, its vectors have another size or
            are not finite, or the model is flat.

    Example:
        >>> (vectors,) = model.embed_sentences(["The rain began. The bridge held."])
        >>> compose(model, [vectors[::-1], vectors[:1], (vectors[:1] + vectors[1:]) / 2]).shape
        (3, 15)
    """
    check_hierarchical(model)
    config, most = model.config.model, model.config.data.max_sentences
    size = vector_size(config, config.hidden_dim)
    for document in vectors:
        if document.ndim != 2 or document.shape[1] != size or not 1 <= len(document) <= most:
            raise ValueError(
                f"vectors must be arrays of 1 to {most} rows of {size} numbers, got shape {list(document.shape)}. "
                "Use those of sentences or embed_sentences."
            )
        if not np.isfinite(document).all():
            raise ValueError("vectors must be finite, got nan or infinity. Check what was computed with them.")
    rows = decode_vectors(model, np.concatenate([np.zeros((0, size)), *vectors]).astype(np.float32))
    return encode_rows(model, [[next(rows) for _ in document] for document in vectors])


def rearrange(
    model: TextModel, codes: Float[np.ndarray, "text code"], order: Sequence[int] | None = None
) -> tuple[Float[np.ndarray, "window code"], list[str]]:
    """Returns the code of a text made of sentences of other codes: swapped, dropped, repeated, or from several texts.

    Args:
        model: a hierarchical model without attention.
        codes: the codes of one or more texts, [text, code].
        order: the sentences of the result, in order: numbers, from 0, of the sentences of all codes, one code after
            the other; all of them if None.

    Returns:
        The codes of the result: one if it has at most `data.max_sentences` sentences, else its windows; and the text
        of each sentence of the given codes.

    Raises:
        ValueError: as `sentences`, or if `order` is empty or has an index out of range.

    Example:
        >>> codes = model.encode(["The rain began. The bridge held.", "Trade recovered."])
        >>> rearrange(model, codes, [0])[0].shape
        (1, 15)
    """
    rows = [row for document in decode_codes(model, codes) for row in document]
    order = range(len(rows)) if order is None else order
    wrong = [number for number in order if not 0 <= number < len(rows)]
    if wrong or not len(order):
        raise ValueError(
            f"order must hold numbers of sentences, from 0 to {len(rows) - 1}, got {wrong[0] if wrong else 'none'}. "
            "Leave it out to see all sentences."
        )
    chosen = split_windows([rows[number] for number in order], model.config.data)
    return encode_rows(model, [list(window) for window in chosen]), [model.tokenizer.decode(row) for row in rows]
