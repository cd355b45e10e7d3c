"""Small classifiers that read vectors, and bags of words for them to read beside codes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.sparse import csr_matrix

from hae_jax.data import Corpus

HIDDEN = 64
"""Hidden units of the network among the probes."""
PENALTY = 0.01
"""Inverse strength of the linear probe's penalty."""


class Score(NamedTuple):
    """Questions that were answered rightly, and how many there were."""

    right: int
    asked: int


def ask(
    known: tuple[Float[np.ndarray, "train feature"], Bool[np.ndarray, "train"]],
    new: tuple[Float[np.ndarray, "test feature"], Bool[np.ndarray, "test"]],
) -> dict[str, Score]:
    """Trains a linear probe and a network of one hidden layer, and asks both what they have not seen.

    Args:
        known: features and answers to learn from.
        new: features and answers to be found.

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
    found = {}
    for name, probe in probes.items():
        fitted = make_pipeline(StandardScaler(), probe).fit(*known)
        found[name] = Score(int((fitted.predict(new[0]) == new[1]).sum()), len(new[1]))
    return found


def counts(corpus: Corpus, vocab: int) -> csr_matrix:
    """Counts the words of each document; one row a document, one column a word id.

    Example:
        >>> counts(Corpus.from_documents([[[4, 6], [6]], [[5]]]), 7).toarray()[:, 4:].tolist()
        [[1.0, 0.0, 2.0], [0.0, 1.0, 0.0]]
    """
    ends = corpus.sentences[corpus.documents]
    row = np.repeat(np.arange(len(corpus)), np.diff(ends))
    words = np.asarray(corpus.tokens[ends[0] : ends[-1]], np.int64)
    return csr_matrix((np.ones(len(words)), (row, words)), shape=(len(corpus), vocab))


Reader = Callable[[Corpus], Float[np.ndarray, "doc code"]]
"""Turns documents into vectors."""


def bags(corpus: Corpus, vocab: int, size: int) -> dict[str, Reader]:
    """Returns bags of words of the size of a code: their principal directions, and random ones.

    Args:
        corpus: documents whose words are weighted, by tf-idf, and whose directions are found.
        vocab: number of word ids.
        size: numbers a document.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfTransformer
    from sklearn.random_projection import GaussianRandomProjection

    weights = TfidfTransformer(sublinear_tf=True).fit(counts(corpus, vocab))
    known = weights.transform(counts(corpus, vocab))
    directions = {
        "bag of words, principal directions": TruncatedSVD(min(size, vocab - 1), random_state=0),
        "bag of words, random directions": GaussianRandomProjection(size, random_state=0),
    }

    def reader(fitted: Any) -> Reader:
        return lambda documents: np.asarray(fitted.transform(weights.transform(counts(documents, vocab))), np.float32)

    return {name: reader(each.fit(known)) for name, each in directions.items()}
