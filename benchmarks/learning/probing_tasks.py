"""Probing tasks for document codes: does a sentence occur in the document, and which of two sentences comes first?

Reconstruction scores measure what a decoder can recover from a code, not which information is easy to extract. An
example of a probing task is a code and the vectors of one sentence or two; a small classifier can learn its label only
if the code contains it. Any encoder that maps documents and sentences to vectors of one dimension can be probed.

Reference:
    Adi et al., 2017, https://arxiv.org/abs/1608.04207; of paragraphs: Vu & Iyyer, 2019,
    https://arxiv.org/abs/1906.03656
"""

from functools import partial
from itertools import pairwise
from typing import NamedTuple

import flax.linen as nn
import jax
import numpy as np
from jaxtyping import Bool, Float, Int, PyTree

from hae_jax.batch import Batch
from hae_jax.config import DataConfig
from hae_jax.config.validate import require
from hae_jax.data.batches import sequential_batches
from hae_jax.data.documents import Corpus
from hae_jax.inference.decode_loop import bind
from hae_jax.inference.teacher_forcing import encode

BATCH_SIZE = 64
"""Documents that are encoded together."""


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


def encode_corpus(
    model: nn.Module, params: PyTree, corpus: Corpus, config: DataConfig
) -> Float[np.ndarray, "doc code"]:
    """Encodes all documents of a corpus.

    Args:
        model: an autoencoder of `hae_jax.models`.
        params: its parameters.
        corpus: documents encoded with its vocabulary.
        config: the data config it was trained with.
    """
    parts = [
        np.asarray(encode(model, params, batch).document[:count], np.float32)
        for batch, count in sequential_batches(corpus, config, BATCH_SIZE)
    ]
    return np.concatenate(parts)


@partial(jax.jit, static_argnums=(0, 3))
def _decode_vectors(model: nn.Module, params: PyTree, batch: Batch, sentences: int):
    code = bind(model, params, "encode")(batch)
    return bind(model, params, "decode_sentence_vectors")(code, sentences)


@partial(jax.jit, static_argnums=0)
def _embed(model: nn.Module, params: PyTree, batch: Batch):
    return bind(model, params, "embed_sentences")(batch)


def decoder_similarities(
    model: nn.Module, params: PyTree, corpus: Corpus, config: DataConfig, task: ProbingTask
) -> Float[np.ndarray, "question feature"]:
    """Returns features from the model's own decoder: the similarity of each sentence's vector to the sentence vectors
    that the decoder produces from the code.

    Args:
        model: a hierarchical autoencoder with `feedback="none"`.
        params: its parameters.
        corpus: the documents.
        config: the data config it was trained with.
        task: examples about these.

    Returns:
        For each sentence of an example its cosine similarities to the decoded vectors, and their maximum.

    Raises:
        ValueError: if the model's sentence decoder depends on words.
    """
    require(
        model.config.feedback == "none", "model.feedback", "be 'none' to decode sentence vectors",
        repr(model.config.feedback), "Decode texts instead.",
    )  # fmt: skip
    decoded = np.concatenate(
        [
            np.asarray(_decode_vectors(model, params, batch, config.max_sentences), np.float32)[:count]
            for batch, count in sequential_batches(corpus, config, BATCH_SIZE)
        ]
    )
    encoded = np.concatenate(
        [
            np.asarray(_embed(model, params, batch), np.float32)[:count, 0]
            for batch, count in sequential_batches(sentences_as_documents(corpus), config, BATCH_SIZE)
        ]
    )
    decoded, encoded = (x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-9) for x in (decoded, encoded))
    documents, parts = decoded[task.document], []
    for sentence in encoded[task.sentences].swapaxes(0, 1):
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
