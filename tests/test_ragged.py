"""Between tables of sentences and documents, there and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.documents import DOCUMENTS, batch

from hae_jax.models.ragged import (
    dense_tokens,
    flatten_tokens,
    from_dense,
    gather_documents,
    gather_rows,
    sentence_of_row,
    shift_right,
    split_buckets,
)

both = pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["eager", "jit"])


@both
def test_dense_words_are_the_documents(wrap):
    words = np.asarray(wrap(dense_tokens)(batch()))
    for d, document in enumerate([*DOCUMENTS, []]):
        for s in range(words.shape[1]):
            sentence = document[s] if s < len(document) else []
            assert words[d, s].tolist() == sentence + [0] * (words.shape[2] - len(sentence))


@both
def test_dense_words_make_the_same_documents_again(wrap):
    words = dense_tokens(batch())
    again = wrap(from_dense)(words)
    np.testing.assert_array_equal(dense_tokens(again), words)
    np.testing.assert_array_equal(again.row_index >= 0, np.asarray(batch().row_index) >= 0)


@both
def test_flat_words_have_no_gaps(wrap):
    words, sents = map(np.asarray, wrap(flatten_tokens)(batch()))
    for d, document in enumerate([*DOCUMENTS, []]):
        text = [word for sentence in document for word in sentence]
        assert words[d].tolist() == text + [0] * (words.shape[1] - len(text))
        assert sents[d, : len(text)].tolist() == [s for s, sentence in enumerate(document) for _ in sentence]


@both
def test_rows_and_documents_hold_the_same_things(wrap, rng):
    given = batch(order=lambda place: (-place[1], place[0]))
    values = jnp.asarray(rng.normal(size=(*given.row_index.shape, 5)), jnp.float32)
    rows = wrap(gather_rows)(values, given)
    back = np.asarray(wrap(gather_documents)(rows, given))
    real = np.asarray(given.row_index) >= 0
    np.testing.assert_array_equal(back, np.where(real[..., None], values, 0))
    place = np.asarray(wrap(sentence_of_row)(given))
    assert (place >= 0).sum() == real.sum()
    assert not np.asarray(rows)[place < 0].any()
    for d, s in zip(*np.nonzero(real), strict=True):
        assert place[given.row_index[d, s]] == d * given.row_index.shape[1] + s


def test_rows_are_cut_at_the_tables_edges():
    given = batch(widths=(2, 3, 7))
    stacked = jnp.arange(sum(map(len, given.buckets)))[:, None] * 1.0
    parts = split_buckets(stacked, given)
    assert [len(part) for part in parts] == [len(table) for table in given.buckets]
    assert (jnp.concatenate(parts) == stacked).all()


@pytest.mark.parametrize("shape", [(128, 1), (2, 64), (3, 5, 7), (11,)])
def test_shifting_survives_compilation(shape):
    """The usual idiom, `.at[1:].set(words[:-1])`, gives wrong numbers under jit on CPUs (openxla/xla#49176)."""
    words = np.arange(1, 1 + np.prod(shape), dtype=np.int32).reshape(shape)
    expected = np.concatenate([np.zeros_like(words[..., :1]), words[..., :-1]], axis=-1) + 1
    shifted = jax.jit(lambda x: (shift_right(x + 1 - 1) + 1).reshape(-1))(jnp.asarray(words))
    np.testing.assert_array_equal(shifted, expected.ravel())
