"""What can be done with vectors: classify, compare, cluster and retrieve documents."""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import issparse

from benchmarks.learning.content.representations import Vectors

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Values of C, the inverse strength of the linear probe's penalty, among which cross-validation chooses; ascending."""
PAIR_PENALTY = 0.01
"""C of the probes of sentences, whose features are too many for a choice."""
FOLDS, NEIGHBOURS, RESTARTS = 3, 10, 10
"""Folds of the cross-validation, neighbours that vote, and restarts of k-means."""


Labels: TypeAlias = Sequence[Any] | np.ndarray
"""The class or group of each example."""


class Score(NamedTuple):
    """Number of correct predictions, and of all."""

    correct: int
    total: int


class Examples(NamedTuple):
    """Vectors with their classes.

    Attributes:
        vectors: one row per example.
        labels: its class.
        groups: examples of one group are in the same fold of a cross-validation.
    """

    vectors: Vectors
    labels: Labels
    groups: Labels


def linear_probe(train: Examples, test: Examples, seed: int) -> Score:
    """Fits logistic regression to the training examples, and tests it.

    Features are centred and scaled, each to unit variance or all by the same factor. The scaling and the penalty are
    chosen by cross-validation on the training examples. Sparse vectors are not centred.

    Args:
        train: training examples.
        test: held-out examples.
        seed: of the division into folds.
    """
    from sklearn.model_selection import GroupKFold

    labels = np.asarray(train.labels)
    folds = list(GroupKFold(FOLDS, shuffle=True, random_state=seed).split(labels, groups=train.groups))
    best = -1.0, train.vectors, test.vectors, PENALTIES[0]
    for together in (True,) if issparse(train.vectors) else (False, True):
        fitted, tested = scaled(train.vectors, test.vectors, together)
        paths = [_accuracies(fitted[one], labels[one], fitted[other], labels[other]) for one, other in folds]
        accuracy, penalty = max(zip(np.mean(paths, axis=0), PENALTIES, strict=True))
        if accuracy > best[0]:
            best = float(accuracy), fitted, tested, penalty
    _, fitted, tested, penalty = best
    return _score(_logistic(penalty).fit(fitted, labels).predict(tested), test.labels)


def pair_probe(train: Examples, test: Examples) -> Score:
    """Fits logistic regression, without cross-validation, to features of documents and sentences, and tests it."""
    fitted, tested = scaled(train.vectors, test.vectors, False)
    return _score(_logistic(PAIR_PENALTY).fit(fitted, np.asarray(train.labels)).predict(tested), test.labels)


def nearest_neighbours(train: Examples, test: Examples) -> Score:
    """Predicts the most frequent class among the nearest training examples by cosine similarity."""
    from sklearn.neighbors import KNeighborsClassifier

    number = min(NEIGHBOURS, len(train.labels))
    classifier = KNeighborsClassifier(number, metric="cosine").fit(train.vectors, train.labels)
    return _score(classifier.predict(test.vectors), test.labels)


def cluster_agreement(examples: Examples, seed: int) -> float:
    """Returns the normalized mutual information of classes and k-means clusters, of which there are as many.

    Vectors are scaled to length 1, so that clusters are those of cosine similarity.

    Args:
        examples: the examples.
        seed: of the first centres.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import normalized_mutual_info_score

    clusters = KMeans(len(set(examples.labels)), n_init=RESTARTS, random_state=seed)
    return float(normalized_mutual_info_score(examples.labels, clusters.fit_predict(unit(examples.vectors))))


def cosine_similarities(queries: Vectors, documents: Vectors) -> Float[np.ndarray, "query doc"]:
    """Returns the cosine similarity of each query to each document; 0 for a vector of zeros."""
    product = unit(queries) @ unit(documents).T
    return product.toarray() if issparse(product) else np.asarray(product)


def ranks(similarities: Float[np.ndarray, "query doc"], wanted: Int[np.ndarray, "query"]) -> Float[np.ndarray, "query"]:
    """Returns the rank, from 1, of each query's document; the mean rank among equally similar ones.

    Example:
        >>> ranks(np.array([[0.1, 0.9, 0.5], [0.7, 0.7, 0.7]]), np.array([2, 0])).tolist()
        [2.0, 2.0]
    """
    own = similarities[np.arange(len(wanted)), wanted][:, None]
    return 1 + (similarities > own).sum(axis=1) + ((similarities == own).sum(axis=1) - 1) / 2


def mean_reciprocal_rank(similarities: Float[np.ndarray, "query doc"], wanted: Int[np.ndarray, "query"]) -> float:
    """Returns the mean of 1 / rank over queries."""
    return float((1 / ranks(similarities, wanted)).mean())


def found_first(similarities: Float[np.ndarray, "query doc"], wanted: Int[np.ndarray, "query"]) -> Score:
    """Returns how many queries have their document at rank 1."""
    return Score(int((ranks(similarities, wanted) == 1).sum()), len(wanted))


def scaled(train: Vectors, test: Vectors, together: bool) -> tuple[Vectors, Vectors]:
    """Returns features of mean 0 and variance 1 on the training examples.

    Args:
        train: training vectors; sparse ones are not centred.
        test: held-out vectors, which are transformed in the same way.
        together: whether all features are divided by the same number, so that their mean variance is 1.
    """
    if issparse(train):
        factor = np.sqrt(train.shape[1] / train.power(2).sum(axis=1).mean())
        return train * factor, test * factor
    spread = train.std(axis=0)
    scale = np.sqrt((spread**2).mean()) if together else spread
    scale = np.where(scale > 1e-9, scale, 1)
    return (train - train.mean(axis=0)) / scale, (test - train.mean(axis=0)) / scale


def unit(vectors: Vectors) -> Vectors:
    """Returns vectors scaled to length 1."""
    from sklearn.preprocessing import normalize

    return normalize(vectors)


def _accuracies(train: Vectors, labels: np.ndarray, test: Vectors, wanted: np.ndarray) -> list[float]:
    """Returns the accuracy for each penalty; each fit starts from the one before, which has fewer steps."""
    classifier = _logistic(PENALTIES[0])
    return [float(classifier.set_params(C=each).fit(train, labels).score(test, wanted)) for each in PENALTIES]


def _logistic(penalty: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=penalty, max_iter=3000, tol=1e-3, warm_start=True)


def _score(predicted: np.ndarray, labels: Labels) -> Score:
    return Score(int((predicted == np.asarray(labels)).sum()), len(labels))
