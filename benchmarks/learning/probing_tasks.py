"""Questions about what a code holds, beside BLEU: does a sentence occur in the document, and which of two comes first?

A score of reconstructions says how much of a text a decoder can say again, not what can be read off its code. Here a
question is a code and the vectors of one sentence or two; a small classifier has to learn to answer it, and can only
do so if the code holds the answer. Anything that turns documents and sentences into vectors of one size may be asked.

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

TOGETHER = 64
"""Documents that are encoded at once."""


class ProbingTask(NamedTuple):
    """Questions about documents, half of them to be answered with yes.

    Attributes:
        document: the document each is about.
        sentences: numbers, in the corpus, of the sentences that each names.
        answers: the truth.
    """

    document: Int[np.ndarray, "question"]
    sentences: Int[np.ndarray, "question named"]
    answers: Bool[np.ndarray, "question"]


def codes(model: nn.Module, params: PyTree, corpus: Corpus, config: DataConfig) -> Float[np.ndarray, "doc code"]:
    """Encodes all documents of a corpus.

    Args:
        model: an autoencoder of `hae_jax.models`.
        params: its parameters.
        corpus: documents of its vocabulary.
        config: the data it was trained on.
    """
    parts = [
        np.asarray(encode(model, params, batch).document[:count], np.float32)
        for batch, count in sequential_batches(corpus, config, TOGETHER)
    ]
    return np.concatenate(parts)


@partial(jax.jit, static_argnums=(0, 3))
def _unfold(model: nn.Module, params: PyTree, batch: Batch, sentences: int):
    code = bind(model, params, "encode")(batch)
    return bind(model, params, "unfold")(code, sentences)


@partial(jax.jit, static_argnums=0)
def _embed(model: nn.Module, params: PyTree, batch: Batch):
    return bind(model, params, "embed_sentences")(batch)


def alignments(
    model: nn.Module, params: PyTree, corpus: Corpus, config: DataConfig, questions: ProbingTask
) -> Float[np.ndarray, "question feature"]:
    """Lays questions out as the model itself can tell: its decoder unfolds a code into sentence vectors, and each
    sentence's own vector is held against them.

    Args:
        model: a hierarchical autoencoder with `feedback="none"`.
        params: its parameters.
        corpus: the documents.
        config: the data it was trained on.
        questions: about these.

    Returns:
        For each sentence named its cosines to the vectors unfolded, and the largest of them.

    Raises:
        ValueError: if the model's sentence decoder waits for words.
    """
    feedback = model.config.feedback
    require(feedback == "none", "model.feedback", "be 'none' to unfold a code", repr(feedback), "Decode texts instead.")
    told = np.concatenate(
        [
            np.asarray(_unfold(model, params, batch, config.max_sentences), np.float32)[:count]
            for batch, count in sequential_batches(corpus, config, TOGETHER)
        ]
    )
    own = np.concatenate(
        [
            np.asarray(_embed(model, params, batch), np.float32)[:count, 0]
            for batch, count in sequential_batches(apart(corpus), config, TOGETHER)
        ]
    )
    told, own = (x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-9) for x in (told, own))
    about, parts = told[questions.document], []
    for named in own[questions.sentences].swapaxes(0, 1):
        cosines = np.einsum("qsv,qv->qs", about, named)
        parts += [cosines, cosines.max(axis=1, keepdims=True)]
    return np.concatenate(parts, axis=1)


def apart(corpus: Corpus) -> Corpus:
    """Returns each sentence as a document of its own, in the order in which they are numbered."""
    return Corpus(corpus.tokens, corpus.sentences, np.arange(len(corpus.sentences)))


def occurrence(corpus: Corpus, seed: int) -> ProbingTask:
    """Asks of each document twice whether a sentence occurs in it: one that does, and one of another document.

    A sentence of another document that stands in this one as well, word for word, is not asked about.

    Args:
        corpus: two documents at least, not all of the same sentences.
        seed: of the choice.

    Raises:
        ValueError: if no other document is left to take a sentence from.
    """
    random, documents = np.random.default_rng(seed), _documents(corpus)
    if all(set(document) == set(documents[0]) for document in documents):
        raise ValueError(f"corpus must have documents that differ, got {len(documents)} alike. Give more documents.")
    about, named = np.repeat(np.arange(len(documents)), 2), []
    for number, document in enumerate(documents):
        named.append(int(corpus.documents[number] + random.integers(len(document))))
        while True:
            other = int(random.integers(len(corpus.sentences) - 1))
            if _words(corpus, other) not in document:
                named.append(other)
                break
    return ProbingTask(about, np.array(named)[:, None], np.tile([True, False], len(documents)))


def order(corpus: Corpus, seed: int) -> ProbingTask:
    """Asks of each document, whether of two of its sentences the first one named comes before the other.

    Documents of one sentence, and those that say a sentence twice, are passed over.

    Args:
        corpus: the documents.
        seed: of the choice.

    Raises:
        ValueError: if no document is left.
    """
    random = np.random.default_rng(seed)
    about, named = [], []
    for number, document in enumerate(_documents(corpus)):
        if len(set(document)) == len(document) > 1:
            about.append(number)
            named.append(corpus.documents[number] + np.sort(random.choice(len(document), 2, replace=False)))
    if not about:
        raise ValueError("corpus must have a document of two different sentences, got none. Give longer documents.")
    # Every other question is turned round, whatever their number: half of them are to be answered with yes.
    answers = np.arange(len(about)) % 2 == 0
    pairs = np.array(named)
    return ProbingTask(np.array(about), np.where(answers[:, None], pairs, pairs[:, ::-1]), answers)


def features(
    documents: Float[np.ndarray, "doc code"], sentences: Float[np.ndarray, "sentence code"], questions: ProbingTask
) -> Float[np.ndarray, "question feature"]:
    """Lays questions out for a classifier: the document p, each sentence s, and p * s and |p - s|.

    With products and distances a linear classifier can compare, as InferSent does.

    Args:
        documents: a vector for each document of the corpus.
        sentences: a vector of the same size for each sentence of the corpus.
        questions: about these.

    Reference:
        Conneau et al., 2017, https://arxiv.org/abs/1705.02364
    """
    about = documents[questions.document]
    parts = [about]
    for named in sentences[questions.sentences].swapaxes(0, 1):
        parts += [named, about * named, abs(about - named)]
    return np.concatenate(parts, axis=1)


def _documents(corpus: Corpus) -> list[list[bytes]]:
    edges = corpus.documents
    return [[_words(corpus, number) for number in range(*pair)] for pair in pairwise(edges)]


def _words(corpus: Corpus, sentence: int) -> bytes:
    return np.asarray(corpus.tokens[corpus.sentences[sentence] : corpus.sentences[sentence + 1]]).tobytes()
