"""One LSTM step: the reference definition that every faster implementation is tested against.

    z_t = x_t W + v V + h_{t-1} U + b        (v: a context vector, constant over time)
    i, f, g, o = sigmoid(z_i), sigmoid(z_f), tanh(z_g), sigmoid(z_o)
    c_t = f * c_{t-1} + i * g
    h_t = o * tanh(c_t)

With layer normalization: z_t = LN(x_t W + v V) + LN(h_{t-1} U) + b and h_t = o * tanh(LN(c_t)).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class LSTMState(NamedTuple):
    """State of an LSTM layer; the cell is float32 or wider regardless of the computation's type."""

    cell: Float[Array, "*batch hidden"]
    hidden: Float[Array, "*batch hidden"]


class Gates(NamedTuple):
    """Gate activations of one step: input, forget and output gate in (0, 1), candidate in (-1, 1)."""

    input: Float[Array, "*batch hidden"]
    forget: Float[Array, "*batch hidden"]
    candidate: Float[Array, "*batch hidden"]
    output: Float[Array, "*batch hidden"]


class Norm(NamedTuple):
    """Parameters of layer normalization inside the cell: three gains, and the bias of the cell state, if any."""

    input: Float[Array, "gates"]
    recurrent: Float[Array, "gates"]
    cell: Float[Array, "hidden"]
    bias: Float[Array, "hidden"] | None


class OutputNorm(NamedTuple):
    """Parameters of layer normalization of a layer's output."""

    gain: Float[Array, "hidden"]
    bias: Float[Array, "hidden"] | None


class LSTMWeights(NamedTuple):
    """Parameters of one LSTM layer; `gates` = 4 * hidden, in the order input, forget, candidate, output.

    Attributes:
        kernel: W, from a step's input to the gates; None for a layer without inputs.
        context: V, from the context vector to the gates; None for a layer without a context.
        recurrent: U, from the previous hidden state to the gates.
        bias: b; None for a layer without biases.
        norm: None without layer normalization inside the cell.
        output: None without layer normalization of the layer's output.
    """

    kernel: Float[Array, "feat gates"] | None
    context: Float[Array, "context gates"] | None
    recurrent: Float[Array, "hidden gates"]
    bias: Float[Array, "gates"] | None
    norm: Norm | None = None
    output: OutputNorm | None = None


class RecurrentDropout(NamedTuple):
    """Masks of recurrent dropout and zoneout of one step, or of all steps with a time axis after the batch axis.

    Attributes:
        hidden: factor of the previous hidden state, the same at every step (variational dropout); None: no dropout.
        candidate: factor of the candidate (recurrent dropout without memory loss); None: no dropout.
        keep_cell: share of the previous cell state that is kept (zoneout), 0 or 1 in training, the rate in evaluation;
            None: no zoneout.
        keep_hidden: the same for the hidden state.
    """

    hidden: Float[Array, "*#batch #hidden"] | None = None
    candidate: Float[Array, "*#batch #hidden"] | None = None
    keep_cell: Float[Array, "*#batch #hidden"] | None = None
    keep_hidden: Float[Array, "*#batch #hidden"] | None = None


def normalize(x: Float[Array, "*batch feat"]) -> Float[Array, "*batch feat"]:
    """Shifts and scales the last axis to mean 0 and variance 1, in float32 or wider; 1e-5 is added to the variance.

    Reference:
        Ba, Kiros & Hinton, 2016, https://arxiv.org/abs/1607.06450
    """
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    centered = x - x.mean(-1, keepdims=True)
    return centered * jax.lax.rsqrt(jnp.square(centered).mean(-1, keepdims=True) + 1e-5)


def project(
    inputs: Float[Array, "*steps feat"] | None,
    weights: LSTMWeights,
    context: Float[Array, "*rows context"] | None = None,
) -> Float[Array, "*batch gates"]:
    """Computes x W + v V + b, the part of a step that does not depend on the previous state.

    It can therefore be computed for all steps at once, as one large matrix product.

    Args:
        inputs: x, with any number of leading axes; None for a layer without inputs.
        weights: the layer's parameters.
        context: v; its leading axes are broadcast against those of `inputs`. An axis of size 1 in place of time means
            that the product is computed once.

    Returns:
        The sum, layer-normalized before the bias is added where the cell has layer normalization.
    """
    pairs = [(inputs, weights.kernel), (context, weights.context)]
    terms = [product(x, w) for x, w in pairs if x is not None and w is not None]
    gates = weights.recurrent.shape[-1]
    total = sum(terms[1:], terms[0]) if terms else jnp.zeros((1, gates), weights.recurrent.dtype)
    if weights.norm is not None:
        total = normalize(total) * weights.norm.input
    return total if weights.bias is None else total + weights.bias.astype(total.dtype)


@jax.custom_vjp
def product(x: Float[Array, "*batch feat"], kernel: Float[Array, "feat gates"]) -> Float[Array, "*batch gates"]:
    """Returns x W. JAX's own gradient of W is a product of transposed arrays, which XLA copies on a CPU."""
    return x @ kernel.astype(x.dtype)


def _product(x, kernel):
    return product(x, kernel), (x, kernel)


def _product_gradients(residuals, d_gates):
    x, kernel = residuals
    d_kernel = contract_leading(x, d_gates, jnp.promote_types(x.dtype, jnp.float32))
    return d_gates @ kernel.T.astype(d_gates.dtype), d_kernel.astype(kernel.dtype)


product.defvjp(_product, _product_gradients)


def contract_leading(
    x: Float[Array, "*batch feat"], y: Float[Array, "*batch gates"], dtype: jnp.dtype
) -> Float[Array, "feat gates"]:
    """Returns x^T y, summed over all leading axes.

    The axes are neither reordered nor merged, so that one of them may be sharded over devices.
    """
    leading = tuple(range(x.ndim - 1))
    return jax.lax.dot_general(x, y, ((leading, leading), ((), ())), preferred_element_type=dtype)


def lstm_step(
    state: LSTMState,
    projected: Float[Array, "batch gates"],
    weights: LSTMWeights,
    dropout: RecurrentDropout = RecurrentDropout(),
) -> tuple[LSTMState, Gates]:
    """Advances an LSTM layer by one step.

    Args:
        state: the state before the step.
        projected: x_t W + v V + b, from `project`.
        weights: the layer's parameters.
        dropout: masks of dropout and zoneout for this step.

    Returns:
        The state after the step, whose `hidden` is also the step's output, and the gates.

    Example:
        >>> zeros = LSTMState(jnp.zeros((1, 2)), jnp.zeros((1, 2)))
        >>> weights = LSTMWeights(None, None, jnp.zeros((2, 8)), None, None)
        >>> state, gates = lstm_step(zeros, jnp.zeros((1, 8)), weights)
        >>> float(gates.forget[0, 0])
        0.5

    Reference:
        Hochreiter & Schmidhuber, 1997; forget gate: Gers et al., 2000; zoneout: Krueger et al., 2017,
        https://arxiv.org/abs/1606.01305; recurrent dropout: Gal & Ghahramani, 2016, https://arxiv.org/abs/1512.05287,
        Semeniuta et al., 2016, https://arxiv.org/abs/1603.05118

    Differs from the paper:
        The program of Li, Luong & Jurafsky (2015) returns h = o * c without the tanh.
    """
    wide = state.cell.dtype
    hidden = state.hidden if dropout.hidden is None else state.hidden * dropout.hidden.astype(state.hidden.dtype)
    recurrent = jnp.matmul(hidden, weights.recurrent.astype(hidden.dtype), preferred_element_type=wide)
    if weights.norm is not None:
        recurrent = normalize(recurrent) * weights.norm.recurrent
    gates = activate(projected.astype(wide) + recurrent)
    candidate = gates.candidate if dropout.candidate is None else gates.candidate * dropout.candidate
    cell = gates.forget * state.cell + gates.input * candidate
    exposed = cell
    if weights.norm is not None:
        exposed = normalize(cell) * weights.norm.cell
        exposed = exposed if weights.norm.bias is None else exposed + weights.norm.bias
    hidden = (gates.output * jnp.tanh(exposed)).astype(state.hidden.dtype)
    # The output is computed from the new cell: zoneout of the cell affects the stored state, not this step's output.
    kept = LSTMState(zoneout(cell, state.cell, dropout.keep_cell), zoneout(hidden, state.hidden, dropout.keep_hidden))
    return kept, gates


def layer_output(hidden: Float[Array, "*batch hidden"], weights: LSTMWeights) -> Float[Array, "*batch hidden"]:
    """Returns a layer's output (input of the next layer, level, or the softmax), given its hidden state.

    This is the hidden state itself, or its layer normalization if the layer has `OutputNorm` (like a
    LayerNormalization after a Keras LSTM). The recurrence always uses the unnormalized hidden state.
    """
    if weights.output is None:
        return hidden
    output = normalize(hidden) * weights.output.gain
    return (output if weights.output.bias is None else output + weights.output.bias).astype(hidden.dtype)


def activate(z: Float[Array, "*batch gates"]) -> Gates:
    """Applies the gates' activation functions to their pre-activations z_i, z_f, z_g and z_o."""
    i, f, g, o = jnp.split(z, 4, axis=-1)
    return Gates(jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o))


def zoneout(
    new: Float[Array, "*batch hidden"],
    old: Float[Array, "*batch hidden"],
    keep: Float[Array, "*#batch #hidden"] | None,
) -> Float[Array, "*batch hidden"]:
    """Keeps the old value of each unit where `keep` is 1: keep * old + (1 - keep) * new.

    Zoneout is a dropout of updates: the value of a unit, and its gradient, pass through the step unchanged. With the
    rate as `keep` the result is the expectation, so that evaluation is deterministic.

    Example:
        >>> zoneout(jnp.ones(2), jnp.zeros(2), jnp.array([0.25, 1.0])).tolist()
        [0.75, 0.0]

    Reference:
        Krueger et al., 2017, https://arxiv.org/abs/1606.01305
    """
    if keep is None:
        return new
    keep = keep.astype(new.dtype)
    # Not new + keep * (old - new), which rounds a small old value away.
    return keep * old + (1 - keep) * new
