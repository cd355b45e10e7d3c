"""The part of a text that one code represents, its division, and its words replaced."""

import numpy as np
import pytest
from support.random_corpus import WORDS, corpus

from benchmarks.learning.content.documents import (
    distinct,
    divided,
    first_windows,
    texts_of,
    with_replaced_words,
    word_starts,
)
from benchmarks.learning.content.labelled import Labelled
from hae_jax.config import DataConfig
from hae_jax.data import Corpus, Dataset, Tokenizer, prepare

WHOLE = np.ones(WORDS, bool)
"""Every token is a word."""
NAMES = ["peace", "trade", "harvest", "winter", "river", "bridge"]
TEXTS = [
    f"The {one} of {other} was long. It ended near {other}. Nobody saw the {one} again."
    for one in NAMES
    for other in NAMES
]
DATA = DataConfig(max_sentences=2, max_tokens=6, vocab_size=300, holdout=0.3)


@pytest.fixture(scope="module", params=["word", "bpe"])
def dataset(request, tmp_path_factory) -> tuple[Dataset, DataConfig]:
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "texts.csv").write_text("text\n" + "\n".join(f'"{text}"' for text in TEXTS), encoding="utf-8")
    data = DataConfig(**vars(DATA) | {"corpus": str(folder / "texts.csv"), "tokenizer": request.param})
    return prepare(data, folder / "data"), data


def rows(documents):
    return [[row.tolist() for row in documents.document(number)] for number in range(len(documents))]


def test_the_division_is_that_of_the_training(dataset):
    data, config = dataset
    texts = [Labelled(text, text, {"number": str(at)}) for at, text in enumerate(TEXTS)]
    train, test = divided(texts, data.tokenizer, config, data, (1000, 1000))
    assert len(train) + len(test) == len(TEXTS)
    assert 5 < len(test) < 15
    # The first window of a held-out text is a held-out document.
    assert all(document in rows(data.heldout) for document in rows(test.corpus))
    assert all(document in rows(data.train) for document in rows(train.corpus))
    shown = [TEXTS[int(number)] for number in test.labels["number"]]
    assert shown == test.groups
    found = texts_of(test.corpus, data.tokenizer)
    assert all(text.lower().startswith(part.lower().split(" .")[0]) for text, part in zip(shown, found, strict=True))


def test_a_division_of_the_texts_themselves_is_kept(dataset):
    data, config = dataset
    texts = [Labelled(text, text, {"topic": "a"}, test=at % 3 == 0) for at, text in enumerate(TEXTS)]
    train, test = divided(texts, data.tokenizer, config, data, (10, 1000))
    assert (len(train), len(test)) == (10, 12)
    assert test.groups == TEXTS[::3]


def test_texts_that_the_model_was_not_trained_with_are_refused(dataset):
    data, config = dataset
    with pytest.raises(ValueError, match=r"texts must be those that the model was trained with, got 0 .* among 1\."):
        divided([Labelled("A new text. It is short.", "a", {})], data.tokenizer, config, data, (9, 9))


def test_the_first_window_of_each_text_is_its_beginning():
    tokenizer = Tokenizer.train(TEXTS, "bpe", 300)
    long = " ".join(TEXTS[:3])
    for text, window in zip([TEXTS[0], long], first_windows([TEXTS[0], long], tokenizer, DATA), strict=True):
        assert 1 <= len(window) <= DATA.max_sentences
        assert text.startswith(tokenizer.decode(token for row in window for token in row))


def test_documents_that_are_alike_are_searched_once():
    text = corpus(50)
    double = Corpus.from_documents([text.document(number) for number in [*range(50), *range(50)]])
    assert rows(distinct(double, 1000)) == rows(distinct(text, 1000))
    assert len(distinct(text, 7)) == 7


@pytest.mark.parametrize("number", [1, 2, 4])
def test_as_many_words_are_replaced_as_asked_for_and_rows_keep_their_lengths(number):
    text = corpus(200)
    new = with_replaced_words(text, number, WHOLE, 0)
    assert (new.sentences == text.sentences).all()
    changed = [
        sum(int((a != b).sum()) for a, b in zip(text.document(at), new.document(at), strict=True)) for at in range(200)
    ]
    assert set(changed) == {number}
    assert (with_replaced_words(text, number, WHOLE, 1).tokens != new.tokens).any()


def test_words_are_replaced_as_a_whole_by_words_of_the_text():
    tokenizer = Tokenizer.train(TEXTS, "bpe", 310)
    starts = word_starts(tokenizer)
    # Rows as long as the text: none ends within a word.
    text = Corpus.from_documents(first_windows(TEXTS, tokenizer, DataConfig(max_tokens=99)))
    assert max(map(len, map(tokenizer.encode, NAMES))) > 1
    before = texts_of(text, tokenizer)
    after = texts_of(with_replaced_words(text, 1, starts, 0), tokenizer)
    for old, new in zip(before, after, strict=True):
        assert len(old.split()) == len(new.split())
        assert sum(one != other for one, other in zip(old.split(), new.split(), strict=True)) == 1
    known = {word for text in before for word in text.split()}
    assert {word for text in after for word in text.split()} <= known


def test_words_begin_where_a_space_is():
    tokenizer = Tokenizer.train(TEXTS, "bpe", 300)
    ids = tokenizer.encode("The bridgework ended.")
    starts = word_starts(tokenizer)[ids]
    assert starts.sum() == 3
    assert starts[0]
    words = Tokenizer.train(TEXTS, "word", 300)
    assert word_starts(words)[words.encode("the bridge ended .")].all()
