"""Documents in flat arrays."""

import numpy as np
import pytest

from hae_jax.data.documents import Corpus

DOCUMENTS = [[[5, 7], [11]], [[13, 17, 19]], [], [[23], [], [29, 31]]]


def lists(corpus):
    return [[ids.tolist() for ids in corpus.document(i)] for i in range(len(corpus))]


def test_documents_are_returned_unchanged():
    corpus = Corpus.from_documents(DOCUMENTS)
    assert len(corpus) == 4
    assert lists(corpus) == DOCUMENTS
    assert all(ids.dtype == np.int32 for ids in corpus.document(3))


def test_arrays_and_lists_mean_the_same():
    arrays = [[np.array(ids, np.int64) for ids in document] for document in DOCUMENTS]
    assert lists(Corpus.from_documents(arrays)) == DOCUMENTS


def test_no_documents_are_a_corpus_too():
    assert lists(Corpus.from_documents([])) == []


@pytest.mark.parametrize("index", [-1, 4])
def test_a_document_out_of_range_is_reported(index):
    with pytest.raises(IndexError, match=rf"must lie in \[0, 4\), got {index}"):
        Corpus.from_documents(DOCUMENTS).document(index)


def test_evenly_spaced_documents_reach_from_end_to_end():
    corpus = Corpus.from_documents([[[i]] for i in range(101)])
    assert lists(corpus.evenly_spaced(5)) == [[[i]] for i in (0, 25, 50, 75, 100)]
    assert lists(corpus.evenly_spaced(1000)) == lists(corpus)
