"""Token embeddings of equal length and small cosines."""

import jax
import numpy as np
import pytest

from hae_jax.layers.spherical_code import spherical_code

BEST = {(12, 3): 5**-0.5, (24, 4): 0.5, (6, 3): 0.0, (16, 5): 0.2}
"""Largest cosines of the best codes known: icosahedron, 24-cell, octahedron, and the Clebsch configuration."""


def largest_cosine(vectors: np.ndarray) -> float:
    cosines = vectors @ vectors.T / (vectors**2).sum(1)
    np.fill_diagonal(cosines, -1)
    return cosines.max()


@pytest.mark.parametrize("shape", BEST, ids=str)
def test_codes_are_nearly_as_good_as_the_best_ones_known(shape):
    found = min(largest_cosine(np.array(spherical_code(1.0)(jax.random.key(seed), shape))) for seed in range(3))
    assert BEST[shape] - 1e-3 < found < BEST[shape] + 0.12


@pytest.mark.parametrize(("number", "size"), [(54, 4), (2000, 8), (9000, 3)])
def test_vectors_have_the_given_length_and_depend_on_the_key(number, size):
    one, two = (np.array(spherical_code(0.7)(jax.random.key(seed), (number, size))) for seed in (0, 1))
    np.testing.assert_allclose(np.linalg.norm(one, axis=1), 0.7, rtol=1e-5)
    assert not np.allclose(one, two)


def test_vectors_are_farther_from_each_other_than_random_ones():
    shape = (2000, 8)
    random = np.random.default_rng(0).normal(size=shape)
    random /= np.linalg.norm(random, axis=1, keepdims=True)
    assert largest_cosine(np.array(spherical_code(1.0)(jax.random.key(0), shape))) < largest_cosine(random) - 0.1
