"""A stack of LSTM layers, as pure functions: over all steps at once, or one step at a time for decoders that have a
loop of their own."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from hae_jax.config import ModelConfig
from hae_jax.layers.cell import Gates, LSTMState, LSTMWeights, Noise, expose, lstm_step, project
from hae_jax.layers.scan import lstm_scan

States = tuple[LSTMState, ...]
"""The states of a stack, bottom layer first."""

Noises = tuple[tuple[Float[Array, "batch feat"] | None, Noise], ...]
"""For each layer its input dropout, the same at every step, and the noise of its steps."""


def zero_states(config: ModelConfig, batch: int, hidden: int) -> States:
    """Returns states of zeros for every layer of a stack."""
    wide = jnp.promote_types(config.dtype, jnp.float32)
    state = LSTMState(jnp.zeros((batch, hidden), wide), jnp.zeros((batch, hidden), config.dtype))
    return (state,) * config.layers


def stack_step(
    states: States,
    inputs: Float[Array, "batch feat"] | None,
    weights: tuple[LSTMWeights, ...],
    noises: Noises,
    nudges: tuple[Float[Array, "batch hidden"] | None, ...],
    context: Float[Array, "batch vec"] | None = None,
) -> tuple[States, Float[Array, "batch hidden"], tuple[Gates, ...]]:
    """Advances every layer of a stack by one step.

    Args:
        states: the states before the step.
        inputs: what the bottom layer reads; None for a stack that reads nothing.
        weights: the layers' parameters.
        noises: the layers' noise of this step.
        nudges: for each layer zeros to add to its hidden state, or None; see `lstm_scan`.
        context: what the bottom layer reads at every step.

    Returns:
        The states after the step, the top layer's output, and the gates of every layer.
    """
    advanced, seen = [], []
    for state, weight, (drop, noise), nudge in zip(states, weights, noises, nudges, strict=True):
        if drop is not None and inputs is not None:
            inputs = inputs * drop.astype(inputs.dtype)
        projected = project(inputs, weight, context)
        projected = jnp.broadcast_to(projected, (len(state.hidden), projected.shape[-1]))
        state, gates = lstm_step(state, projected, weight, noise)
        if nudge is not None:
            state = state._replace(hidden=state.hidden + nudge.astype(state.hidden.dtype))
        output = inputs = expose(state.hidden, weight)
        context = None
        advanced.append(state)
        seen.append(gates)
    return tuple(advanced), output, tuple(seen)


def stack_scan(
    states: States,
    inputs: Float[Array, "part time feat"] | None,
    mask: Bool[Array, "batch time"],
    weights: tuple[LSTMWeights, ...],
    noises: Noises,
    nudges: tuple[Float[Array, "batch time hidden"] | None, ...],
    context: Float[Array, "batch vec"] | None = None,
) -> tuple[States, Float[Array, "batch time hidden"], tuple[Gates, ...]]:
    """Runs every layer of a stack over time, one after the other; see `lstm_scan` for the arguments.

    Returns:
        The states after each row's last real step, the top layer's outputs, and the gates of every layer.
    """
    last, seen = [], []
    for state, weight, (drop, noise), nudge in zip(states, weights, noises, nudges, strict=True):
        if drop is not None and inputs is not None:
            inputs = jnp.tile(inputs, (len(mask) // len(inputs), 1, 1)) * drop[:, None].astype(inputs.dtype)
        state, hidden, gates = lstm_scan(state, inputs, mask, weight, noise, nudge, context)
        output = inputs = expose(hidden, weight)
        context = None
        last.append(state)
        seen.append(gates)
    return tuple(last), output, tuple(seen)
