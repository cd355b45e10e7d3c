"""Documents to codes and back, for corpora of token ids."""

import numpy as np
import pytest
from support.mirrored_model import DATA, mirrored
from support.random_corpus import corpus

from benchmarks.learning.content import tasks
from benchmarks.learning.content.codes import codes, decoded_rows, decoded_vectors, sentence_vectors
from hae_jax.data import Corpus


@pytest.fixture(scope="module")
def model():
    return mirrored()


def test_codes_are_those_of_the_model_and_do_not_depend_on_the_batch(model):
    text = corpus(67)
    found = codes(model, text)
    assert found.shape == (67, 512)
    np.testing.assert_allclose(
        found[66:], codes(model, Corpus.from_documents([text.document(66)])), rtol=1e-5, atol=1e-5
    )
    strings = ["\n\n".join(model.tokenizer.decode(row) for row in text.document(number)) for number in (0, 65)]
    np.testing.assert_allclose(found[[0, 65]], model.encode(strings), rtol=1e-5, atol=1e-5)


def test_decoded_rows_are_the_reconstruction(model):
    text = corpus(5)
    strings = ["\n\n".join(model.tokenizer.decode(row) for row in text.document(number)) for number in range(5)]
    found = [" ".join(model.tokenizer.decode(row) for row in document if row) for document in decoded_rows(model, text)]
    assert [each.split() for each in found] == [each.split() for each in model.reconstruct(strings)]
    assert len(set(found)) > 1


@pytest.mark.parametrize("feedback", ["none", "sentence"])
def test_a_code_is_decoded_into_vectors_similar_to_its_sentences(feedback):
    text, model = corpus(), mirrored(feedback=feedback)
    decoded, sentences = decoded_vectors(model, text), sentence_vectors(model, tasks.sentences_as_documents(text))
    np.testing.assert_allclose(np.linalg.norm(sentences, axis=1), 1, rtol=1e-5)
    task = tasks.occurrence(text, 0)
    largest = tasks.decoder_similarities(decoded, sentences, task)[:, -1]
    assert largest[task.answers].mean() > largest[~task.answers].mean() + 0.2
    both = tasks.decoder_similarities(decoded, sentences, tasks.order(text, 0))
    assert both.shape[1] == 2 * (DATA.max_sentences + 1)


def test_a_decoder_that_depends_on_states_of_the_word_decoder_is_refused():
    with pytest.raises(ValueError, match=r"model\.feedback must be 'none' or 'sentence' to decode .*, got 'word'\."):
        decoded_vectors(mirrored(feedback="word"), corpus(2))
