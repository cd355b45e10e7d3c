"""Probing tasks for document codes: does a sentence occur in the document, and which of two sentences comes first?

Reconstruction scores measure what a decoder can recover from a code, not which information is easy to extract. An
example of a probing task is a code and the vectors of one sentence or two; a small classifier can learn its label only
if the code contains it. Any encoder that maps documents and sentences to vectors of one dimension can be probed.

Reference:
    Adi et al., 2017, https://arxiv.org/abs/1608.04207; of paragraphs: Vu & Iyyer, 2019,
    https://arxiv.org/abs/1906.03656
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from hae_jax.data import Corpus


class ProbingTask(NamedTuple):
    """Binary, balanced examples about documents.

    Attributes:
        document: index of each example's document.
        sentences: indices, in the corpus, of each example's sentences.
        answers: labels.
    """

    document: Int[np.ndarray, "question"]
    sentences: Int[np.ndarray, "question named"]
    answers: Bool[np.ndarray, "question"]


def decoder_similarities(
    decoded: Float[np.ndarray, "doc sent vec"], sentences: Float[np.ndarray, "sentence vec"], task: ProbingTask
) -> Float[np.ndarray, "question feature"]:
    """Returns the features of a probe of the model's own decoder: for each sentence of an example its cosine
    similarities to the decoded vectors of the document, and their maximum.

    Args:
        decoded: `decoded_vectors` of a corpus.
        sentences: `sentence_vectors` of the same.
        task: examples about it.
    """
    documents, parts = decoded[task.document], []
    for sentence in sentences[task.sentences].swapaxes(0, 1):
        cosines = np.einsum("qsv,qv->qs", documents, sentence)
        parts += [cosines, cosines.max(axis=1, keepdims=True)]
    return np.concatenate(parts, axis=1)


def sentences_as_documents(corpus: Corpus) -> Corpus:
    """Returns a corpus with each sentence as a document, in the order of their indices."""
    return Corpus(corpus.tokens, corpus.sentences, np.arange(len(corpus.sentences)))


def occurrence(corpus: Corpus, seed: int) -> ProbingTask:
    """Returns two examples per document: a sentence that occurs in it, and one of another document.

    A sentence of another document that also occurs in this one, word for word, is not used.

    Args:
        corpus: at least two documents, not all with the same sentences.
        seed: of the random choice.

    Raises:
        ValueError: if there is no document with other sentences.
    """
    random, documents = np.random.default_rng(seed), _documents(corpus)
    if all(set(document) == set(documents[0]) for document in documents):
        raise ValueError(f"corpus must have documents that differ, got {len(documents)} alike. Give more documents.")
    indices, sentences = np.repeat(np.arange(len(documents)), 2), []
    for number, document in enumerate(documents):
        sentences.append(int(corpus.documents[number] + random.integers(len(document))))
        while True:
            other = int(random.integers(len(corpus.sentences) - 1))
            if _words(corpus, other) not in document:
                sentences.append(other)
                break
    return ProbingTask(indices, np.array(sentences)[:, None], np.tile([True, False], len(documents)))


def order(corpus: Corpus, seed: int) -> ProbingTask:
    """Returns one example per document: whether the first of two of its sentences precedes the second.

    Documents of one sentence, and those with repeated sentences, are skipped.

    Args:
        corpus: the documents.
        seed: of the random choice.

    Raises:
        ValueError: if no document is left.
    """
    random = np.random.default_rng(seed)
    indices, sentences = [], []
    for number, document in enumerate(_documents(corpus)):
        if len(set(document)) == len(document) > 1:
            indices.append(number)
            sentences.append(corpus.documents[number] + np.sort(random.choice(len(document), 2, replace=False)))
    if not indices:
        raise ValueError("corpus must have a document of two different sentences, got none. Give longer documents.")
    # Every other example is reversed, so that the labels are balanced.
    answers = np.arange(len(indices)) % 2 == 0
    pairs = np.array(sentences)
    return ProbingTask(np.array(indices), np.where(answers[:, None], pairs, pairs[:, ::-1]), answers)


def probe_features(
    documents: Float[np.ndarray, "doc code"], sentences: Float[np.ndarray, "sentence code"], task: ProbingTask
) -> Float[np.ndarray, "question feature"]:
    """Returns the features of a probe: the document p, each sentence s, and p * s and |p - s|.

    With products and distances a linear classifier can compare vectors, as in InferSent.

    Args:
        documents: a vector for each document of the corpus.
        sentences: a vector of the same size for each sentence of the corpus.
        task: examples about these.

    Reference:
        Conneau et al., 2017, https://arxiv.org/abs/1705.02364
    """
    document = documents[task.document]
    parts = [document]
    for sentence in sentences[task.sentences].swapaxes(0, 1):
        parts += [sentence, document * sentence, abs(document - sentence)]
    return np.concatenate(parts, axis=1)


def _documents(corpus: Corpus) -> list[list[bytes]]:
    edges = corpus.documents
    return [[_words(corpus, number) for number in range(*pair)] for pair in pairwise(edges)]


def _words(corpus: Corpus, sentence: int) -> bytes:
    return np.asarray(corpus.tokens[corpus.sentences[sentence] : corpus.sentences[sentence + 1]]).tobytes()
