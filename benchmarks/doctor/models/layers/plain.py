"""Plain JAX: dictionaries of arrays, and loops over cells that are written out."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.doctor.models.grammar import Variant
from benchmarks.doctor.models.layers.initial import initial

Weights = dict[str, Any]
GATES = {"lstm": 4, "gru": 3, "rnn": 1}


class Layers:
    """Layers whose weights are dictionaries of arrays.

    Args:
        variant: of the model.
        weights: by the names of the layers; missing ones are created and added.
        key: of dropout; None without it.
    """

    def __init__(self, variant: Variant, weights: dict[str, Weights], key: Any = None):
        self.variant, self.weights, self.key = variant, weights, key
        self.initial = initial(variant)
        self.rng = np.random.default_rng((variant.seed, 3))

    def get(self, name: str, **shapes: tuple[int, ...]) -> Weights:
        """Returns the weights of a layer: kernels of variance 1 / inputs, and biases of 0."""
        if name not in self.weights:
            self.weights[name] = {
                part: jnp.asarray(
                    self.rng.normal(size=shape) / np.sqrt(np.prod(shape[:-1])) if len(shape) > 1 else np.zeros(shape),
                    jnp.float32,
                )
                for part, shape in shapes.items()
            }
        return self.weights[name]

    def dense(self, name: str, x: Any, width: int) -> Any:
        """Returns an affine map of the last axis."""
        p = self.get(name, w=(x.shape[-1], width), b=(width,))
        return x @ p["w"] + p["b"]

    def embed(self, name: str, ids: Any) -> Any:
        """Returns a vector for each id."""
        p = self.get(name, table=(self.variant.vocab, self.variant.units))
        return p["table"][ids] * math.sqrt(self.variant.vocab)

    def convolve(self, name: str, x: Any, causal: bool) -> Any:
        """Returns a convolution over three steps."""
        p = self.get(name, w=(3, x.shape[-1], self.variant.units), b=(self.variant.units,))
        padding = [(2, 0)] if causal else "SAME"
        y = jax.lax.conv_general_dilated(x, p["w"], (1,), padding, dimension_numbers=("NWC", "WIO", "NWC"))
        return jax.nn.relu(y + p["b"])

    def norm(self, name: str, x: Any, axis: int = -1) -> Any:
        """Returns x with mean 0 and variance 1, scaled and shifted."""
        p = self.get(name, scale=(x.shape[-1],), shift=(x.shape[-1],))
        normalized = (x - x.mean(axis, keepdims=True)) * jax.lax.rsqrt(x.var(axis, keepdims=True) + 1e-5)
        return normalized * (1 + p["scale"]) + p["shift"]

    def dropout(self, name: str, x: Any, rate: float) -> Any:
        """Returns x with some numbers set to 0."""
        if self.key is None:
            return x
        self.key, own = jax.random.split(self.key)
        return jnp.where(jax.random.bernoulli(own, 1 - rate, x.shape), x / (1 - rate), 0)

    def recurrent(self, name: str, inputs: int) -> Weights:
        """Returns the weights of a cell, its recurrent kernels orthogonal."""
        units, gates = self.variant.units, GATES[self.variant.cell]
        new = name not in self.weights
        p = self.get(name, wx=(inputs, gates * units), wh=(units, gates * units), b=(gates * units,))
        if new:
            square = [np.linalg.qr(self.rng.normal(size=(units, units)))[0] for _ in range(gates)]
            bias = np.zeros(gates * units, np.float32)
            if gates > 1:
                bias[units : 2 * units] = 1.0 if self.initial.forget is None else self.initial.forget
            p |= {
                "wx": p["wx"] * self.initial.scale,
                "wh": jnp.asarray(self.initial.gain * np.concatenate(square, 1), jnp.float32),
                "b": jnp.asarray(bias),
            }
        return p

    def step(self, p: Weights, state: Any, x: Any, real: Any) -> Any:
        """Returns the next state, or the same one where a step is not real."""
        new = CELLS[self.variant.cell](p, state, x, self.initial.activation)
        if real is not None:
            new = tuple(jnp.where(real[..., None], a, b) for a, b in zip(new, state, strict=True))
        return new

    def recur(self, name: str, x: Any, state: Any = None, real: Any = None, reverse: bool = False) -> Any:
        """Returns the last state and all outputs of a recurrent layer."""
        p = self.recurrent(name, x.shape[-1])
        if state is None:
            zeros = jnp.zeros((x.shape[0], self.variant.units), x.dtype)
            state = (zeros,) * (1 + (self.variant.cell == "lstm"))

        def body(state: Any, now: Any) -> Any:
            state = self.step(p, state, *now)
            return state, state[-1]

        def scan(state: Any, x: Any, real: Any) -> Any:
            return jax.lax.scan(body, state, (x, real), reverse=reverse)

        if self.variant.loop == "map":
            return jax.vmap(scan, in_axes=(0, 0, None if real is None else 0))(state, x, real)
        if self.variant.loop == "unrolled":
            steps = range(x.shape[1])[:: -1 if reverse else 1]
            outputs = {}
            for at in steps:
                state = self.step(p, state, x[:, at], None if real is None else real[:, at])
                outputs[at] = state[-1]
            return state, jnp.stack([outputs[at] for at in range(x.shape[1])], 1)
        state, outputs = scan(state, x.swapaxes(0, 1), None if real is None else real.swapaxes(0, 1))
        return state, outputs.swapaxes(0, 1)


def lstm(p: Weights, state: Any, x: Any, act: Callable[[Any], Any]) -> Any:
    """Returns the next (c, h) of a long short-term memory."""
    c, h = state
    i, f, g, o = jnp.split(x @ p["wx"] + h @ p["wh"] + p["b"], 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * act(g)
    return c, jax.nn.sigmoid(o) * act(c)


def gru(p: Weights, state: Any, x: Any, act: Callable[[Any], Any]) -> Any:
    """Returns the next (h,) of a gated recurrent unit, h' = (1 - z) n + z h."""
    (h,) = state
    xr, xz, xn = jnp.split(x @ p["wx"] + p["b"], 3, axis=-1)
    hr, hz, hn = jnp.split(h @ p["wh"], 3, axis=-1)
    z = jax.nn.sigmoid(xz + hz)
    return ((1 - z) * act(xn + jax.nn.sigmoid(xr + hr) * hn) + z * h,)


def rnn(p: Weights, state: Any, x: Any, act: Callable[[Any], Any]) -> Any:
    """Returns the next (h,) of a simple recurrence."""
    return (act(x @ p["wx"] + state[0] @ p["wh"] + p["b"]),)


CELLS = {"lstm": lstm, "gru": gru, "rnn": rnn}


def network(variant: Variant, forward: Any, fields: dict[str, Any]) -> tuple[Any, Any]:
    """Returns parameters, and a function of the architecture, parameters, fields and a key; None for no dropout."""

    def create(fields: dict[str, Any]) -> dict[str, Weights]:
        weights: dict[str, Weights] = {}
        forward(Layers(variant, weights), fields)
        return weights

    def apply(forward: Any, params: Any, fields: dict[str, Any], key: Any) -> Any:
        return forward(Layers(variant, dict(params), key), fields)

    return jax.jit(create)(fields), apply
