"""The LSTM over time, with masks, and with a backward pass whose loop has a single matrix product.

Differentiating a scan of `lstm_step` accumulates the gradients of the weights inside the backward loop: a
[hidden, gates] product and sum at every step. However, the loop only has to compute dz_t, the gradient of the gates'
pre-activations; then

    dU = sum_t h_{t-1}^T dz_t

is one large product over all steps (and dW, dx follow in the same way outside the loop, by automatic differentiation).
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
    dropout: RecurrentDropout = RecurrentDropout(),
    perturbation: Float[Array, "batch time hidden"] | None = None,
    context: Float[Array, "batch context"] | None = None,
) -> tuple[LSTMState, Float[Array, "batch time hidden"], Gates]:
    """Runs an LSTM layer over time; masked steps leave the state unchanged.

    The last state of a row without unmasked steps, an empty sentence, is therefore its first.

    Args:
        state: the state before the first step.
        inputs: inputs of all steps; None for a layer without inputs. `part` divides `batch`: if there are fewer inputs
            than rows, they are repeated (the same words decoded from several vectors are projected once).
        mask: True where a step is valid.
        weights: the layer's parameters.
        dropout: masks of dropout and zoneout; all but `hidden` have a time axis after the batch axis.
        perturbation: zeros added to the hidden states of unmasked steps; the gradient of the loss with respect to them
            is dL/dh_t.
        context: second input of the layer, the same at every step.

    Returns:
        The state after each row's last unmasked step, the hidden state at every step, and the gates at every step (each
        [batch, time, hidden], undefined where `mask` is False). Gates are for inspection: they pass no gradient.
    """
    batch, time = mask.shape
    # Transposed to time-major before the product: x is smaller than its projection to the gates.
    part = batch if inputs is None else len(inputs)
    plain = time > 0 and weights.norm is None and dropout.keep_cell is None and dropout.keep_hidden is None
    projected = project(
        None if inputs is None else jnp.swapaxes(inputs, 0, 1)[:, None],
        weights._replace(bias=None) if plain else weights,
        None if context is None else context.reshape(1, batch // part, part, -1),
    )
    gates = projected.shape[-1]
    projected = jnp.broadcast_to(projected, (time, batch // part, part, gates)).reshape(time, batch, gates)
    steps = dropout._replace(hidden=None)
    steps = jax.tree.map(lambda x: jnp.swapaxes(jnp.broadcast_to(x, (*mask.shape, x.shape[-1])), 0, 1), steps)
    perturbation = None if perturbation is None else jnp.swapaxes(perturbation, 0, 1)
    if plain:
        state, hidden, gates = _fast_scan(
            state, projected, weights.bias, mask.T, weights.recurrent, dropout.hidden, steps.candidate, perturbation
        )
    else:
        state, hidden, gates = _scan(state, projected, mask.T, weights, dropout.hidden, steps, perturbation)
    gates = jax.tree.map(lambda x: jnp.swapaxes(jax.lax.stop_gradient(x), 0, 1), gates)
    return state, jnp.swapaxes(hidden, 0, 1), gates


def _scan(state, projected, mask, weights, hidden_mask, steps, perturbation):
    """The definition: a scan of `lstm_step` over time-major arrays, differentiated by JAX."""

    def advance(state, step):
        projected, valid, masks, perturbation = step
        new, gates = lstm_step(state, projected, weights, masks._replace(hidden=hidden_mask))
        if perturbation is not None:
            new = new._replace(hidden=new.hidden + perturbation.astype(new.hidden.dtype))
        state = LSTMState(*(jnp.where(valid[:, None], n, o) for n, o in zip(new, state, strict=True)))
        return state, (state.hidden, gates)

    state, (hidden, gates) = jax.lax.scan(advance, state, (projected, mask, steps, perturbation))
    return state, hidden, gates


@jax.custom_vjp
def _fast_scan(state, projected, bias, mask, recurrent, hidden_mask, candidate_mask, perturbation):
    """`_scan` for a cell without layer normalization and zoneout, with the bias added here and gradients in place.

    Second derivatives differentiate loops that carry whole arrays, and cost more than those of `_scan`.
    """
    weights = LSTMWeights(None, None, recurrent, None, None)
    projected = projected if bias is None else projected.astype(state.cell.dtype) + bias.astype(state.cell.dtype)
    return _scan(state, projected, mask, weights, hidden_mask, RecurrentDropout(candidate=candidate_mask), perturbation)


def _forward(state, projected, bias, mask, recurrent, hidden_mask, candidate_mask, perturbation):
    weights = LSTMWeights(None, None, recurrent, None, None)
    wide, time = state.cell.dtype, len(mask)

    def advance(t, carry):
        state, hidden, cells, gates = carry
        valid, candidate_t, step_perturbation = jax.tree.map(
            lambda x: take(x, t, 0, keepdims=False), (mask, candidate_mask, perturbation)
        )
        sums = take(gates, t, 0, keepdims=False)
        sums = sums if bias is None else sums + bias.astype(wide)
        new, step_gates = lstm_step(state, sums, weights, RecurrentDropout(hidden_mask, candidate_t))
        if step_perturbation is not None:
            new = new._replace(hidden=new.hidden + step_perturbation.astype(new.hidden.dtype))
        new = LSTMState(*(jnp.where(valid[:, None], n, o) for n, o in zip(new, state, strict=True)))
        gates = put(gates, jnp.concatenate(step_gates, axis=-1), t, 0)
        return new, put(hidden, new.hidden, t, 0), put(cells, state.cell, t, 0), gates

    # The gates of a step overwrite its projected input, which is not needed any more.
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
    residuals = (state, mask, recurrent, hidden_mask, candidate_mask, perturbation, hidden, cells, gates, likes)
    return (last, hidden, Gates(*jnp.split(gates, 4, axis=-1))), residuals


def _backward(residuals, cotangents):
    state, mask, recurrent, hidden_mask, candidate_mask, perturbation, hidden, cells, gates, likes = residuals
    d_last, d_outputs, _ = cotangents
    wide, time = cells.dtype, len(mask)
    transposed = recurrent.T.astype(hidden.dtype)

    def retreat(step, carry):
        t = time - 1 - step
        d_cell, d_hidden, step_gates, sums, d_perturbation = carry
        valid, candidate_t, d_output, before = jax.tree.map(
            lambda x: take(x, t, 0, keepdims=False), (mask, candidate_mask, d_outputs, cells)
        )
        valid, scale = valid[:, None], 1 if candidate_t is None else candidate_t
        i, f, g, o = jnp.split(step_gates, 4, axis=-1)
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
        d_sums = jnp.where(valid, d_sums, 0)
        d_before = jnp.matmul(d_sums.astype(hidden.dtype), transposed, preferred_element_type=wide)
        if hidden_mask is not None:
            d_before = d_before * hidden_mask
        if perturbation is not None:
            d_perturbation = put(d_perturbation, jnp.where(valid, d_hidden, 0), t, 0)
        # The gradient overwrites the gates. The next step's gates are read here, from the updated array: reading the
        # array before the update would make XLA copy all of it.
        sums = put(sums, d_sums, t, 0)
        d_cell, d_hidden = jnp.where(valid, d_new * f, d_cell), jnp.where(valid, d_before, d_hidden)
        return d_cell, d_hidden, take(sums, jnp.maximum(t - 1, 0), 0, keepdims=False), sums, d_perturbation

    d_cell, d_first, _, d_sums, d_perturbation = jax.lax.fori_loop(
        0, time, retreat,
        (
            d_last.cell.astype(wide), d_last.hidden.astype(wide), gates[-1], gates,
            None if perturbation is None else jnp.zeros(perturbation.shape, wide),
        ),
    )  # fmt: skip
    before = jnp.concatenate([state.hidden[None], hidden[:-1]])
    read = before if hidden_mask is None else before * hidden_mask.astype(hidden.dtype)
    d_recurrent = contract_leading(read, d_sums.astype(hidden.dtype), wide)
    like, bias_like = likes
    return (
        LSTMState(d_cell, d_first.astype(state.hidden.dtype)),
        d_sums.astype(like.dtype),
        None if bias_like is None else d_sums.sum((0, 1)).astype(bias_like.dtype),
        None,
        d_recurrent.astype(recurrent.dtype),
        jax.tree.map(jnp.zeros_like, hidden_mask),
        jax.tree.map(jnp.zeros_like, candidate_mask),
        None if perturbation is None else d_perturbation.astype(perturbation.dtype),
    )


_fast_scan.defvjp(_forward, _backward)
