"""Representations of documents, compared with scikit-learn applied to their texts."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the baselines come with hae_jax[sklearn]")

from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics.pairwise import cosine_similarity
from support.mirrored_model import mirrored
from support.random_corpus import corpus

from benchmarks.learning.content import representations as module
from benchmarks.learning.content.codes import codes
from benchmarks.learning.content.documents import texts_of
from hae_jax.data import Corpus

TRAIN, TEST = corpus(200, 1), corpus(30, 2)


@pytest.fixture(scope="module")
def model():
    return mirrored(hidden_dim=32, sentence_dim=128)


@pytest.fixture(scope="module")
def found(model):
    return module.representations(model, TRAIN)


def test_a_model_without_a_topic_part_has_one_code(found, model):
    assert list(found) == [module.CODE, module.DECODED, "LSA, 35", module.TFIDF, module.MEAN]
    np.testing.assert_array_equal(found[module.CODE](TEST), codes(model, TEST))


def test_lsa_is_that_of_scikit_learn(found, model):
    train, test = (texts_of(part, model.tokenizer) for part in (TRAIN, TEST))
    terms = TfidfVectorizer(max_features=module.TERMS, sublinear_tf=True).fit(train)
    np.testing.assert_allclose(found[module.TFIDF](TEST).toarray(), terms.transform(test).toarray())
    vectors = TruncatedSVD(35, random_state=0).fit(terms.transform(train)).transform(terms.transform(test))
    np.testing.assert_allclose(found["LSA, 35"](TEST), vectors, atol=1e-5)
    # 36 words: a direction less than there are terms retains nearly all similarities.
    np.testing.assert_allclose(cosine_similarity(vectors), cosine_similarity(terms.transform(test)), atol=0.15)


def test_bags_of_words_have_no_order_and_codes_have(found):
    backwards = Corpus.from_documents([ids[::-1] for ids in TEST.document(at)[::-1]] for at in range(len(TEST)))
    for name in ("LSA, 35", module.MEAN):
        np.testing.assert_allclose(found[name](TEST), found[name](backwards), atol=1e-5)
    assert abs(found[module.CODE](TEST) - found[module.CODE](backwards)).max() > 0.1


def test_word_vectors_are_averaged(found, model):
    table = np.asarray(model.params["words"]["embedding"])
    expected = [
        np.mean([table[token] for row in TEST.document(at) for token in row], axis=0) for at in range(len(TEST))
    ]
    np.testing.assert_allclose(found[module.MEAN](TEST), expected, atol=1e-6)


def test_decoded_words_are_projected_as_the_words_of_documents_are(found, model, monkeypatch):
    wrong, words = found[module.DECODED](TEST), found["LSA, 35"](TEST)
    assert abs(wrong - words).max() > 0.1
    # A decoder without mistakes leaves no difference.
    monkeypatch.setattr(
        module, "decoded_rows", lambda model, corpus: [corpus.document(number) for number in range(len(corpus))]
    )
    fresh = module.representations(model, TRAIN)
    np.testing.assert_allclose(fresh[module.DECODED](TEST), words, atol=1e-6)


def test_a_topic_part_has_a_row_and_a_baseline_of_its_own_size():
    model = mirrored(hidden_dim=32, sentence_dim=128, topic_dim=8)
    found = module.representations(model, TRAIN)
    assert list(found)[:3] == [module.CODE, module.ORDER, module.TOPIC]
    assert {"LSA, 35", "LSA, 8"} <= set(found)
    parts = [found[name](TEST) for name in (module.ORDER, module.TOPIC)]
    assert parts[1].shape == found["LSA, 8"](TEST).shape == (len(TEST), 8)
    np.testing.assert_array_equal(np.hstack(parts), found[module.CODE](TEST))
