"""Token embeddings of equal length, as far from each other as the sphere allows: a spherical code.

A decoder that compares a noisy vector with all embeddings of a vocabulary errs least if their lengths are equal and the
largest cosine between any two of them is small. Random directions in few dimensions have near neighbours; here each
vector is moved away from its nearest ones.

Reference:
    Conway & Sloane, 1999, Sphere Packings, Lattices and Groups, section 1.2.6; repulsion: Sloane, Hardin & Smith,
    tables of spherical codes, http://neilsloane.com/packings/
"""

import jax
import jax.numpy as jnp
from flax.linen.initializers import Initializer
from jaxtyping import Array, Float, Int, Key

ROUNDS = 300
"""Maximum number of rounds of repulsion."""
WORK = 6e9
"""Maximum number of multiplications for cosines, in all rounds together: a few seconds of two CPU cores. In many
dimensions, where random directions are far from each other in any case, that is no round or few."""
LARGEST = 8192
"""Vectors of larger vocabularies are not moved: their cosines would not fit into memory."""
SHARPNESS = 100.0
"""Inverse temperature of the softmax over cosines that chooses a vector's neighbours."""
STEP = 0.3
"""Length of a step, relative to the neighbours' tangential component; it decreases linearly to 0."""


def spherical_code(norm: float) -> Initializer:
    """Returns an initializer of row vectors of length `norm` with small cosines between them.

    Example:
        >>> vectors = spherical_code(2.0)(jax.random.key(0), (4, 3))
        >>> bool(jnp.allclose(vectors @ vectors.T, jnp.where(jnp.eye(4) > 0, 4, -4 / 3), atol=0.1))
        True
    """

    def initialize(key, shape, dtype=jnp.float32) -> Array:
        number, size = shape
        rounds = min(ROUNDS, int(WORK // (number**2 * size))) if number <= LARGEST else 0
        return (norm * _spread(key, shape, rounds)).astype(dtype)

    return initialize


def _spread(key: Key[Array, ""], shape: tuple[int, int], rounds: int) -> Float[Array, "vector feat"]:
    """Draws unit vectors, and moves each away from the weighted mean of its neighbours."""

    def move(at: Int[Array, ""], vectors: Array) -> Array:
        cosines = vectors @ vectors.T - 2 * jnp.eye(shape[0])
        neighbours = jax.nn.softmax(SHARPNESS * cosines, axis=-1) @ vectors
        tangential = neighbours - jnp.sum(neighbours * vectors, axis=-1, keepdims=True) * vectors
        return _unit(vectors - STEP * (1 - at / rounds) * tangential)

    return jax.lax.fori_loop(0, rounds, move, _unit(jax.random.normal(key, shape)))


def _unit(vectors: Float[Array, "vector feat"]) -> Float[Array, "vector feat"]:
    return vectors / jnp.linalg.norm(vectors, axis=-1, keepdims=True)
