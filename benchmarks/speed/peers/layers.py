"""One LSTM layer with given weights and all of its gradients, in this package and in other libraries.

All layers take the same `Case` and return their results, so that these can be compared. All steps are valid, as not all
libraries have masks; ours applies its mask nevertheless.
"""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import rnn
from jaxtyping import PyTree

from benchmarks.harness.stopwatch import Contender, compile_uncached, contender
from benchmarks.speed.peers.equipment import configure_torch
from hae_jax.layers.cell import LSTMState, LSTMWeights
from hae_jax.layers.scan import lstm_scan


class Case(NamedTuple):
    """Inputs and weights, float32; gates are in the order input, forget, candidate, output.

    Attributes:
        inputs: [batch, time, feat].
        kernel: [feat, 4 hidden].
        recurrent: [hidden, 4 hidden].
        bias: [4 hidden].
        cotangent: weights of the hidden states in the loss, their sum, [batch, time, hidden].
    """

    inputs: np.ndarray
    kernel: np.ndarray
    recurrent: np.ndarray
    bias: np.ndarray
    cotangent: np.ndarray


class LayerResult(NamedTuple):
    """The hidden states, and the gradients of their weighted sum."""

    hidden: np.ndarray
    inputs: np.ndarray
    kernel: np.ndarray
    recurrent: np.ndarray
    bias: np.ndarray


LayerPeer = tuple[Contender, Callable[[Any], LayerResult]]
"""A contender, and a function that converts its result."""


def random_case(batch: int, time: int, feat: int, hidden: int) -> Case:
    """Draws a case; the duration does not depend on its values."""
    rng = np.random.default_rng(0)
    wide = 4 * hidden
    shapes = ((batch, time, feat), (feat, wide), (hidden, wide), (wide,), (batch, time, hidden))
    spreads = (1.0, feat**-0.5, hidden**-0.5, 1.0, 1.0)
    return Case(*(rng.normal(0, s, shape).astype(np.float32) for s, shape in zip(spreads, shapes, strict=True)))


def ours(case: Case, dtype: str) -> LayerPeer:
    """Returns this package's scan."""

    def apply(weights: tuple, inputs: jax.Array) -> jax.Array:
        batch, time, _ = inputs.shape
        kernel, recurrent, bias = weights
        hidden = len(recurrent)
        state = LSTMState(jnp.zeros((batch, hidden), jnp.float32), jnp.zeros((batch, hidden), inputs.dtype))
        mask = jnp.ones((batch, time), bool)
        return lstm_scan(state, inputs, mask, LSTMWeights(kernel, None, recurrent, bias))[1]

    return _differentiated("ours", apply, case[1:4], case, dtype, lambda gradient: gradient)


def products(case: Case, dtype: str) -> Contender:
    """Returns the matrix products that every LSTM layer needs, and hardly anything else: a lower bound of its time.

    One per step forward and one backward, each dependent on the previous one, and four over all steps: the gates'
    inputs, and the gradients of the inputs and of both kernels.
    """
    arrays = [jnp.asarray(x, dtype) for x in (case.inputs, case.kernel, case.recurrent, case.cotangent)]
    return contender("the products alone", compile_uncached(multiply, *arrays), *arrays)


def multiply(inputs: jax.Array, kernel: jax.Array, recurrent: jax.Array, cotangent: jax.Array) -> tuple:
    """Computes products of the sizes of a layer's, with other values."""
    time = inputs.shape[1]
    gates = inputs @ kernel

    def forward(_: Any, hidden: jax.Array) -> jax.Array:
        # Using a part only would let the compiler multiply by a part of the matrix.
        return sum(jnp.split(hidden @ recurrent, 4, axis=-1))  # type: ignore[return-value]

    def back(_: Any, sums: jax.Array) -> jax.Array:
        return jnp.concatenate([sums @ recurrent.T] * 4, axis=-1)

    return (
        jax.lax.fori_loop(0, time, forward, cotangent[:, 0]),
        jax.lax.fori_loop(0, time, back, gates[:, 0]),
        gates @ kernel.T,
        *(jnp.einsum("bti,btg->ig", read, gates) for read in (inputs, cotangent)),
    )


def flax(case: Case, dtype: str) -> LayerPeer:
    """Returns `flax.linen.RNN` with `OptimizedLSTMCell`."""
    layer = nn.RNN(nn.OptimizedLSTMCell(len(case.recurrent), dtype=jnp.dtype(dtype)))
    weights: PyTree = {}
    for gate, kernel, recurrent, bias in zip("ifgo", *(np.split(x, 4, axis=-1) for x in case[1:4]), strict=True):
        weights["i" + gate] = {"kernel": kernel}
        weights["h" + gate] = {"kernel": recurrent, "bias": bias}

    def read(gradient: PyTree) -> tuple:
        join = [("i", "kernel"), ("h", "kernel"), ("h", "bias")]
        cell = gradient["cell"]
        return tuple(np.concatenate([cell[part + gate][name] for gate in "ifgo"], axis=-1) for part, name in join)

    def apply(weights: PyTree, inputs: jax.Array) -> jax.Array:
        return layer.apply({"params": weights}, inputs)  # type: ignore[return-value]

    return _differentiated("Flax nn.RNN(OptimizedLSTMCell)", apply, {"cell": weights}, case, dtype, read)


def keras(case: Case, dtype: str) -> LayerPeer:
    """Returns `keras.layers.LSTM`, on JAX."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras

    # Its initial weights are not used; orthogonal ones are not available in bfloat16.
    layer = keras.layers.LSTM(len(case.recurrent), return_sequences=True, recurrent_initializer="zeros", dtype=dtype)
    layer.build(case.inputs.shape)
    others = [variable.value for variable in layer.non_trainable_variables]

    def apply(weights: tuple, inputs: jax.Array) -> jax.Array:
        return layer.stateless_call(list(weights), others, inputs)[0]

    return _differentiated("Keras LSTM, on JAX", apply, case[1:4], case, dtype, lambda gradient: gradient)


def cudnn(case: Case, dtype: str) -> LayerPeer:
    """Returns `jax.experimental.rnn`, cuDNN's kernel in JAX; float32 on NVIDIA devices only."""
    (batch, time, feat), hidden = case.inputs.shape, len(case.recurrent)
    lengths = jnp.full(batch, time, jnp.int32)
    zeros = jnp.zeros((1, batch, hidden))

    def apply(weights: jax.Array, inputs: jax.Array) -> jax.Array:
        return rnn.lstm(inputs, zeros, zeros, weights, lengths, feat, hidden, 1, 0.0, False)[0]

    def read(gradient: jax.Array) -> tuple:
        return unpacked(np.asarray(gradient), feat, hidden)

    return _differentiated("jax.experimental.rnn (cuDNN)", apply, packed(case), case, dtype, read)


def packed(case: Case) -> np.ndarray:
    """Returns the weights as one array in cuDNN's layout: kernels transposed, two biases, the second one zero."""
    parts = (case.kernel.T, case.recurrent.T, case.bias, np.zeros_like(case.bias))
    return np.concatenate([part.ravel() for part in parts])


def unpacked(flat: np.ndarray, feat: int, hidden: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns kernel, recurrent kernel and first bias from such an array."""
    wide = 4 * hidden
    kernel, recurrent, bias, _ = np.split(flat, np.cumsum([feat * wide, hidden * wide, wide]))
    return kernel.reshape(wide, feat).T, recurrent.reshape(wide, hidden).T, bias


def torch(case: Case, dtype: str) -> LayerPeer:
    """Returns `torch.nn.LSTM`: oneDNN on a CPU, cuDNN on a GPU."""
    import torch

    options = {"device": configure_torch(torch), "dtype": getattr(torch, dtype)}
    feat, hidden = case.inputs.shape[-1], len(case.recurrent)
    lstm: Any = torch.nn.LSTM(feat, hidden, batch_first=True)
    with torch.no_grad():
        lstm.weight_ih_l0.copy_(torch.from_numpy(case.kernel.T))
        lstm.weight_hh_l0.copy_(torch.from_numpy(case.recurrent.T))
        lstm.bias_ih_l0.copy_(torch.from_numpy(case.bias))
        lstm.bias_hh_l0.zero_()
    lstm = lstm.to(**options)
    inputs = torch.from_numpy(case.inputs).to(**options).requires_grad_()
    cotangent = torch.from_numpy(case.cotangent).to(**options)

    def run(calls: int) -> Any:
        for _ in range(calls):
            lstm.zero_grad(set_to_none=True)
            inputs.grad = None
            hidden, _ = lstm(inputs)
            (hidden * cotangent).sum().backward()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return hidden

    def read(hidden: Any) -> LayerResult:
        result: tuple[Any, ...] = (
            hidden,
            inputs.grad,
            lstm.weight_ih_l0.grad.T,
            lstm.weight_hh_l0.grad.T,
            lstm.bias_ih_l0.grad,
        )
        return LayerResult(*(x.detach().float().cpu().numpy() for x in result))

    return Contender("PyTorch nn.LSTM", run), read


def _differentiated(
    name: str,
    apply: Callable[..., jax.Array],
    weights: PyTree,
    case: Case,
    dtype: str,
    read: Callable[[PyTree], tuple],
) -> LayerPeer:
    """Compiles the gradient of the weighted sum of hidden states with respect to weights and inputs."""

    def loss(weights: PyTree, inputs: jax.Array, cotangent: jax.Array) -> tuple[jax.Array, jax.Array]:
        hidden = apply(weights, inputs)
        return (hidden * cotangent).sum(), hidden

    weights, inputs, cotangent = jax.tree.map(lambda x: jnp.asarray(x, dtype), (weights, case.inputs, case.cotangent))
    program = compile_uncached(jax.grad(loss, (0, 1), has_aux=True), weights, inputs, cotangent)

    def convert(result: Any) -> LayerResult:
        (of_weights, of_inputs), hidden = jax.tree.map(lambda x: np.asarray(x, np.float32), result)
        return LayerResult(hidden, of_inputs, *read(of_weights))

    return contender(name, program, weights, inputs, cotangent), convert
