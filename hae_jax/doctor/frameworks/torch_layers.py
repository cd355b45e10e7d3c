"""Recurrent layers of PyTorch as scans, so that a trace has as many loops as the model has layers.

torchax would compute each step of `nn.LSTM` by operations of its own. The gates are in the order of PyTorch: input,
forget, candidate, output for an LSTM; reset, update, candidate for a GRU. Each has two biases.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import torch

from hae_jax.doctor.frameworks.torch_functions import dropped
from hae_jax.doctor.frameworks.torch_rows import mark, unpack_rows

Step = Callable[..., tuple[Any, ...]]


class Weights(NamedTuple):
    """Weights of one direction of one layer; biases and projection may be None.

    Attributes:
        inputs: of inputs, `[gates * hidden, features]`.
        states: of states, `[gates * hidden, hidden]`.
        input_bias: `[gates * hidden]`.
        state_bias: `[gates * hidden]`.
        projection: of an LSTM's output, `[projected, hidden]`.
    """

    inputs: Any
    states: Any
    input_bias: Any = None
    state_bias: Any = None
    projection: Any = None


def affine(x: Any, weight: Any, bias: Any) -> Any:
    """Returns `x @ weight.T + bias`; the bias may be None."""
    return x @ weight.T if bias is None else x @ weight.T + bias


def lstm_step(weights: Weights, states: tuple[Any, ...], projected: Any) -> tuple[Any, ...]:
    """Returns hidden state and cell after one step, given `W_ih x + b_ih`."""
    hidden, cell = states
    gates = projected + affine(hidden, weights.states, weights.state_bias)
    write, keep, candidate, read = jnp.split(gates, 4, -1)
    cell = jax.nn.sigmoid(keep) * cell + jax.nn.sigmoid(write) * jnp.tanh(candidate)
    hidden = jax.nn.sigmoid(read) * jnp.tanh(cell)
    if weights.projection is not None:
        hidden = hidden @ weights.projection.T
    return hidden, cell


def gru_step(weights: Weights, states: tuple[Any, ...], projected: Any) -> tuple[Any, ...]:
    """Returns the hidden state after one step, given `W_ih x + b_ih`."""
    (hidden,) = states
    reset, update, candidate = jnp.split(projected, 3, -1)
    old_reset, old_update, old_candidate = jnp.split(affine(hidden, weights.states, weights.state_bias), 3, -1)
    keep = jax.nn.sigmoid(update + old_update)
    new = jnp.tanh(candidate + jax.nn.sigmoid(reset + old_reset) * old_candidate)
    return ((1 - keep) * new + keep * hidden,)


def simple_step(activation: Callable[[Any], Any]) -> Step:
    """Returns the step of `nn.RNN` with an activation."""

    def step(weights: Weights, states: tuple[Any, ...], projected: Any) -> tuple[Any, ...]:
        return (activation(projected + affine(states[0], weights.states, weights.state_bias)),)

    return step


def run(
    step: Step, weights: Weights, states: tuple[Any, ...], inputs: Any, real: Any, reverse: bool
) -> tuple[Any, tuple[Any, ...]]:
    """Runs one direction of a layer.

    Args:
        step: new states from old ones.
        weights: of the layer.
        states: initial states, `[batch, hidden]`.
        inputs: `[time, batch, features]`.
        real: which steps are real, `[time, batch]`; None if all are.
        reverse: whether to run from the last step to the first.

    Returns:
        The outputs, `[time, batch, hidden]`, and the last states.
    """
    projected = affine(inputs, weights.inputs, weights.input_bias)

    def body(states: tuple[Any, ...], now: Any) -> tuple[tuple[Any, ...], Any]:
        new = step(weights, states, now[0])
        if now[1] is not None:
            new = tuple(jnp.where(now[1][:, None], a, b) for a, b in zip(new, states, strict=True))
        return new, new[0]

    if len(inputs) == 1:
        # One step of a loop in Python, which is rolled up as a whole.
        states, output = body(states, (projected[0], None if real is None else real[0]))
        return output[None], states
    states, outputs = jax.lax.scan(body, states, (projected, real), reverse=reverse)
    return outputs, states


def layer(step: Step) -> Callable[..., Any]:
    """Returns the lowering of a recurrent layer of PyTorch, of padded or of packed sequences."""

    def lowering(env: Any, inputs: Any, *args: Any) -> Any:
        packed = not isinstance(args[2], bool)
        sizes, args = (args[0], args[1:]) if packed else (None, args)
        hx, flat, has_biases, layers, dropout, train, bidirectional, *rest = args
        batch_first = bool(rest and rest[0])
        states = env.t2j_iso(tuple(hx) if isinstance(hx, list | tuple) else (hx,))
        flat = env.t2j_iso(list(flat))
        real: Any = None
        if packed:
            outputs, real = unpack_rows(env, inputs, sizes)
        else:
            outputs = env.t2j_iso(inputs)
            unbatched = outputs.ndim == 2
            if unbatched:
                outputs, states = outputs[:, None], tuple(each[:, None] for each in states)
            elif batch_first:
                outputs = jnp.swapaxes(outputs, 0, 1)
        directions = 1 + bool(bidirectional)
        count = len(flat) // (layers * directions)
        last: list[tuple[Any, ...]] = []
        for number in range(layers):
            if number and dropout and train:
                outputs = dropped(env, outputs, dropout)
            both = []
            for reverse in range(directions):
                at = number * directions + reverse
                own = flat[at * count : (at + 1) * count]
                weights = Weights(*own[: 2 + 2 * has_biases])
                if len(own) % 2:
                    weights = weights._replace(projection=own[-1])
                with jax.named_scope(f"l{number}{'_reverse' * reverse}"):
                    ys, final = run(step, weights, tuple(each[at] for each in states), outputs, real, bool(reverse))
                both.append(ys)
                last.append(final)
            outputs = both[0] if directions == 1 else jnp.concatenate(both, -1)
        new = [jnp.stack(each) for each in zip(*last, strict=True)]
        if packed:
            # Rows of padding hold 0, as after padding a packed sequence.
            outputs = jnp.where(real[..., None], outputs, 0)
            return mark(env, outputs.reshape(-1, outputs.shape[-1]), real.reshape(-1)), *map(env.wrap, new)
        if unbatched:
            outputs, new = outputs[:, 0], [each[:, 0] for each in new]
        elif batch_first:
            outputs = jnp.swapaxes(outputs, 0, 1)
        return env.wrap(outputs), *map(env.wrap, new)

    return lowering


def cell(step: Step) -> Callable[..., Any]:
    """Returns the lowering of one step of a recurrent layer, as `nn.LSTMCell` computes it."""

    def lowering(env: Any, inputs: Any, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None) -> Any:
        weights = Weights(*env.t2j_iso((w_ih, w_hh, b_ih, b_hh)))
        states = env.t2j_iso(tuple(hx) if isinstance(hx, list | tuple) else (hx,))
        new = step(weights, states, affine(env.t2j_iso(inputs), weights.inputs, weights.input_bias))
        return tuple(map(env.wrap, new)) if len(new) > 1 else env.wrap(new[0])

    return lowering


VF: Any = torch._VF
LOWERINGS = {
    VF.lstm: layer(lstm_step),
    VF.gru: layer(gru_step),
    VF.rnn_tanh: layer(simple_step(jnp.tanh)),
    VF.rnn_relu: layer(simple_step(jax.nn.relu)),
    VF.lstm_cell: cell(lstm_step),
    VF.gru_cell: cell(gru_step),
    VF.rnn_tanh_cell: cell(simple_step(jnp.tanh)),
    VF.rnn_relu_cell: cell(simple_step(jax.nn.relu)),
}
