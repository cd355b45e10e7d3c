"""Searches and probing tasks find what vectors of known content contain, and no more."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the probes come with hae_jax[sklearn]")

from scipy.sparse import csr_array
from support.mirrored_model import mirrored
from support.random_corpus import WORDS, corpus

from benchmarks.learning.content.search import Search, one_sentence_each

SIZE = 64
VECTORS = np.random.default_rng(9).normal(size=(5, WORDS, SIZE))
"""One vector per word and position of its sentence."""


@pytest.fixture(scope="module")
def model():
    return mirrored()


@pytest.fixture(scope="module")
def search(model):
    return Search.of(model, corpus(1500, 1), corpus(400, 2), 300, 0)


def sums(text, positions):
    """Sums of the word vectors of each document, which may depend on the position of the sentence."""
    rows = []
    for number in range(len(text)):
        vectors = [VECTORS[at if positions else 0][ids].sum(axis=0) for at, ids in enumerate(text.document(number))]
        rows.append(np.sum(vectors, axis=0))
    return np.array(rows)


def chance(score):
    """Whether a score is within five standard deviations of one half."""
    return abs(score.correct / score.total - 0.5) < 2.5 / np.sqrt(score.total)


def test_sentences_are_found_by_the_words_they_have(search):
    found = search.scores(lambda text: sums(text, False))
    assert found["occurrence"].total == 800
    assert found["occurrence"].correct > 0.93 * 800
    assert chance(found["order"])
    assert found["sentence_rank"] > 0.3
    shares = [found["replaced"][number].correct / 300 for number in ("1", "2", "4")]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.95


def test_order_is_found_in_vectors_with_positions(search):
    # A sentence encoded alone is in the first position: it is similar to a document that begins with it.
    found = search.scores(lambda text: sums(text, True))
    assert found["order"].correct > 0.7 * found["order"].total


def test_nothing_is_found_in_noise(search):
    random = np.random.default_rng(0)
    found = search.scores(lambda text: random.normal(size=(len(text), SIZE)))
    assert chance(found["occurrence"])
    assert chance(found["order"])
    assert found["sentence_rank"] < 0.05
    assert max(score.correct for score in found["replaced"].values()) < 10


def test_sparse_vectors_are_searched_but_not_probed(search):
    found = search.scores(lambda text: csr_array(sums(text, False)))
    assert set(found) == {"sentence_rank", "replaced"}
    dense = search.scores(lambda text: sums(text, False))
    assert found["sentence_rank"] == pytest.approx(dense["sentence_rank"])


def test_the_models_decoder_finds_sentences_and_their_order(search, model):
    found = search.unfolded_scores(model)
    assert found["occurrence"].correct > 0.8 * found["occurrence"].total
    assert found["order"].correct > 0.8 * found["order"].total
    assert found["sentence_rank"] > 0.3


def test_one_sentence_of_each_document_is_drawn():
    text = corpus(100)
    sentences = one_sentence_each(text, 3)
    assert len(sentences) == 100
    places = []
    for number in range(100):
        (row,) = sentences.document(number)
        (place, *_) = [at for at, ids in enumerate(text.document(number)) if np.array_equal(ids, row)]
        places.append(place)
    assert len(set(places)) > 2
