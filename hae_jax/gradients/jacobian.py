"""Singular values of the Jacobian of an LSTM layer's state over several steps."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from hae_jax.gradients.last_steps import last_steps
from hae_jax.layers.cell import LSTMState, LSTMWeights, lstm_step, project
from hae_jax.layers.scan import lstm_scan

STEPS = 10
"""Default number of steps."""


class Spectrum(NamedTuple):
    """Statistics of the singular values of d(c, h)_{t+k} / d(c, h)_t, to the power 1/k (per step), of each row.

    Attributes:
        largest: above 1 if some perturbation of the state grows, and some gradient grows backwards in time.
        median: the median.
        spread: variance of the logarithms; 0 if all are equal (dynamical isometry).

    Reference:
        Pennington, Schoenholz & Ganguli, 2017, https://arxiv.org/abs/1711.04735
    """

    largest: Float[Array, "row"]
    median: Float[Array, "row"]
    spread: Float[Array, "row"]


def spectrum(
    weights: LSTMWeights,
    inputs: Float[Array, "row time feat"],
    mask: Bool[Array, "row time"],
    steps: int = STEPS,
) -> Spectrum:
    """Computes the singular values over the last `steps` unmasked steps of each row.

    Args:
        weights: a layer with inputs and without context.
        inputs: a few rows: each needs 2 * hidden derivatives and a singular value decomposition.
        mask: True where a step is valid.
        steps: k; for a row with fewer unmasked steps, their number.
    """
    matrices, counts = jacobians(weights, inputs, mask, steps)
    values = jnp.linalg.svd(matrices, compute_uv=False)
    # The smallest ones may be rounded to 0, of which there is no logarithm.
    logs = jnp.log(jnp.maximum(values, jnp.finfo(values.dtype).tiny)) / jnp.maximum(counts, 1)[:, None]
    return Spectrum(jnp.exp(logs[:, 0]), jnp.exp(jnp.median(logs, -1)), logs.var(-1))


def jacobians(
    weights: LSTMWeights,
    inputs: Float[Array, "row time feat"],
    mask: Bool[Array, "row time"],
    steps: int = STEPS,
) -> tuple[Float[Array, "row state state"], Int[Array, "row"]]:
    """Returns the exact d(c, h)_{t+k} / d(c, h)_t over the last steps of each row, and their number k.

    The state is the cell followed by the hidden state: `state` = 2 * hidden.
    """
    batch, hidden = len(mask), weights.recurrent.shape[0]
    steps = min(steps, mask.shape[1])
    # Number of unmasked steps from each one to the last, itself included.
    remaining = jnp.cumsum(mask[:, ::-1], axis=1)[:, ::-1]
    zeros = LSTMState(jnp.zeros((batch, hidden), inputs.dtype), jnp.zeros((batch, hidden), inputs.dtype))
    start, _, _ = lstm_scan(zeros, inputs, mask & (remaining > steps), weights)
    at = last_steps(mask, steps)
    valid = jnp.take_along_axis(mask, at, axis=1)
    projected = project(jnp.take_along_axis(inputs, at[..., None], axis=1), weights)

    def run(flat, projected, valid):
        def advance(state, step):
            new, _ = lstm_step(state, step[0][None], weights)
            return jax.tree.map(lambda n, o: jnp.where(step[1], n, o), new, state), None

        cell, out = jnp.split(flat[None], 2, axis=-1)
        state, _ = jax.lax.scan(advance, LSTMState(cell, out), (projected, valid))
        return jnp.concatenate(state, axis=-1)[0]

    flat = jnp.concatenate(start, axis=-1)
    return jax.vmap(jax.jacfwd(run))(flat, projected, valid), valid.sum(1)
