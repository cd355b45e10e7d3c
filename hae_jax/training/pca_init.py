"""Fresh weights from the data: before its first step a mirrored autoencoder of series is the best linear one."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PyTree

from hae_jax.batch import Signals
from hae_jax.models.series import Series
from hae_jax.models.windows import split_windows

SERIES = 1024
"""Series that are looked at, at most."""
SMALL = 0.05
"""A state so small that the decoder is linear there."""


def pca_init(model: Series, params: PyTree, data: Signals) -> PyTree:
    """Returns the parameters with vectors that are principal components of what they stand for.

    A mirrored LSTM piles up all that it reads, and takes it off a pile again, nearly linearly. So the best code there
    is for a linear reader, and what it has to be turned into, can be computed: level by level, with X the series of
    what it reads, one a row, Z its largest principal components, H the states in which the encoder ends, and D what the
    decoder says for a unit in each number of the state in which it starts,

        H K ~ Z        O D ~ V        with X ~ mean + Z V

    in the sense of least squares. Components that the data do not have keep the weights they were drawn with, and say
    nothing at first. Training starts from there.

    Args:
        model: mirrored.
        params: freshly drawn.
        data: training series.

    Reference:
        Pasa & Sperduti, 2014, "Pre-training of recurrent neural networks via linear autoencoders", NIPS 27
    """
    every = -(-len(data.values) // SERIES)
    few = jax.tree.map(lambda x: jnp.asarray(x[::every]), data)
    mask, real = few.mask, few.observed & few.mask[..., None]
    target = inputs = jnp.where(real, few.values, 0)
    if model.config.missing:
        inputs = jnp.concatenate([inputs, real.astype(inputs.dtype)], axis=-1)
    found = dict(params)
    for level, size in enumerate(model.config.sizes):
        if level < len(model.config.spans):
            inputs, target, mask = (split_windows(x, model.config.spans[level]) for x in (inputs, target, mask))
        pile = np.asarray(_pile(model, params, level, inputs, mask), np.float64)
        there = np.asarray(mask.any(-1))
        # Steps that no series has are nothing to remember.
        longest = int(np.asarray(mask).reshape(-1, mask.shape[-1]).any(axis=0).sum())
        rows = np.asarray(target[..., :longest, :], np.float64).reshape(*there.shape, -1)
        mean = rows[there].mean(axis=0)
        _, lengths, basis = np.linalg.svd(rows[there] - mean, full_matrices=False)
        basis = basis[:size][lengths[:size] > 1e-5 * np.sqrt(rows.size)]
        # All by the same number: what is large stays large to the level above.
        scale = lengths[0] / np.sqrt(there.sum()) if len(basis) else 1.0
        vectors = (rows - mean) @ basis.T / scale * there[..., None]
        found |= _maps(model, params, level, (pile[there], vectors[there]), (scale * basis, mean))
        spare = [(0, 0)] * (vectors.ndim - 1) + [(0, size - len(basis))]
        inputs = target = jnp.asarray(np.pad(vectors, spare), jnp.float32)
        mask = mask.any(-1)
    return found


def _maps(model: Series, params: PyTree, level: int, read: tuple, said: tuple) -> PyTree:
    """Returns the two affine maps of a level: from piles to vectors, and from vectors to piles."""
    (pile, vectors), (basis, mean), number = read, said, len(said[0])
    solved = np.linalg.lstsq(np.pad(pile, [(0, 0), (0, 1)], constant_values=1.0), vectors, rcond=1e-5)[0]
    summary, opening = f"summary_{level}", f"opening_{level}"
    kernel, bias = (np.array(params[summary][name]) for name in ("kernel", "bias"))
    kernel[:, :number], bias[:number] = solved[:-1], solved[-1]
    response, silence = _responses(model, params, level, mean.size)
    inverse = np.linalg.pinv(response, rcond=1e-3)
    units = model.units[level]
    start, rest = (np.zeros_like(params[opening][name]) for name in ("kernel", "bias"))
    start[:number, units:], rest[units:] = basis @ inverse, (mean - silence) @ inverse
    return {
        summary: {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(bias)},
        opening: {"kernel": jnp.asarray(start), "bias": jnp.asarray(rest)},
    }


def _responses(model: Series, params: PyTree, level: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns what a level of the decoder says for a unit in each number of its first state, and for zeros."""
    units, width = model.units[level], [model.channels, *model.config.sizes][level]
    starts = jnp.concatenate([jnp.zeros((1, units)), SMALL * jnp.eye(units)])
    vectors = jnp.zeros((units + 1, model.config.sizes[level]))
    mask = jnp.ones((units + 1, size // width), bool)
    said = np.asarray(_tell(model, params, level, vectors, mask, starts), np.float64).reshape(units + 1, -1)
    return (said[1:] - said[0]) / SMALL, said[0]


@partial(jax.jit, static_argnums=(0, 2))
def _pile(
    model: Series, params: PyTree, level: int, inputs: Float[Array, "*part time feat"], mask: Bool[Array, "*part time"]
) -> Float[Array, "*part hidden"]:
    found: Any = model.apply({"params": params}, level, inputs, mask, method="pile")
    return found


@partial(jax.jit, static_argnums=(0, 2))
def _tell(
    model: Series,
    params: PyTree,
    level: int,
    vectors: Float[Array, "row vec"],
    mask: Bool[Array, "row time"],
    starts: Float[Array, "row hidden"],
) -> Float[Array, "row time _"]:
    found: Any = model.apply({"params": params}, level, vectors, mask, start=starts, method="tell")
    return found
