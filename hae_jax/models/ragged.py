"""Conversions between the rows of a batch's buckets and its documents."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from hae_jax.batch import PAD, Batch


def sentence_mask(batch: Batch) -> Bool[Array, "doc sent"]:
    """Returns True where a document has a sentence."""
    return batch.row_index >= 0


def num_rows(batch: Batch) -> int:
    """Counts the rows of all buckets, unused ones included."""
    return sum(len(bucket) for bucket in batch.buckets)


def sentence_of_row(batch: Batch) -> Int[Array, "row"]:
    """Returns for each row of the concatenated buckets its sentence, as doc * sents + sent; -1 for an unused row."""
    rows = num_rows(batch)
    targets = jnp.where(batch.row_index < 0, rows, batch.row_index).ravel()
    return jnp.full(rows, -1).at[targets].set(jnp.arange(batch.row_index.size), mode="drop")


def gather_documents(values: Float[Array, "row feat"], batch: Batch) -> Float[Array, "doc sent feat"]:
    """Gathers values of rows by document and sentence; zeros where there is no sentence."""
    mask = sentence_mask(batch)
    return jnp.where(mask[..., None], values[jnp.where(mask, batch.row_index, 0)], 0)


def gather_rows(values: Float[Array, "doc sent feat"], batch: Batch) -> Float[Array, "row feat"]:
    """Gathers values of sentences by row; zeros at unused rows."""
    sentence = sentence_of_row(batch)
    flat = values.reshape(-1, values.shape[-1])
    return jnp.where(sentence[:, None] >= 0, flat[jnp.maximum(sentence, 0)], 0)


def split_buckets(values: Shaped[Array, "*batch row feat"], batch: Batch) -> list[Shaped[Array, "*batch part feat"]]:
    """Splits values of the concatenated rows by bucket."""
    ends = [sum(len(bucket) for bucket in batch.buckets[: k + 1]) for k in range(len(batch.buckets) - 1)]
    return jnp.split(values, ends, axis=-2)


def dense_tokens(batch: Batch) -> Int[Array, "doc sent word"]:
    """Returns the token ids by document and sentence, padded to the width of the widest bucket."""
    width = max(bucket.shape[1] for bucket in batch.buckets)
    rows = jnp.concatenate([jnp.pad(bucket, ((0, 0), (0, width - bucket.shape[1]))) for bucket in batch.buckets])
    mask = sentence_mask(batch)
    return jnp.where(mask[..., None], rows[jnp.where(mask, batch.row_index, 0)], PAD)


def from_dense(tokens: Int[Array, "doc sent word"]) -> Batch:
    """Returns a batch of a single bucket, given dense token ids."""
    docs, sents, width = tokens.shape
    rows = jnp.arange(docs * sents, dtype=jnp.int32).reshape(docs, sents)
    return Batch((tokens.reshape(docs * sents, width),), jnp.where((tokens != PAD).any(-1), rows, -1))


def flatten_tokens(batch: Batch) -> tuple[Int[Array, "doc word"], Int[Array, "doc word"]]:
    """Concatenates the sentences of each document, without padding between them.

    Returns:
        The token ids, and for each the index of its sentence.
    """
    tokens = dense_tokens(batch)
    docs, sents, width = tokens.shape
    tokens = tokens.reshape(docs, sents * width)
    order = jnp.argsort(tokens == PAD, axis=1, stable=True)
    return jnp.take_along_axis(tokens, order, axis=1), order // width


def shift_right(tokens: Int[Array, "*batch word"]) -> Int[Array, "*batch word"]:
    """Returns the decoder's inputs for predicting `tokens`: PAD as the start token, then all tokens but the last.

    Implemented by padding, since `.at[1:].set` is miscompiled on CPUs (openxla/xla#49176).
    """
    return jnp.pad(tokens, [(0, 0)] * (tokens.ndim - 1) + [(1, 0)])[..., :-1]
