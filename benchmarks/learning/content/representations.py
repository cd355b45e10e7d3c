"""Representations of documents: a code, its parts, what it is decoded to, and baselines that read the same words."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float
from scipy.sparse import csr_array

from benchmarks.learning.content.codes import codes, decoded_rows
from benchmarks.learning.content.documents import texts_of
from hae_jax.data import Corpus, Tokenizer
from hae_jax.inference.texts import code_part
from hae_jax.trained import TrainedModel

TERMS = 4000
"""Number of terms of tf-idf vectors."""

Vectors: TypeAlias = Any
"""One row per document: an array, or a sparse one."""
Representation = Callable[[Corpus], Vectors]
"""Maps documents to vectors."""

CODE, ORDER, TOPIC = "code", "code: order part", "code: topic part"
UNFOLDED, DECODED = "code, unfolded", "code, decoded to words"
TFIDF = "tf-idf"
MEAN = "mean of the model's word vectors"


def representations(model: TrainedModel, train: Corpus) -> dict[str, Representation]:
    """Returns all representations, by their names in the table.

    Term weights and principal directions are those of the training documents. Decoded words are represented as the
    baseline of the same size is: by their tf-idf vectors, projected on as many principal directions as the code has
    numbers. They show what a code holds, where the code itself shows what a linear classifier can read.

    Args:
        model: a trained model.
        train: training documents.
    """

    @cache
    def code(corpus: Corpus) -> np.ndarray:
        return codes(model, corpus)

    def decoded(corpus: Corpus) -> np.ndarray:
        documents = decoded_rows(model, corpus)
        return projections[0]([model.tokenizer.decode(token for row in rows for token in row) for rows in documents])

    config = model.config.model
    parts: dict[str, Representation] = {CODE: code}
    sizes = [code(train).shape[1]]
    if topic := config.topic_dim:
        parts[ORDER] = lambda corpus: code_part(config, code(corpus), "order")
        parts[TOPIC] = lambda corpus: code_part(config, code(corpus), "topic")
        sizes.append(topic)
    texts = texts_of(train, model.tokenizer)
    terms = _tfidf(texts)
    projections = [_projection(terms, texts, size) for size in sizes]
    bags: dict[str, Representation] = {
        f"LSA, {projection(texts[:1]).shape[1]:,}": _of_texts(projection, model.tokenizer) for projection in projections
    }
    return parts | {DECODED: decoded} | bags | {
        TFIDF: _of_texts(lambda texts: csr_array(terms.transform(texts)), model.tokenizer),
        MEAN: lambda corpus: mean_vectors(corpus, np.asarray(model.params["words"]["embedding"])),
    }  # fmt: skip


def mean_vectors(corpus: Corpus, table: Float[np.ndarray, "vocab embed"]) -> Float[np.ndarray, "doc embed"]:
    """Returns the mean vector of each document's tokens.

    Example:
        >>> corpus = Corpus.from_documents([[[4, 6], [6, 6]], [[5]]])
        >>> mean_vectors(corpus, np.eye(7)[:, 4:]).tolist()
        [[0.25, 0.0, 0.75], [0.0, 1.0, 0.0]]
    """
    edges = np.asarray(corpus.sentences[corpus.documents])
    words = np.asarray(corpus.tokens[edges[0] : edges[-1]], np.int64)
    share = np.repeat(1 / np.diff(edges), np.diff(edges))
    return np.asarray(csr_array((share, words, edges - edges[0]), (len(corpus), len(table))) @ table)


def _tfidf(texts: Sequence[str]) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(max_features=TERMS, sublinear_tf=True).fit(texts)


def _projection(terms: Any, texts: Sequence[str], size: int) -> Callable[[Sequence[str]], np.ndarray]:
    """Returns latent semantic analysis: tf-idf vectors on their principal directions, of which there are `size`."""
    from sklearn.decomposition import TruncatedSVD

    vectors = terms.transform(texts)
    fitted = TruncatedSVD(min(size, min(vectors.shape) - 1), random_state=0).fit(vectors)
    return lambda texts: np.asarray(fitted.transform(terms.transform(texts)), np.float32)


def _of_texts(encoder: Callable[[Sequence[str]], Vectors], tokenizer: Tokenizer) -> Representation:
    return lambda corpus: encoder(texts_of(corpus, tokenizer))
