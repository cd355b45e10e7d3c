"""The LSTM step over time, with masks, and with a backward pass whose loop holds a single matrix product.

Differentiating a scan of `lstm_step` accumulates the weights' gradients inside the backward loop: a [hidden, gates]
product and sum at every step. But the loop only has to find dz_t, the gradient of the gates' sums; then

    dU = sum_t h_{t-1}^T dz_t

is one large product over all steps (and dW, dx follow in the same way outside, by ordinary differentiation).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from hae_jax.layers.cell import Gates, LSTMState, LSTMWeights, Noise, lstm_step, project


def lstm_scan(
    state: LSTMState,
    inputs: Float[Array, "part time feat"] | None,
    mask: Bool[Array, "batch time"],
    weights: LSTMWeights,
    noise: Noise = Noise(),
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
    projected = project(
        None if inputs is None else jnp.swapaxes(inputs, 0, 1)[:, None],
        weights,
        None if context is None else context.reshape(1, batch // part, part, -1),
    )
    gates = projected.shape[-1]
    projected = jnp.broadcast_to(projected, (time, batch // part, part, gates)).reshape(time, batch, gates)
    steps = noise._replace(hidden=None)
    steps = jax.tree.map(lambda x: jnp.swapaxes(jnp.broadcast_to(x, (*mask.shape, x.shape[-1])), 0, 1), steps)
    nudge = None if nudge is None else jnp.swapaxes(nudge, 0, 1)
    plain = weights.norm is None and noise.keep_cell is None and noise.keep_hidden is None
    if plain:
        state, hidden, gates = _fast_scan(
            state, projected, mask.T, weights.recurrent, noise.hidden, steps.candidate, nudge
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
def _fast_scan(state, projected, mask, recurrent, hidden_noise, candidate_noise, nudge):
    """`_scan` for a cell without layer norm and zoneout; only `backward` differs."""
    weights = LSTMWeights(None, None, recurrent, None, None)
    return _scan(state, projected, mask, weights, hidden_noise, Noise(candidate=candidate_noise), nudge)


def _forward(state, projected, mask, recurrent, hidden_noise, candidate_noise, nudge):
    weights = LSTMWeights(None, None, recurrent, None, None)

    def advance(state, step):
        projected, real, noise, nudge = step
        new, gates = lstm_step(state, projected, weights, Noise(hidden_noise, noise))
        if nudge is not None:
            new = new._replace(hidden=new.hidden + nudge.astype(new.hidden.dtype))
        new = LSTMState(*(jnp.where(real[:, None], n, o) for n, o in zip(new, state, strict=True)))
        return new, (new.hidden, new.cell, gates)

    last, (hidden, cell, gates) = jax.lax.scan(advance, state, (projected, mask, candidate_noise, nudge))
    like = jnp.zeros((), projected.dtype)
    residuals = (state, mask, recurrent, hidden_noise, candidate_noise, nudge, hidden, cell, gates, like)
    return (last, hidden, gates), residuals


def _backward(residuals, cotangents):
    state, mask, recurrent, hidden_noise, candidate_noise, nudge, hidden, cell, gates, like = residuals
    d_last, d_hidden, _ = cotangents
    wide = cell.dtype
    transposed = recurrent.T.astype(hidden.dtype)
    before = LSTMState(
        jnp.concatenate([state.cell[None], cell[:-1]]), jnp.concatenate([state.hidden[None], hidden[:-1]])
    )

    def retreat(carry, step):
        d_cell, d_hidden = carry
        real, noise, d_output, gates, cell, cell_before = step
        real = real[:, None]
        d_hidden = d_hidden + d_output.astype(wide)
        squashed = jnp.tanh(cell)
        d_new = d_cell + d_hidden * gates.output * (1 - jnp.square(squashed))
        scale = 1 if noise is None else noise
        d_sums = jnp.concatenate(
            [
                d_new * gates.candidate * scale * gates.input * (1 - gates.input),
                d_new * cell_before * gates.forget * (1 - gates.forget),
                d_new * gates.input * scale * (1 - jnp.square(gates.candidate)),
                d_hidden * squashed * gates.output * (1 - gates.output),
            ],
            axis=-1,
        )
        d_sums = jnp.where(real, d_sums, 0).astype(hidden.dtype)
        d_before = jnp.matmul(d_sums, transposed, preferred_element_type=wide)
        if hidden_noise is not None:
            d_before = d_before * hidden_noise
        carry = (jnp.where(real, d_new * gates.forget, d_cell), jnp.where(real, d_before, d_hidden))
        return carry, (d_sums, None if nudge is None else jnp.where(real, d_hidden, 0))

    (d_cell, d_first), (d_sums, d_nudge) = jax.lax.scan(
        retreat,
        (d_last.cell.astype(wide), d_last.hidden.astype(wide)),
        (mask, candidate_noise, d_hidden, gates, cell, before.cell),
        reverse=True,
    )
    read = before.hidden if hidden_noise is None else before.hidden * hidden_noise.astype(hidden.dtype)
    d_recurrent = jnp.einsum("tbh,tbg->hg", read, d_sums, preferred_element_type=wide)
    return (
        LSTMState(d_cell, d_first.astype(state.hidden.dtype)),
        d_sums.astype(like.dtype),
        None,
        d_recurrent.astype(recurrent.dtype),
        jax.tree.map(jnp.zeros_like, hidden_noise),
        jax.tree.map(jnp.zeros_like, candidate_noise),
        None if nudge is None else d_nudge.astype(nudge.dtype),
    )


_fast_scan.defvjp(_forward, _backward)
