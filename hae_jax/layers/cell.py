"""One LSTM step: the readable definition that every faster path is tested against.

    z_t = x_t W + v V + h_{t-1} U + b        (v: a context that is the same at every step)
    i, f, g, o = sigmoid(z_i), sigmoid(z_f), tanh(z_g), sigmoid(z_o)
    c_t = f * c_{t-1} + i * g
    h_t = o * tanh(c_t)

With layer normalisation: z_t = LN(x_t W + v V) + LN(h_{t-1} U) + b and h_t = o * tanh(LN(c_t)).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class LSTMState(NamedTuple):
    """What an LSTM layer carries from one step to the next; the cell is float32 or wider whatever the compute type."""

    cell: Float[Array, "*batch hidden"]
    hidden: Float[Array, "*batch hidden"]


class Gates(NamedTuple):
    """Activations of one step: input, forget and output gate in (0, 1), candidate in (-1, 1)."""

    input: Float[Array, "*batch hidden"]
    forget: Float[Array, "*batch hidden"]
    candidate: Float[Array, "*batch hidden"]
    output: Float[Array, "*batch hidden"]


class Norm(NamedTuple):
    """Parameters of layer normalisation inside the cell: three gains, and the cell's bias, if any."""

    input: Float[Array, "gates"]
    recurrent: Float[Array, "gates"]
    cell: Float[Array, "hidden"]
    bias: Float[Array, "hidden"] | None


class OutputNorm(NamedTuple):
    """Parameters of layer normalisation of what a layer gives away."""

    gain: Float[Array, "hidden"]
    bias: Float[Array, "hidden"] | None


class LSTMWeights(NamedTuple):
    """Parameters of one LSTM layer; `gates` = 4 * hidden, in the order input, forget, candidate, output.

    Attributes:
        kernel: maps a step's input to the gates; None for a layer without inputs.
        context: maps what is the same at every step to the gates; None where there is no such thing.
        recurrent: maps the previous hidden state to the gates.
        bias: None for a layer without biases.
        norm: None without layer normalisation inside the cell.
        output: None without layer normalisation of the layer's output.
    """

    kernel: Float[Array, "feat gates"] | None
    context: Float[Array, "vec gates"] | None
    recurrent: Float[Array, "hidden gates"]
    bias: Float[Array, "gates"] | None
    norm: Norm | None = None
    output: OutputNorm | None = None


class RecurrentDropout(NamedTuple):
    """Regularising noise of one step, or with a time axis after the batch axis of all steps; None: no such noise.

    Attributes:
        hidden: multiplies the previous hidden state; the same at every step (variational dropout).
        candidate: multiplies the candidate (Semeniuta's recurrent dropout).
        keep_cell: share of the old cell state that survives: zeros and ones while training, the rate in evaluation.
        keep_hidden: the same for the hidden state.
    """

    hidden: Float[Array, "*#batch #hidden"] | None = None
    candidate: Float[Array, "*#batch #hidden"] | None = None
    keep_cell: Float[Array, "*#batch #hidden"] | None = None
    keep_hidden: Float[Array, "*#batch #hidden"] | None = None


def normalize(x: Float[Array, "*batch feat"]) -> Float[Array, "*batch feat"]:
    """Shifts and scales the last axis to mean 0 and variance 1, in float32 or wider.

    Reference:
        Ba, Kiros & Hinton, 2016, https://arxiv.org/abs/1607.06450
    """
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    centred = x - x.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + 1e-5)


def project(
    inputs: Float[Array, "*steps feat"] | None,
    weights: LSTMWeights,
    context: Float[Array, "*rows vec"] | None = None,
) -> Float[Array, "*batch gates"]:
    """Maps inputs to the gates: all of a step's arithmetic that does not wait for the previous state.

    Being independent of the state it runs for all steps at once, as one large matrix product.

    Args:
        inputs: any number of leading axes; None for a layer that reads nothing.
        weights: the layer's parameters.
        context: its leading axes are broadcast against those of `inputs`: with 1 where they have time, it is multiplied
            once.

    Returns:
        x W + v V + b, normalised before the bias where the layer has layer normalisation.
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
    """Returns x W. JAX's own gradient of W is a product of transposed arrays, which XLA has to copy on a CPU."""
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
    """Returns x^T y, summed over all leading axes: their order is kept, and none is merged, so that one of them may be
    divided among devices."""
    leading = tuple(range(x.ndim - 1))
    return jax.lax.dot_general(x, y, ((leading, leading), ((), ())), preferred_element_type=dtype)


def lstm_step(
    state: LSTMState,
    projected: Float[Array, "batch gates"],
    weights: LSTMWeights,
    noise: RecurrentDropout = RecurrentDropout(),
) -> tuple[LSTMState, Gates]:
    """Advances an LSTM layer by one step.

    Args:
        state: the state before the step.
        projected: the step's input as `project` returns it.
        weights: the layer's parameters.
        noise: dropout and zoneout of this step.

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
    hidden = state.hidden if noise.hidden is None else state.hidden * noise.hidden.astype(state.hidden.dtype)
    recurrent = jnp.matmul(hidden, weights.recurrent.astype(hidden.dtype), preferred_element_type=wide)
    if weights.norm is not None:
        recurrent = normalize(recurrent) * weights.norm.recurrent
    gates = activate(projected.astype(wide) + recurrent)
    candidate = gates.candidate if noise.candidate is None else gates.candidate * noise.candidate
    cell = gates.forget * state.cell + gates.input * candidate
    exposed = cell
    if weights.norm is not None:
        exposed = normalize(cell) * weights.norm.cell
        exposed = exposed if weights.norm.bias is None else exposed + weights.norm.bias
    hidden = (gates.output * jnp.tanh(exposed)).astype(state.hidden.dtype)
    # The output exposes the proposed cell: what a unit zones out is what it remembers, not what it says.
    kept = LSTMState(zoneout(cell, state.cell, noise.keep_cell), zoneout(hidden, state.hidden, noise.keep_hidden))
    return kept, gates


def layer_output(hidden: Float[Array, "*batch hidden"], weights: LSTMWeights) -> Float[Array, "*batch hidden"]:
    """Turns a layer's hidden state into what others read of it: the next layer, the next level, the softmax.

    The same, but for a layer whose output is normalised, as by a LayerNormalization after a Keras LSTM; the layer's own
    recurrence never sees the normalisation.
    """
    if weights.output is None:
        return hidden
    given = normalize(hidden) * weights.output.gain
    return (given if weights.output.bias is None else given + weights.output.bias).astype(hidden.dtype)


def activate(z: Float[Array, "*batch gates"]) -> Gates:
    """Turns the four gates' sums into their activations."""
    i, f, g, o = jnp.split(z, 4, axis=-1)
    return Gates(jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o))


def zoneout(
    new: Float[Array, "*batch hidden"],
    old: Float[Array, "*batch hidden"],
    keep: Float[Array, "*#batch #hidden"] | None,
) -> Float[Array, "*batch hidden"]:
    """Lets each unit keep its old value where `keep` is 1: keep * old + (1 - keep) * new.

    Zoneout is dropout that forgets to update instead of forgetting: the unit's memory, and its gradient, pass through
    the step unchanged. With the rate itself as `keep` this is the expectation, so evaluation needs no randomness.

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
