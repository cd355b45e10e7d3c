"""An oracle: the layers in NumPy's float64, one number, step and row at a time.

Nothing here is shared with hae_jax but the names of the weights, and nothing is vectorized, so that nothing can be
transposed by mistake. It is written from the equations alone.
"""

import math
from types import SimpleNamespace

import numpy as np

NO_MASKS = SimpleNamespace(hidden=None, candidate=None, keep_cell=None, keep_hidden=None)
"""No dropout and no zoneout."""


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def norm(x, gain, epsilon=1e-5):
    """Layer normalization of one vector."""
    mean = sum(x) / len(x)
    variance = sum((value - mean) ** 2 for value in x) / len(x)
    return np.array([g * (value - mean) / math.sqrt(variance + epsilon) for g, value in zip(gain, x, strict=True)])


def times(x, kernel):
    """One vector times a matrix."""
    return np.array([sum(x[i] * kernel[i, j] for i in range(len(x))) for j in range(kernel.shape[1])])


def lstm_step(cell, hidden, x, weights, masks=NO_MASKS, context=None):
    """One row, one step; returns the new cell, the new hidden state, and the four gates [gate, unit].

    Zoneout as in Krueger et al. (2017): the new hidden state is computed from the new cell before zoneout.
    """
    units = len(hidden)
    seen = hidden if masks.hidden is None else hidden * masks.hidden
    from_hidden = times(seen, weights.recurrent)
    from_input = np.zeros(4 * units)
    if x is not None:
        from_input = from_input + times(x, weights.kernel)
    if context is not None:
        from_input = from_input + times(context, weights.context)
    if weights.norm is not None:
        from_input = norm(from_input, weights.norm.input)
        from_hidden = norm(from_hidden, weights.norm.recurrent)
    total = from_input + from_hidden + (0 if weights.bias is None else weights.bias)
    gates, new_cell = [], np.zeros(units)
    for unit in range(units):
        i, f, g, o = (total[gate * units + unit] for gate in range(4))
        i, f, g, o = sigmoid(i), sigmoid(f), math.tanh(g), sigmoid(o)
        gates.append((i, f, g, o))
        kept = 1 if masks.candidate is None else masks.candidate[unit]
        new_cell[unit] = f * cell[unit] + i * kept * g
    seen = new_cell
    if weights.norm is not None:
        seen = norm(new_cell, weights.norm.cell) + (0 if weights.norm.bias is None else weights.norm.bias)
    new_hidden = np.array([gates[unit][3] * math.tanh(seen[unit]) for unit in range(units)])
    if masks.keep_cell is not None:
        new_cell = masks.keep_cell * cell + (1 - masks.keep_cell) * new_cell
    if masks.keep_hidden is not None:
        new_hidden = masks.keep_hidden * hidden + (1 - masks.keep_hidden) * new_hidden
    return new_cell, new_hidden, np.array(gates).T


def layer_output(hidden, weights):
    """Returns the output of a layer, given its hidden state."""
    if weights.output is None:
        return hidden
    return norm(hidden, weights.output.gain) + (0 if weights.output.bias is None else weights.output.bias)


def lstm_row(cell, hidden, inputs, mask, weights, row_masks=None, context=None):
    """One row over time, without its masked steps. Returns the last state and the hidden states."""
    outputs = []
    for time, real in enumerate(mask):
        if real:
            x = None if inputs is None else inputs[time]
            masks = NO_MASKS if row_masks is None else row_masks[time]
            cell, hidden, _ = lstm_step(cell, hidden, x, weights, masks, context)
        outputs.append(hidden)
    return cell, hidden, np.array(outputs)


def attend(query, memory, mask, weights):
    """One query; returns the mean of the unmasked memory entries, weighted by softmax(u . tanh(q Q + m M))."""
    context, powers = np.zeros(memory.shape[-1]), 0.0
    for entry, real in zip(memory, mask, strict=True):
        if real:
            aligned = np.tanh(times(query, weights.query) + times(entry, weights.memory))
            power = math.exp(sum(aligned * weights.score))
            context, powers = context + power * entry, powers + power
    return context / powers if powers else context


def log_softmax(logits):
    biggest = max(logits)
    return logits - biggest - math.log(sum(math.exp(value - biggest) for value in logits))


def cross_entropy(hidden, kernel, bias, targets, mask):
    """Sum of -log p(target) over the unmasked tokens, and their number."""
    total = 0.0
    for h, target, real in zip(hidden, targets, mask, strict=True):
        if real:
            total -= log_softmax(times(h, kernel) + (0 if bias is None else bias))[target]
    return total, float(sum(mask))
