"""Rows and windows: whatever the length of sentences and texts, nothing is lost, and the text is joined exactly."""

from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hae_jax.config import DataConfig
from hae_jax.data.rows import divide, encode_text, split_rows, split_windows
from hae_jax.data.text import clean
from hae_jax.data.tokenizer import Tokenizer

CORPUS = ["The nation's farms, 12,000.5 of them, prosper.", "Über alles: the farms! Don't ask. 我来了。"]
BPE = Tokenizer.train(CORPUS, "bpe", 307)
LONG = " ".join(f"word{i % 37}" for i in range(500)) + "."
MANY = " ".join(f"Farm {i} prospers, and the nation rests." for i in range(400))
characters = st.characters() | st.sampled_from(" .!?\n\"'我é\u3000")


def ids_of(documents):
    return [int(i) for document in documents for row in document for i in row]


@given(st.lists(st.integers(), max_size=97), st.integers(1, 13))
def test_parts_are_few_and_equally_long(items, most):
    parts = divide(items, most)
    assert list(chain.from_iterable(parts)) == items
    assert len(parts) == -(-len(items) // most)
    lengths = [len(part) for part in parts]
    assert lengths == [len(part) for part in np.array_split(items, max(len(parts), 1)) if len(part)]
    assert not items or 0 < max(lengths) - 1 <= min(lengths) <= max(lengths) <= most or max(lengths) == 1


@given(
    st.lists(st.lists(st.integers(4, 99), max_size=31), max_size=23),
    st.integers(1, 7),
    st.integers(1, 5),
    st.integers(1, 5),
)
def test_rows_and_windows_hold_every_token_once(sentences, tokens, most, least):
    config = DataConfig(max_tokens=tokens, max_sentences=most, min_sentences=min(least, most))
    rows = split_rows(sentences, config)
    windows = split_windows(rows, config)
    assert all(0 < len(row) <= tokens for row in rows)
    assert all(0 < len(window) <= most for window in windows)
    assert list(chain.from_iterable(windows)) == rows
    assert list(chain.from_iterable(rows)) == list(chain.from_iterable(sentences))
    assert len(windows) == -(-len(rows) // most)
    # Of all divisions into this many windows, as many rows as in any other are used in training.
    used = sum(len(window) for window in windows if len(window) >= config.min_sentences)
    full, rest = divmod(len(rows), most)
    assert used >= full * most + (rest if rest >= config.min_sentences else 0)


def test_a_short_remainder_is_avoided_where_it_would_be_lost():
    lengths = {
        (rows, least): [len(w) for w in split_windows([[5]] * rows, DataConfig(max_sentences=4, min_sentences=least))]
        for rows, least in [(4, 2), (5, 2), (9, 2), (5, 3), (9, 4), (1, 2)]
    }
    assert lengths == {
        (4, 2): [4], (5, 2): [3, 2], (9, 2): [3, 3, 3], (5, 3): [4, 1], (9, 4): [4, 4, 1], (1, 2): [1],
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["word", "bpe"])
@pytest.mark.parametrize("text", [LONG, MANY], ids=["500 words", "400 sentences"])
def test_long_sentences_and_long_texts_are_whole(kind, text):
    tokenizer = Tokenizer.train([*CORPUS, LONG, MANY], kind, 997)
    documents, owners = encode_text(["Before.", text, "After."], tokenizer, DataConfig())
    assert owners == [0, *[1] * (len(documents) - 2), 2]
    inside = documents[1:-1]
    whole = tokenizer.encode(text)
    assert ids_of(inside) == whole
    assert len(inside) > 1
    assert tokenizer.decode(ids_of(inside)) == tokenizer.decode(whole)
    assert kind == "word" or tokenizer.decode(ids_of(inside)) == text


@given(st.text(characters, max_size=199), st.integers(1, 7), st.integers(1, 4))
def test_bytes_of_all_windows_are_the_text(text, tokens, sentences):
    words = clean(text).split()
    config = DataConfig(max_tokens=tokens, max_sentences=sentences, min_sentences=1)
    if words:
        documents, _ = encode_text([text], BPE, config)
        assert BPE.decode(ids_of(documents)) == " ".join(words)
    else:
        with pytest.raises(ValueError, match="must hold at least one word"):
            encode_text([text], BPE, config)


@pytest.mark.parametrize(
    "text",
    [
        "我来了。他看见了。我们走了。“是的。”好。",
        "彼は来た。私は見た。ありがとう。",
        'He said "Stop."Then he left.It rained...And "Who?" he said.',
        "Mixed CASE, and  spacing .",
    ],
)
def test_no_space_is_invented_and_case_is_kept(text):
    documents, _ = encode_text([text], BPE, DataConfig(max_tokens=5, max_sentences=2))
    assert BPE.decode(ids_of(documents)) == " ".join(text.split())


def test_a_blank_line_becomes_a_space():
    documents, _ = encode_text(["One.\n\nTwo\nthree."], BPE, DataConfig())
    assert BPE.decode(ids_of(documents)) == "One. Two three."
    assert len(documents[0]) == 2


def test_sentences_and_words_begin_rows_where_they_fit():
    tokenizer = Tokenizer.train(["a b c d e f g ."], "word", 97)
    config = DataConfig(max_sentences=2, max_tokens=4)
    texts = ["A b c.", "A b c d e f.", "A!\n\nB?\n\nC", "g"]
    documents, owners = encode_text(texts, tokenizer, config)
    decoded = [[tokenizer.decode(ids) for ids in document] for document in documents]
    assert decoded == [["a b c ."], ["a b c d", "e f ."], ["a <unk>", "b <unk>"], ["c"], ["g"]]
    assert owners == [0, 1, 2, 2, 3]


@pytest.mark.parametrize("blank", ["", " \n\n\t", "\ufeff"])
def test_blank_text_is_reported_with_its_number(blank):
    tokenizer = Tokenizer.train(["a b"], "word", 97)
    with pytest.raises(ValueError, match=r"must hold at least one word, got .* as text 2"):
        encode_text(["a", blank], tokenizer, DataConfig())
