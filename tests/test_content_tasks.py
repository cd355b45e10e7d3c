"""Probing tasks: labels are correct and balanced, and features contain what they should."""

from collections import Counter

import numpy as np
import pytest
from support.random_corpus import corpus

from benchmarks.learning.content import tasks
from hae_jax.data import Corpus


def sentence(text, number):
    return tuple(np.asarray(text.tokens[text.sentences[number] : text.sentences[number + 1]]).tolist())


def sentences_of(text, document):
    return [tuple(np.asarray(ids).tolist()) for ids in text.document(document)]


def test_half_of_the_sentences_occur_and_the_others_do_not():
    text = corpus()
    task = tasks.occurrence(text, 1)
    assert task.answers.mean() == 0.5
    assert Counter(task.document.tolist()) == dict.fromkeys(range(len(text)), 2)
    for document, (index,), answer in zip(*task, strict=True):
        assert (sentence(text, index) in sentences_of(text, document)) == answer


def test_a_sentence_that_occurs_twice_in_the_corpus_is_no_counterexample():
    text = Corpus.from_documents([[[5, 6], [7]], [[5, 6], [8]], [[5, 6], [9]]])
    for seed in range(20):
        task = tasks.occurrence(text, seed)
        assert all(sentence(text, index) != (5, 6) for (index,) in task.sentences[~task.answers])


def test_the_first_sentence_precedes_the_second_in_positive_examples():
    text = corpus()
    task = tasks.order(text, 1)
    assert abs(task.answers.mean() - 0.5) < 0.01
    for document, (one, other), answer in zip(*task, strict=True):
        edges = range(*text.documents[document : document + 2])
        assert one in edges
        assert other in edges
        assert (one < other) == answer
    assert len({other - one for one, other in task.sentences}) > 4


def test_documents_with_ambiguous_order_are_skipped():
    text = Corpus.from_documents([[[5], [5]], [[5]], [[5], [6]]])
    assert tasks.order(text, 0).document.tolist() == [2]
    with pytest.raises(ValueError, match=r"document of two different sentences, got none\. Give longer documents\."):
        tasks.order(Corpus.from_documents([[[5], [5]], [[5]]]), 0)


def test_documents_that_are_all_alike_are_refused():
    with pytest.raises(ValueError, match=r"documents that differ, got 2 alike\. Give more documents\."):
        tasks.occurrence(Corpus.from_documents([[[5], [6]], [[6], [5]]]), 0)


@pytest.mark.parametrize("make_task", [tasks.occurrence, tasks.order])
def test_a_task_is_a_function_of_the_seed(make_task):
    first, again, other = (make_task(corpus(), seed).sentences for seed in (3, 3, 4))
    assert (first == again).all()
    assert (first != other).any()


def test_each_sentence_becomes_a_document_with_its_index():
    text = corpus()
    single = tasks.sentences_as_documents(text)
    assert len(single) == len(text.sentences) - 1
    for number in (0, 1, len(single) - 1):
        assert sentences_of(single, number) == [sentence(text, number)]


def test_features_are_both_vectors_their_product_and_their_distance():
    documents, sentences = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[5.0, -1.0], [2.0, 2.0]])
    task = tasks.ProbingTask(np.array([1]), np.array([[1, 0]]), np.array([True]))
    wanted = [3, 4, 2, 2, 6, 8, 1, 2, 5, -1, 15, -4, 2, 5]
    assert tasks.probe_features(documents, sentences, task).tolist() == [wanted]


def test_similarities_are_those_of_each_decoded_vector_and_their_maximum():
    decoded = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.6, 0.8], [1.0, 0.0]]])
    sentences = np.array([[0.0, 1.0], [1.0, 0.0]])
    task = tasks.ProbingTask(np.array([1, 0]), np.array([[0], [1]]), np.array([True, False]))
    assert tasks.decoder_similarities(decoded, sentences, task).tolist() == [[0.8, 0, 0.8], [1, 0, 1]]
