"""Between a batch's tables of sentences and its documents."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from hae_jax.batch import PAD, Batch


def sentence_mask(batch: Batch) -> Bool[Array, "doc sent"]:
    """Returns True where a document has a sentence."""
    return batch.row_index >= 0


def num_rows(batch: Batch) -> int:
    """Counts the rows of all tables, spare ones included."""
    return sum(len(table) for table in batch.buckets)


def sentence_of_row(batch: Batch) -> Int[Array, "row"]:
    """Returns for each row of the stacked tables the sentence it holds, as doc * sents + sent; -1 for a spare row."""
    spare = num_rows(batch)
    targets = jnp.where(batch.row_index < 0, spare, batch.row_index).ravel()
    return jnp.full(spare, -1).at[targets].set(jnp.arange(batch.row_index.size), mode="drop")


def gather_documents(values: Float[Array, "row feat"], batch: Batch) -> Float[Array, "doc sent feat"]:
    """Takes what belongs to rows to the sentences of the documents; zeros where there is no sentence."""
    real = sentence_mask(batch)
    return jnp.where(real[..., None], values[jnp.where(real, batch.row_index, 0)], 0)


def gather_rows(values: Float[Array, "doc sent feat"], batch: Batch) -> Float[Array, "row feat"]:
    """Takes what belongs to the sentences of the documents to rows; zeros at spare rows."""
    place = sentence_of_row(batch)
    flat = values.reshape(-1, values.shape[-1])
    return jnp.where(place[:, None] >= 0, flat[jnp.maximum(place, 0)], 0)


def split_buckets(values: Shaped[Array, "*batch row feat"], batch: Batch) -> list[Shaped[Array, "*batch part feat"]]:
    """Cuts what belongs to the stacked rows into the tables' shares."""
    ends = [sum(len(table) for table in batch.buckets[: k + 1]) for k in range(len(batch.buckets) - 1)]
    return jnp.split(values, ends, axis=-2)


def dense_tokens(batch: Batch) -> Int[Array, "doc sent word"]:
    """Lays the words out as documents of sentences, all as wide as the widest table."""
    width = max(table.shape[1] for table in batch.buckets)
    stacked = jnp.concatenate([jnp.pad(t, ((0, 0), (0, width - t.shape[1]))) for t in batch.buckets])
    real = sentence_mask(batch)
    return jnp.where(real[..., None], stacked[jnp.where(real, batch.row_index, 0)], PAD)


def from_dense(words: Int[Array, "doc sent word"]) -> Batch:
    """Turns documents of sentences, all of one width, into a batch of a single table."""
    docs, sents, width = words.shape
    rows = jnp.arange(docs * sents, dtype=jnp.int32).reshape(docs, sents)
    return Batch((words.reshape(docs * sents, width),), jnp.where((words != PAD).any(-1), rows, -1))


def flatten_tokens(batch: Batch) -> tuple[Int[Array, "doc word"], Int[Array, "doc word"]]:
    """Lays each document out as one sequence without gaps.

    Returns:
        The word ids, and for each the index of its sentence.
    """
    words = dense_tokens(batch)
    docs, sents, width = words.shape
    words = words.reshape(docs, sents * width)
    order = jnp.argsort(words == PAD, axis=1, stable=True)
    return jnp.take_along_axis(words, order, axis=1), order // width


def shift_right(words: Int[Array, "*batch word"]) -> Int[Array, "*batch word"]:
    """Returns what the decoder reads when it has to say `words`: PAD, which stands for "start", then all but the last.

    By padding, since shifting with `.at[1:].set` is miscompiled on CPUs (openxla/xla#49176).
    """
    return jnp.pad(words, [(0, 0)] * (words.ndim - 1) + [(1, 0)])[..., :-1]
