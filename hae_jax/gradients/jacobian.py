"""How an LSTM layer stretches small differences of its state over several steps: singular values of its Jacobian."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from hae_jax.gradients.last_steps import last_steps
from hae_jax.layers.cell import LSTMState, LSTMWeights, lstm_step, project
from hae_jax.layers.scan import lstm_scan

STEPS = 10


class Spectrum(NamedTuple):
    """Singular values of d(c, h)_{t+k} / d(c, h)_t, to the power 1/k: stretching a step, in each row.

    Attributes:
        largest: above 1, some difference of states grows, and some gradient grows backwards.
        median: what happens to most of them.
        spread: variance of the logarithms; 0 where everything is stretched alike (dynamical isometry).

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
    """Sums up the singular values over the last `steps` real steps of each row.

    Args:
        weights: a layer with inputs and without context.
        inputs: a handful of rows: each costs 2 * hidden derivatives and a singular value decomposition.
        mask: True where a step is real.
        steps: k; a row with fewer real steps has as many as it has.
    """
    matrices, taken = jacobians(weights, inputs, mask, steps)
    values = jnp.linalg.svd(matrices, compute_uv=False)
    # Rounding makes zeros of the smallest ones; they have no logarithm.
    logs = jnp.log(jnp.maximum(values, jnp.finfo(values.dtype).tiny)) / jnp.maximum(taken, 1)[:, None]
    return Spectrum(jnp.exp(logs[:, 0]), jnp.exp(jnp.median(logs, -1)), logs.var(-1))


def jacobians(
    weights: LSTMWeights,
    inputs: Float[Array, "row time feat"],
    mask: Bool[Array, "row time"],
    steps: int = STEPS,
) -> tuple[Float[Array, "row state state"], Int[Array, "row"]]:
    """Returns d(c, h)_{t+k} / d(c, h)_t over the last steps of each row, exactly, and k: how many they are.

    The state is the cell followed by the hidden state, so `state` = 2 * hidden.
    """
    batch, hidden = len(mask), weights.recurrent.shape[0]
    steps = min(steps, mask.shape[1])
    # Real steps from here to the end, this one included.
    remaining = jnp.cumsum(mask[:, ::-1], axis=1)[:, ::-1]
    zeros = LSTMState(jnp.zeros((batch, hidden), inputs.dtype), jnp.zeros((batch, hidden), inputs.dtype))
    start, _, _ = lstm_scan(zeros, inputs, mask & (remaining > steps), weights)
    at = last_steps(mask, steps)
    real = jnp.take_along_axis(mask, at, axis=1)
    projected = project(jnp.take_along_axis(inputs, at[..., None], axis=1), weights)

    def run(flat, projected, real):
        def advance(state, step):
            new, _ = lstm_step(state, step[0][None], weights)
            return jax.tree.map(lambda n, o: jnp.where(step[1], n, o), new, state), None

        cell, out = jnp.split(flat[None], 2, axis=-1)
        state, _ = jax.lax.scan(advance, LSTMState(cell, out), (projected, real))
        return jnp.concatenate(state, axis=-1)[0]

    flat = jnp.concatenate(start, axis=-1)
    return jax.vmap(jax.jacfwd(run))(flat, projected, real), real.sum(1)
