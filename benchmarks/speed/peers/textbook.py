"""Textbook implementations of the same model, with which the techniques of `hae_jax.layers` are compared."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PyTree

from hae_jax.batch import EOD, PAD
from hae_jax.inference.decode_loop import bind, mask_pad
from hae_jax.layers.cell import Gates, LSTMState, LSTMWeights, RecurrentDropout, lstm_step
from hae_jax.layers.losses import Loss
from hae_jax.models.outputs import Code


def scan(
    state: LSTMState,
    inputs: Float[Array, "part time feat"] | None,
    mask: Bool[Array, "batch time"],
    weights: LSTMWeights,
    dropout: RecurrentDropout = RecurrentDropout(),
    perturbation: Float[Array, "batch time hidden"] | None = None,
    context: Float[Array, "batch vec"] | None = None,
    hoist: bool = False,
) -> tuple[LSTMState, Float[Array, "batch time hidden"], Gates]:
    """Computes `lstm_scan` without dropout and perturbations; JAX differentiates the loop.

    Args:
        state: as in `lstm_scan`, like the following ones.
        inputs: inputs of all steps.
        mask: True where a step is valid.
        weights: the layer's parameters, without normalization in the cell.
        dropout: must be empty.
        perturbation: must be None.
        context: second input, the same at every step.
        hoist: whether to project the inputs of all steps before the loop, instead of each in its step.
    """
    batch, time = mask.shape
    if inputs is not None:
        inputs = jnp.tile(inputs, (batch // len(inputs), 1, 1)).swapaxes(0, 1)

    def project(inputs: Array | None) -> Array:
        total = jnp.zeros((batch, weights.recurrent.shape[-1]), state.hidden.dtype)
        for x, kernel in ((inputs, weights.kernel), (context, weights.context)):
            total = total if x is None or kernel is None else total + x @ kernel.astype(x.dtype)
        return total if weights.bias is None else total + weights.bias.astype(total.dtype)

    projected = jax.vmap(project, axis_size=time)(inputs) if hoist else None

    def advance(state: LSTMState, step: tuple) -> tuple[LSTMState, tuple[Array, Gates]]:
        inputs, projected, valid = step
        new, gates = lstm_step(state, project(inputs) if projected is None else projected, weights)
        state = LSTMState(*(jnp.where(valid[:, None], n, o) for n, o in zip(new, state, strict=True)))
        return state, (state.hidden, gates)

    state, (hidden, gates) = jax.lax.scan(advance, state, (inputs, projected, mask.T))
    return state, hidden.swapaxes(0, 1), jax.tree.map(lambda x: jax.lax.stop_gradient(x).swapaxes(0, 1), gates)


def cross_entropy(
    hidden: Float[Array, "token feat"],
    kernel: Float[Array, "feat vocab"],
    bias: Float[Array, "vocab"] | None,
    targets: Int[Array, "token"],
    mask: Bool[Array, "token"],
) -> Loss:
    """Computes `hae_jax.layers.losses.cross_entropy` with the logits of all tokens."""
    logits = jnp.matmul(hidden, kernel.astype(hidden.dtype), preferred_element_type=jnp.float32)
    logits = logits if bias is None else logits + bias
    nats = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    return Loss(jnp.where(mask, nats, 0).sum(), mask.sum(dtype=jnp.float32))


def greedy(model, params: PyTree, code: Code, max_tokens: int) -> Int[Array, "doc token"]:
    """Computes `hae_jax.inference.generate.greedy` in one loop that checks for the end before every token."""
    start, step = bind(model, params, "start"), bind(model, params, "step")
    docs = len(code.document)

    def more(carry: tuple) -> Array:
        at, _, _, ended, _ = carry
        return (at < max_tokens) & ~ended.all()

    def advance(carry: tuple) -> tuple:
        at, state, token, ended, output = carry
        state, logits = step(state, token)
        token = jnp.where(ended, PAD, mask_pad(logits).argmax(-1).astype(jnp.int32))
        return at + 1, state, token, ended | (token == EOD), output.at[:, at].set(token)

    output = jnp.full((docs, max_tokens), PAD, jnp.int32)
    carry = (0, start(code, max_tokens), jnp.full(docs, PAD, jnp.int32), jnp.zeros(docs, bool), output)
    return jax.lax.while_loop(more, advance, carry)[-1]
