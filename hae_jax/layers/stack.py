"""A stack of LSTM layers as pure functions: over all steps, or a single step for decoders with a loop of their own."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from hae_jax.config import CellConfig
from hae_jax.layers.cell import Gates, LSTMState, LSTMWeights, RecurrentDropout, layer_output, lstm_step, project
from hae_jax.layers.scan import lstm_scan

CHECKPOINT_ROWS = 256
"""Maximum number of rows whose gates and cell states `checkpointed_scan` stores at the same time."""

States = tuple[LSTMState, ...]
"""The states of a stack, bottom layer first."""

StackDropout = tuple[tuple[Float[Array, "..."] | None, RecurrentDropout], ...]
"""For each layer the mask of its input dropout, [batch, feat of that layer], the same at every step, and the masks of
its steps."""


def zero_states(config: CellConfig, batch: int, hidden: int, layers: int = 1) -> States:
    """Returns states of zeros for every layer of a stack."""
    wide = jnp.promote_types(config.dtype, jnp.float32)
    state = LSTMState(jnp.zeros((batch, hidden), wide), jnp.zeros((batch, hidden), config.dtype))
    return (state,) * layers


def stack_step(
    states: States,
    inputs: Float[Array, "batch feat"] | None,
    weights: tuple[LSTMWeights, ...],
    dropout: StackDropout,
    perturbations: tuple[Float[Array, "batch hidden"] | None, ...],
    context: Float[Array, "batch context"] | None = None,
) -> tuple[States, Float[Array, "batch hidden"], tuple[Gates, ...]]:
    """Advances every layer of a stack by one step.

    Args:
        states: the states before the step.
        inputs: input of the bottom layer; None for a stack without inputs.
        weights: the layers' parameters.
        dropout: the layers' masks for this step.
        perturbations: for each layer zeros to add to its hidden state, or None; see `lstm_scan`.
        context: second input of the bottom layer, the same at every step.

    Returns:
        The states after the step, the top layer's output, and the gates of every layer.
    """
    new_states, all_gates = [], []
    for state, weight, (input_mask, masks), perturbation in zip(states, weights, dropout, perturbations, strict=True):
        if input_mask is not None and inputs is not None:
            inputs = inputs * input_mask.astype(inputs.dtype)
        projected = project(inputs, weight, context)
        projected = jnp.broadcast_to(projected, (len(state.hidden), projected.shape[-1]))
        state, gates = lstm_step(state, projected, weight, masks)
        if perturbation is not None:
            state = state._replace(hidden=state.hidden + perturbation.astype(state.hidden.dtype))
        output = inputs = layer_output(state.hidden, weight)
        context = None
        new_states.append(state)
        all_gates.append(gates)
    return tuple(new_states), output, tuple(all_gates)


def stack_scan(
    states: States,
    inputs: Float[Array, "part time feat"] | None,
    mask: Bool[Array, "batch time"],
    weights: tuple[LSTMWeights, ...],
    dropout: StackDropout,
    perturbations: tuple[Float[Array, "batch time hidden"] | None, ...],
    context: Float[Array, "batch context"] | None = None,
) -> tuple[States, Float[Array, "batch time hidden"], tuple[Gates, ...]]:
    """Runs every layer of a stack over time, one layer after the other; see `lstm_scan` for the arguments.

    Returns:
        The states after each row's last unmasked step, the top layer's outputs, and the gates of every layer.
    """
    last_states, all_gates = [], []
    for state, weight, (input_mask, masks), perturbation in zip(states, weights, dropout, perturbations, strict=True):
        if input_mask is not None and inputs is not None:
            inputs = jnp.tile(inputs, (len(mask) // len(inputs), 1, 1)) * input_mask[:, None].astype(inputs.dtype)
        state, hidden, gates = lstm_scan(state, inputs, mask, weight, masks, perturbation, context)
        output = inputs = layer_output(hidden, weight)
        context = None
        last_states.append(state)
        all_gates.append(gates)
    return tuple(last_states), output, tuple(all_gates)


def checkpointed_scan(
    states: States,
    inputs: Float[Array, "part time feat"] | None,
    mask: Bool[Array, "batch time"],
    weights: tuple[LSTMWeights, ...],
    dropout: StackDropout,
    perturbations: tuple[Float[Array, "batch time hidden"] | None, ...],
    context: Float[Array, "batch context"] | None = None,
) -> tuple[States, Float[Array, "batch time hidden"], tuple[Gates, ...]]:
    """Computes `stack_scan` with less memory: one slice of rows after the other, with recomputation.

    The backward pass needs the gates and cell states of all steps, several times the size of a layer's inputs and
    outputs. Here they are not stored but recomputed for one slice at a time: a third more work, and memory for the
    gates and cell states of `CHECKPOINT_ROWS` rows, independent of the batch size.

    Reference:
        Chen et al., 2016, https://arxiv.org/abs/1604.06174
    """
    batch = len(mask)
    number = -(-batch // CHECKPOINT_ROWS)
    size = -(-batch // number)
    if inputs is not None:
        inputs = jnp.tile(inputs, (batch // len(inputs), 1, 1))

    def split(x: Any) -> Any:
        x = jnp.broadcast_to(x, (batch, *x.shape[1:]))
        x = jnp.pad(x, [(0, number * size - batch)] + [(0, 0)] * (x.ndim - 1))
        return x.reshape(number, size, *x.shape[1:])

    @jax.checkpoint
    def run(rows: Any) -> Any:
        states, inputs, mask, dropout, perturbations, context = rows
        return stack_scan(states, inputs, mask, weights, dropout, perturbations, context)

    slices = jax.tree.map(split, (states, inputs, mask, dropout, perturbations, context))
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:batch], jax.lax.map(run, slices))
