"""The LSTM step over time, with masks, and with a backward pass whose loop holds a single matrix product.

Differentiating a scan of `lstm_step` accumulates the weights' gradients inside the backward loop: a [hidden, gates]
product and sum at every step. But the loop only has to find dz_t, the gradient of the gates' sums; then

    dU = sum_t h_{t-1}^T dz_t

is one large product over all steps (and dW, dx follow in the same way outside, by ordinary differentiation).
"""

import jax
import jax.numpy as jnp
from jax.lax import dynamic_index_in_dim as take
from jax.lax import dynamic_update_index_in_dim as put
from jaxtyping import Array, Bool, Float

from hae_jax.layers.cell import Gates, LSTMState, LSTMWeights, RecurrentDropout, contract_leading, lstm_step, project


def lstm_scan(
    state: LSTMState,
    inputs: Float[Array, "part time feat"] | None,
    mask: Bool[Array, "batch time"],
    weights: LSTMWeights,
    noise: RecurrentDropout = RecurrentDropout(),
    nudge: Float[Array, "batch time hidden"] | None = None,
    context: Float[Array, "batch vec"] | None = None,
) -> tuple[LSTMState, Float[Array, "batch time hidden"], Gates]:
    """Runs an LSTM layer over time; where `mask` is False the state stays as it was.

    A row without a single real step, a blank sentence, therefore ends where it began.

    Args:
        state: the state before the first step.
        inputs: inputs of all steps; `part` divides `batch`, and fewer inputs than rows are read over and over (the same
            words decoded from several vectors are multiplied once); None for a layer that reads nothing.
        mask: True where a step is real.
        weights: the layer's parameters.
        noise: dropout and zoneout; all but `hidden` have a time axis after the batch axis.
        nudge: zeros added to the hidden states of real steps; the loss's gradient with respect to them is dL/dh_t.
        context: what the layer reads at every step besides its inputs.

    Returns:
        The state after each row's last real step, the hidden state at every step, and the gates at every step (each
        [batch, time, hidden], meaningless where `mask` is False). Gates are for looking at: no gradient passes them.
    """
    batch, time = mask.shape
    # Time goes first before the product: x is smaller than its image in the gates.
    part = batch if inputs is None else len(inputs)
    plain = time > 0 and weights.norm is None and noise.keep_cell is None and noise.keep_hidden is None
    projected = project(
        None if inputs is None else jnp.swapaxes(inputs, 0, 1)[:, None],
        weights._replace(bias=None) if plain else weights,
        None if context is None else context.reshape(1, batch // part, part, -1),
    )
    gates = projected.shape[-1]
    projected = jnp.broadcast_to(projected, (time, batch // part, part, gates)).reshape(time, batch, gates)
    steps = noise._replace(hidden=None)
    steps = jax.tree.map(lambda x: jnp.swapaxes(jnp.broadcast_to(x, (*mask.shape, x.shape[-1])), 0, 1), steps)
    nudge = None if nudge is None else jnp.swapaxes(nudge, 0, 1)
    if plain:
        state, hidden, gates = _fast_scan(
            state, projected, weights.bias, mask.T, weights.recurrent, noise.hidden, steps.candidate, nudge
        )
    else:
        state, hidden, gates = _scan(state, projected, mask.T, weights, noise.hidden, steps, nudge)
    gates = jax.tree.map(lambda x: jnp.swapaxes(jax.lax.stop_gradient(x), 0, 1), gates)
    return state, jnp.swapaxes(hidden, 0, 1), gates


def _scan(state, projected, mask, weights, hidden_noise, steps, nudge):
    """The definition: `lstm_step` over time-major arrays, differentiated by JAX."""

    def advance(state, step):
        projected, real, noise, nudge = step
        new, gates = lstm_step(state, projected, weights, noise._replace(hidden=hidden_noise))
        if nudge is not None:
            new = new._replace(hidden=new.hidden + nudge.astype(new.hidden.dtype))
        state = LSTMState(*(jnp.where(real[:, None], n, o) for n, o in zip(new, state, strict=True)))
        return state, (state.hidden, gates)

    state, (hidden, gates) = jax.lax.scan(advance, state, (projected, mask, steps, nudge))
    return state, hidden, gates


@jax.custom_vjp
def _fast_scan(state, projected, bias, mask, recurrent, hidden_noise, candidate_noise, nudge):
    """`_scan` for a cell without layer norm and zoneout, of inputs without their bias; for gradients in place.

    Second derivatives go through loops that carry whole arrays, and cost more than those of `_scan`.
    """
    weights = LSTMWeights(None, None, recurrent, None, None)
    projected = projected if bias is None else projected.astype(state.cell.dtype) + bias.astype(state.cell.dtype)
    return _scan(state, projected, mask, weights, hidden_noise, RecurrentDropout(candidate=candidate_noise), nudge)


def _forward(state, projected, bias, mask, recurrent, hidden_noise, candidate_noise, nudge):
    weights = LSTMWeights(None, None, recurrent, None, None)
    wide, time = state.cell.dtype, len(mask)

    def advance(t, carry):
        state, hidden, cells, gates = carry
        real, noise, step_nudge = jax.tree.map(lambda x: take(x, t, 0, keepdims=False), (mask, candidate_noise, nudge))
        sums = take(gates, t, 0, keepdims=False)
        sums = sums if bias is None else sums + bias.astype(wide)
        new, opened = lstm_step(state, sums, weights, RecurrentDropout(hidden_noise, noise))
        if step_nudge is not None:
            new = new._replace(hidden=new.hidden + step_nudge.astype(new.hidden.dtype))
        new = LSTMState(*(jnp.where(real[:, None], n, o) for n, o in zip(new, state, strict=True)))
        gates = put(gates, jnp.concatenate(opened, axis=-1), t, 0)
        return new, put(hidden, new.hidden, t, 0), put(cells, state.cell, t, 0), gates

    # The gates of a step take the place of its projected input, which nobody needs any more.
    last, hidden, cells, gates = jax.lax.fori_loop(
        0, time, advance,
        (
            state,
            jnp.zeros((time, *state.hidden.shape), state.hidden.dtype),
            jnp.zeros((time, *state.cell.shape), wide),
            projected.astype(wide),
        ),
    )  # fmt: skip
    likes = jax.tree.map(lambda x: jnp.zeros((), x.dtype), (projected, bias))
    residuals = (state, mask, recurrent, hidden_noise, candidate_noise, nudge, hidden, cells, gates, likes)
    return (last, hidden, Gates(*jnp.split(gates, 4, axis=-1))), residuals


def _backward(residuals, cotangents):
    state, mask, recurrent, hidden_noise, candidate_noise, nudge, hidden, cells, gates, likes = residuals
    d_last, d_outputs, _ = cotangents
    wide, time = cells.dtype, len(mask)
    transposed = recurrent.T.astype(hidden.dtype)

    def retreat(step, carry):
        t = time - 1 - step
        d_cell, d_hidden, opened, sums, d_nudge = carry
        real, noise, d_output, before = jax.tree.map(
            lambda x: take(x, t, 0, keepdims=False), (mask, candidate_noise, d_outputs, cells)
        )
        real, scale = real[:, None], 1 if noise is None else noise
        i, f, g, o = jnp.split(opened, 4, axis=-1)
        d_hidden = d_hidden + d_output.astype(wide)
        squashed = jnp.tanh(f * before + i * g * scale)
        d_new = d_cell + d_hidden * o * (1 - jnp.square(squashed))
        d_sums = jnp.concatenate(
            [
                d_new * g * scale * i * (1 - i),
                d_new * before * f * (1 - f),
                d_new * i * scale * (1 - jnp.square(g)),
                d_hidden * squashed * o * (1 - o),
            ],
            axis=-1,
        )
        d_sums = jnp.where(real, d_sums, 0)
        d_before = jnp.matmul(d_sums.astype(hidden.dtype), transposed, preferred_element_type=wide)
        if hidden_noise is not None:
            d_before = d_before * hidden_noise
        if nudge is not None:
            d_nudge = put(d_nudge, jnp.where(real, d_hidden, 0), t, 0)
        # The gradient takes the gates' place. The next step's gates are read now, from the array that has been written
        # to: a reader of the array as it was would make XLA copy all of it.
        sums = put(sums, d_sums, t, 0)
        d_cell, d_hidden = jnp.where(real, d_new * f, d_cell), jnp.where(real, d_before, d_hidden)
        return d_cell, d_hidden, take(sums, jnp.maximum(t - 1, 0), 0, keepdims=False), sums, d_nudge

    d_cell, d_first, _, d_sums, d_nudge = jax.lax.fori_loop(
        0, time, retreat,
        (
            d_last.cell.astype(wide), d_last.hidden.astype(wide), gates[-1], gates,
            None if nudge is None else jnp.zeros(nudge.shape, wide),
        ),
    )  # fmt: skip
    before = jnp.concatenate([state.hidden[None], hidden[:-1]])
    read = before if hidden_noise is None else before * hidden_noise.astype(hidden.dtype)
    d_recurrent = contract_leading(read, d_sums.astype(hidden.dtype), wide)
    like, bias_like = likes
    return (
        LSTMState(d_cell, d_first.astype(state.hidden.dtype)),
        d_sums.astype(like.dtype),
        None if bias_like is None else d_sums.sum((0, 1)).astype(bias_like.dtype),
        None,
        d_recurrent.astype(recurrent.dtype),
        jax.tree.map(jnp.zeros_like, hidden_noise),
        jax.tree.map(jnp.zeros_like, candidate_noise),
        None if nudge is None else d_nudge.astype(nudge.dtype),
    )


_fast_scan.defvjp(_forward, _backward)
