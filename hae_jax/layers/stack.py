"""A stack of LSTM layers, as pure functions: over all steps at once, or one step at a time for decoders that have a
loop of their own."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from hae_jax.config import ModelConfig
from hae_jax.layers.cell import Gates, LSTMState, LSTMWeights, RecurrentDropout, layer_output, lstm_step, project
from hae_jax.layers.scan import lstm_scan

CHECKPOINT_ROWS = 256
"""Rows whose steps are kept at the same time by `checkpointed_scan`."""

States = tuple[LSTMState, ...]
"""The states of a stack, bottom layer first."""

StackDropout = tuple[tuple[Float[Array, "batch feat"] | None, RecurrentDropout], ...]
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
    noises: StackDropout,
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
        output = inputs = layer_output(state.hidden, weight)
        context = None
        advanced.append(state)
        seen.append(gates)
    return tuple(advanced), output, tuple(seen)


def stack_scan(
    states: States,
    inputs: Float[Array, "part time feat"] | None,
    mask: Bool[Array, "batch time"],
    weights: tuple[LSTMWeights, ...],
    noises: StackDropout,
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
        output = inputs = layer_output(hidden, weight)
        context = None
        last.append(state)
        seen.append(gates)
    return tuple(last), output, tuple(seen)


def checkpointed_scan(
    states: States,
    inputs: Float[Array, "part time feat"] | None,
    mask: Bool[Array, "batch time"],
    weights: tuple[LSTMWeights, ...],
    noises: StackDropout,
    nudges: tuple[Float[Array, "batch time hidden"] | None, ...],
    context: Float[Array, "batch vec"] | None = None,
) -> tuple[States, Float[Array, "batch time hidden"], tuple[Gates, ...]]:
    """Does what `stack_scan` does in less memory: a slice of rows after the other, and forward twice.

    A backward pass needs the gates and cell states of all steps, several times as much as goes into the layer and comes
    out of it. Here they are thrown away, and found again when a slice's turn has come: a third more work, and what is
    kept at the same time is that of `CHECKPOINT_ROWS` rows, however many there are.

    Reference:
        Chen et al., 2016, https://arxiv.org/abs/1604.06174
    """
    batch = len(mask)
    number = -(-batch // CHECKPOINT_ROWS)
    size = -(-batch // number)
    if inputs is not None:
        inputs = jnp.tile(inputs, (batch // len(inputs), 1, 1))

    def cut(x: Any) -> Any:
        x = jnp.broadcast_to(x, (batch, *x.shape[1:]))
        x = jnp.pad(x, [(0, number * size - batch)] + [(0, 0)] * (x.ndim - 1))
        return x.reshape(number, size, *x.shape[1:])

    @jax.checkpoint
    def run(piece: Any) -> Any:
        states, inputs, mask, noises, nudges, context = piece
        return stack_scan(states, inputs, mask, weights, noises, nudges, context)

    pieces = jax.tree.map(cut, (states, inputs, mask, noises, nudges, context))
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:batch], jax.lax.map(run, pieces))
