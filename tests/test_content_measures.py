"""Measures on vectors of known content, and on vectors without any."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the probes come with hae_jax[sklearn]")

from scipy.sparse import csr_array
from scipy.stats import rankdata

from benchmarks.learning.content import measures
from benchmarks.learning.content.measures import Examples

CLASSES = np.array(["finance", "music", "sports"])


def examples(number, seed, spread=1.0, scales=None):
    """Vectors of three classes around random centres; every group has five examples."""
    random = np.random.default_rng(seed)
    labels = random.integers(3, size=number)
    centres = np.random.default_rng(99).normal(size=(3, 20))
    vectors = centres[labels] + spread * random.normal(size=(number, 20))
    return Examples(vectors * (1 if scales is None else scales), CLASSES[labels], np.arange(number) // 5)


def test_classes_are_found_by_all_measures():
    train, test = examples(400, 1), examples(300, 2)
    assert measures.linear_probe(train, test, 0).correct > 0.97 * 300
    assert measures.nearest_neighbours(train, test).correct > 0.97 * 300
    assert measures.cluster_agreement(examples(300, 2, 0.3), 0) > 0.97
    assert measures.linear_probe(train, test, 0).total == 300


def test_nothing_is_found_in_noise():
    train, test = (examples(600, seed)._replace(vectors=np.random.default_rng(seed).normal(size=(600, 20)))
                   for seed in (1, 2))  # fmt: skip
    # Five standard deviations of chance.
    for score in (measures.linear_probe(train, test, 0), measures.nearest_neighbours(train, test)):
        assert abs(score.correct / score.total - 1 / 3) < 5 * np.sqrt(2 / 9 / 600)
    assert measures.cluster_agreement(test, 0) < 0.03


def test_the_scale_of_features_does_not_matter_to_the_probe():
    scales = 10 ** np.random.default_rng(5).uniform(-4, 4, size=20)
    plain = measures.linear_probe(examples(400, 1), examples(300, 2), 0).correct
    scaled = measures.linear_probe(examples(400, 1, scales=scales), examples(300, 2, scales=scales), 0).correct
    assert abs(plain - scaled) <= 6


def test_scaling_is_chosen_by_the_training_examples():
    # Many features of noise, of little variance: with unit variance each, they would hide the others.
    random = np.random.default_rng(3)
    train, test = examples(120, 1, 0.5), examples(300, 2, 0.5)
    train, test = (
        part._replace(vectors=np.hstack([part.vectors, 1e-3 * random.normal(size=(len(part.labels), 2000))]))
        for part in (train, test)
    )
    assert measures.linear_probe(train, test, 0).correct > 0.95 * 300


def test_scaled_features_have_mean_0_and_variance_1():
    train, test = np.random.default_rng(0).normal(3, [1, 2, 5], size=(2, 500, 3))
    for together in (True, False):
        fitted, tested = measures.scaled(train, test, together)
        np.testing.assert_allclose(fitted.mean(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(fitted.var(axis=0).mean(), 1)
        # The held-out vectors are transformed as the training vectors were.
        again, _ = measures.scaled(train, train, together)
        shift = (test - train) / (train - train.mean(axis=0)) * again
        np.testing.assert_allclose(tested - fitted, shift)
    assert np.ptp(measures.scaled(train, test, False)[0].std(axis=0)) < 1e-9


def test_sparse_vectors_are_measured_like_dense_ones():
    random = np.random.default_rng(0)
    labels = random.integers(2, size=300)
    dense = (random.random((300, 40)) < 0.1 + 0.3 * (labels[:, None] == np.arange(40) % 2)).astype(float)
    parts = [
        Examples(dense[rows], labels[rows], np.arange(len(labels))[rows]) for rows in (slice(200), slice(200, 300))
    ]
    sparse = [part._replace(vectors=csr_array(part.vectors)) for part in parts]
    assert measures.nearest_neighbours(*sparse) == measures.nearest_neighbours(*parts)
    assert measures.linear_probe(*sparse, 0).correct > 85
    np.testing.assert_allclose(
        measures.cosine_similarities(sparse[1].vectors, sparse[0].vectors),
        measures.cosine_similarities(parts[1].vectors, parts[0].vectors),
    )


def test_pairs_are_probed_without_cross_validation():
    assert measures.pair_probe(examples(400, 1), examples(300, 2)).correct > 0.97 * 300


def test_cosine_similarities_are_those_of_the_definition():
    queries, documents = np.random.default_rng(0).normal(size=(2, 4, 7))
    found = measures.cosine_similarities(queries, documents)
    norms = np.outer(np.linalg.norm(queries, axis=1), np.linalg.norm(documents, axis=1))
    np.testing.assert_allclose(found, queries @ documents.T / norms)
    assert (measures.cosine_similarities(np.zeros((1, 7)), documents) == 0).all()


def test_ranks_are_those_of_scipy():
    similarities = np.random.default_rng(0).integers(5, size=(30, 12)).astype(float)
    wanted = np.random.default_rng(1).integers(12, size=30)
    expected = rankdata(-similarities, axis=1)[np.arange(30), wanted]
    assert measures.ranks(similarities, wanted).tolist() == expected.tolist()
    assert measures.mean_reciprocal_rank(similarities, wanted) == pytest.approx((1 / expected).mean())
    assert measures.found_first(similarities, wanted) == (int((expected == 1).sum()), 30)
