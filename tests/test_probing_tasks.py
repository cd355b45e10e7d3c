"""Probing tasks: labels are correct and balanced, and features contain what they should."""

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.random_corpus import WORDS, corpus

from benchmarks.learning import probing_tasks
from hae_jax.config import DataConfig, ModelConfig
from hae_jax.data import Corpus, sequential_batches
from hae_jax.models import build


def sentence(text, number):
    return tuple(np.asarray(text.tokens[text.sentences[number] : text.sentences[number + 1]]).tolist())


def sentences_of(text, document):
    return [tuple(np.asarray(ids).tolist()) for ids in text.document(document)]


def test_half_of_the_sentences_occur_and_the_others_do_not():
    text = corpus()
    task = probing_tasks.occurrence(text, 1)
    assert task.answers.mean() == 0.5
    assert Counter(task.document.tolist()) == dict.fromkeys(range(len(text)), 2)
    for document, (index,), answer in zip(*task, strict=True):
        assert (sentence(text, index) in sentences_of(text, document)) == answer


def test_a_sentence_that_occurs_twice_in_the_corpus_is_no_counterexample():
    text = Corpus.from_documents([[[5, 6], [7]], [[5, 6], [8]], [[5, 6], [9]]])
    for seed in range(20):
        task = probing_tasks.occurrence(text, seed)
        assert all(sentence(text, index) != (5, 6) for (index,) in task.sentences[~task.answers])


def test_the_first_sentence_precedes_the_second_in_positive_examples():
    text = corpus()
    task = probing_tasks.order(text, 1)
    assert abs(task.answers.mean() - 0.5) < 0.01
    for document, (one, other), answer in zip(*task, strict=True):
        edges = range(*text.documents[document : document + 2])
        assert one in edges
        assert other in edges
        assert (one < other) == answer
    assert len({other - one for one, other in task.sentences}) > 4


def test_documents_with_ambiguous_order_are_skipped():
    text = Corpus.from_documents([[[5], [5]], [[5]], [[5], [6]]])
    assert probing_tasks.order(text, 0).document.tolist() == [2]
    with pytest.raises(ValueError, match=r"document of two different sentences, got none\. Give longer documents\."):
        probing_tasks.order(Corpus.from_documents([[[5], [5]], [[5]]]), 0)


def test_documents_that_are_all_alike_are_refused():
    with pytest.raises(ValueError, match=r"documents that differ, got 2 alike\. Give more documents\."):
        probing_tasks.occurrence(Corpus.from_documents([[[5], [6]], [[6], [5]]]), 0)


@pytest.mark.parametrize("make_task", [probing_tasks.occurrence, probing_tasks.order])
def test_a_task_is_a_function_of_the_seed(make_task):
    first, again, other = (make_task(corpus(), seed).sentences for seed in (3, 3, 4))
    assert (first == again).all()
    assert (first != other).any()


def test_each_sentence_becomes_a_document_with_its_index():
    text = corpus()
    single = probing_tasks.sentences_as_documents(text)
    assert len(single) == len(text.sentences) - 1
    for number in (0, 1, len(single) - 1):
        assert sentences_of(single, number) == [sentence(text, number)]


def test_features_are_both_vectors_their_product_and_their_distance():
    documents, sentences = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[5.0, -1.0], [2.0, 2.0]])
    task = probing_tasks.ProbingTask(np.array([1]), np.array([[1, 0]]), np.array([True]))
    wanted = [3, 4, 2, 2, 6, 8, 1, 2, 5, -1, 15, -4, 2, 5]
    assert probing_tasks.probe_features(documents, sentences, task).tolist() == [wanted]


def test_codes_do_not_depend_on_the_batch():
    text = corpus(67)
    data = DataConfig(max_sentences=4, max_tokens=5, buckets=2)
    model = build(ModelConfig(embed_dim=5, hidden_dim=7, sentence_dim=11), WORDS)
    batch, _ = next(sequential_batches(text, data, 3))
    params = model.init(jax.random.key(0), jax.tree.map(jnp.asarray, batch))["params"]
    found = probing_tasks.encode_corpus(model, params, text, data)
    assert found.shape == (67, 11)
    alone = probing_tasks.encode_corpus(model, params, Corpus.from_documents([text.document(66)]), data)
    np.testing.assert_allclose(found[66:], alone, atol=1e-6)


def mirrored(feedback="none"):
    """A mirrored model at initialization, its parameters, documents, and the data config."""
    text = corpus()
    data = DataConfig(max_sentences=int(np.diff(text.documents).max()), max_tokens=8, buckets=1)
    options = {"initializer": "mirror", "layer_norm": "output", "embed_dim": 8, "hidden_dim": 64, "sentence_dim": 512}
    model = build(ModelConfig(feedback=feedback, **options), WORDS)
    batch = next(sequential_batches(text, data, 64))[0]
    return model, jax.jit(model.init)(jax.random.key(0), batch)["params"], text, data


def test_a_code_is_decoded_into_vectors_similar_to_its_sentences():
    model, params, text, data = mirrored()
    task = probing_tasks.occurrence(text, 0)
    largest = probing_tasks.decoder_similarities(model, params, text, data, task)[:, -1]
    assert largest[task.answers].mean() > largest[~task.answers].mean() + 0.2
    both = probing_tasks.decoder_similarities(model, params, text, data, probing_tasks.order(text, 0))
    assert both.shape[1] == 2 * (data.max_sentences + 1)


def test_a_decoder_that_depends_on_words_is_refused():
    model, params, text, data = mirrored("word")
    with pytest.raises(ValueError, match=r"model\.feedback must be 'none' to decode sentence vectors, got 'word'\."):
        probing_tasks.decoder_similarities(model, params, text, data, probing_tasks.occurrence(text, 0))
