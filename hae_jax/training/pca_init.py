"""Initial weights of a mirrored autoencoder of series from principal components of the data."""

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
"""Maximum number of series that the components are computed from."""
SMALL = 0.05
"""Size of a hidden state at which the decoder is linear."""


def pca_init(model: Series, params: PyTree, data: Signals) -> PyTree:
    """Returns parameters that make the untrained autoencoder nearly equal to principal component analysis.

    A mirrored LSTM stores all its inputs, and reproduces them from its state, nearly linearly. So the best linear code,
    and its map to the decoder's initial state, have closed forms. Level by level, let X be the inputs of the encoder,
    one series per row, Z their largest principal components with X ~ mean + Z V, H the final states of the encoder, and
    D the outputs of the decoder for a unit in each component of its initial state. The maps K (states to vectors) and
    O (vectors to initial states) solve, in the sense of least squares,

        H K ~ Z        O D ~ V

    Components that the data lack keep their random weights in K and have no effect in O.

    Args:
        model: a model with `memory`.
        params: randomly initialized parameters.
        data: training series.

    Reference:
        Pasa & Sperduti, 2014, "Pre-training of recurrent neural networks via linear autoencoders", NIPS 27
    """
    every = -(-len(data.values) // SERIES)
    sample = jax.tree.map(lambda x: jnp.asarray(x[::every]), data)
    mask, observed = sample.mask, sample.observed & sample.mask[..., None]
    target = inputs = jnp.where(observed, sample.values, 0)
    if model.config.missing:
        inputs = jnp.concatenate([inputs, observed.astype(inputs.dtype)], axis=-1)
    initialized = dict(params)
    for level, size in enumerate(model.config.sizes):
        if level < len(model.config.spans):
            inputs, target, mask = (split_windows(x, model.config.spans[level]) for x in (inputs, target, mask))
        states = np.asarray(_encoder_states(model, params, level, inputs, mask), np.float64)
        real = np.asarray(mask.any(-1))
        # Steps that no series has need not be stored.
        longest = int(np.asarray(mask).reshape(-1, mask.shape[-1]).any(axis=0).sum())
        rows = np.asarray(target[..., :longest, :], np.float64).reshape(*real.shape, -1)
        mean = rows[real].mean(axis=0)
        _, singular_values, basis = np.linalg.svd(rows[real] - mean, full_matrices=False)
        basis = basis[:size][singular_values[:size] > 1e-5 * np.sqrt(rows.size)]
        # One scale for all components, so that their relative sizes are kept for the level above.
        scale = singular_values[0] / np.sqrt(real.sum()) if len(basis) else 1.0
        vectors = (rows - mean) @ basis.T / scale * real[..., None]
        initialized |= _maps(model, params, level, (states[real], vectors[real]), (scale * basis, mean))
        spare = [(0, 0)] * (vectors.ndim - 1) + [(0, size - len(basis))]
        inputs = target = jnp.asarray(np.pad(vectors, spare), jnp.float32)
        mask = mask.any(-1)
    return initialized


def _maps(model: Series, params: PyTree, level: int, encoded: tuple, decoded: tuple) -> PyTree:
    """Returns the parameters of a level's two affine maps.

    Args:
        model: the model.
        params: randomly initialized parameters.
        level: number of the level.
        encoded: final states of the encoder, and the vectors that they are mapped to.
        decoded: rows of V, and the mean.
    """
    (states, vectors), (basis, mean), number = encoded, decoded, len(decoded[0])
    solution = np.linalg.lstsq(np.pad(states, [(0, 0), (0, 1)], constant_values=1.0), vectors, rcond=1e-5)[0]
    # Names in the parameters: `summary` maps states to vectors, `opening` vectors to initial states.
    summary, opening = f"summary_{level}", f"opening_{level}"
    kernel, bias = (np.array(params[summary][name]) for name in ("kernel", "bias"))
    kernel[:, :number], bias[:number] = solution[:-1], solution[-1]
    response, offset = _responses(model, params, level, mean.size)
    inverse = np.linalg.pinv(response, rcond=1e-3)
    units = model.units[level]
    start_kernel, start_bias = (np.zeros_like(params[opening][name]) for name in ("kernel", "bias"))
    start_kernel[:number, units:], start_bias[units:] = basis @ inverse, (mean - offset) @ inverse
    return {
        summary: {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(bias)},
        opening: {"kernel": jnp.asarray(start_kernel), "bias": jnp.asarray(start_bias)},
    }


def _responses(model: Series, params: PyTree, level: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns a decoder level's output per unit of each component of its initial state, and its output for zeros."""
    units, width = model.units[level], [model.channels, *model.config.sizes][level]
    starts = jnp.concatenate([jnp.zeros((1, units)), SMALL * jnp.eye(units)])
    vectors = jnp.zeros((units + 1, model.config.sizes[level]))
    mask = jnp.ones((units + 1, size // width), bool)
    outputs = np.asarray(_decoder_outputs(model, params, level, vectors, mask, starts), np.float64)
    outputs = outputs.reshape(units + 1, -1)
    return (outputs[1:] - outputs[0]) / SMALL, outputs[0]


@partial(jax.jit, static_argnums=(0, 2))
def _encoder_states(
    model: Series, params: PyTree, level: int, inputs: Float[Array, "*part time feat"], mask: Bool[Array, "*part time"]
) -> Float[Array, "*part hidden"]:
    states: Any = model.apply({"params": params}, level, inputs, mask, method="encode_level")
    return states


@partial(jax.jit, static_argnums=(0, 2))
def _decoder_outputs(
    model: Series,
    params: PyTree,
    level: int,
    vectors: Float[Array, "row vec"],
    mask: Bool[Array, "row time"],
    starts: Float[Array, "row hidden"],
) -> Float[Array, "row time _"]:
    outputs: Any = model.apply({"params": params}, level, vectors, mask, start=starts, method="decode_level")
    return outputs
