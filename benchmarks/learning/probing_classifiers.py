"""Probing classifiers, and bags of words as baselines of codes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.sparse import csr_matrix

from hae_jax.data import Corpus

HIDDEN = 64
"""Hidden units of the network probe."""
PENALTY = 0.01
"""Inverse strength of the linear probe's penalty."""


class ProbeScore(NamedTuple):
    """Number of correct predictions, and of all."""

    correct: int
    total: int


def probe_scores(
    train: tuple[Float[np.ndarray, "train feature"], Bool[np.ndarray, "train"]],
    test: tuple[Float[np.ndarray, "test feature"], Bool[np.ndarray, "test"]],
) -> dict[str, ProbeScore]:
    """Fits a linear probe and a network with one hidden layer, and tests both.

    Args:
        train: features and labels.
        test: features and labels.

    Returns:
        The score of each, by name.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probes: dict[str, Any] = {
        "linear": LogisticRegression(C=PENALTY, max_iter=3000),
        "network": MLPClassifier((HIDDEN,), alpha=1e-3, early_stopping=True, max_iter=400, random_state=0),
    }
    scores = {}
    for name, probe in probes.items():
        fitted = make_pipeline(StandardScaler(), probe).fit(*train)
        scores[name] = ProbeScore(int((fitted.predict(test[0]) == test[1]).sum()), len(test[1]))
    return scores


def word_counts(corpus: Corpus, vocab: int) -> csr_matrix:
    """Counts the words of each document; one row per document, one column per word id.

    Example:
        >>> word_counts(Corpus.from_documents([[[4, 6], [6]], [[5]]]), 7).toarray()[:, 4:].tolist()
        [[1.0, 0.0, 2.0], [0.0, 1.0, 0.0]]
    """
    ends = corpus.sentences[corpus.documents]
    row = np.repeat(np.arange(len(corpus)), np.diff(ends))
    words = np.asarray(corpus.tokens[ends[0] : ends[-1]], np.int64)
    return csr_matrix((np.ones(len(words)), (row, words)), shape=(len(corpus), vocab))


DocumentEncoder = Callable[[Corpus], Float[np.ndarray, "doc code"]]
"""Maps documents to vectors."""


def bag_of_words_encoders(corpus: Corpus, vocab: int, size: int) -> dict[str, DocumentEncoder]:
    """Returns tf-idf vectors projected to the dimension of a code: on principal directions, and on random ones.

    Args:
        corpus: documents from which tf-idf weights and directions are computed.
        vocab: vocabulary size.
        size: dimension.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfTransformer
    from sklearn.random_projection import GaussianRandomProjection

    weights = TfidfTransformer(sublinear_tf=True).fit(word_counts(corpus, vocab))
    vectors = weights.transform(word_counts(corpus, vocab))
    directions = {
        "bag of words, principal directions": TruncatedSVD(min(size, vocab - 1), random_state=0),
        "bag of words, random directions": GaussianRandomProjection(size, random_state=0),
    }

    def encoder(fitted: Any) -> DocumentEncoder:
        return lambda documents: np.asarray(
            fitted.transform(weights.transform(word_counts(documents, vocab))), np.float32
        )

    return {name: encoder(each.fit(vectors)) for name, each in directions.items()}
