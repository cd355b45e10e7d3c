"""Equinox: a module that is a tree of arrays, whose layers map one example."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from benchmarks.doctor.models.grammar import Variant
from benchmarks.doctor.models.layers.initial import initial


class Model(eqx.Module):
    """A model of Equinox.

    Attributes:
        parts: layers by name.
    """

    parts: dict[str, Any]


def over(layer: Any, x: Any) -> Any:
    """Returns a layer of vectors mapped over all other axes."""
    for _ in range(x.ndim - 1):
        layer = jax.vmap(layer)
    return layer(x)


class Layers:
    """Layers that are created when they are first called.

    Args:
        variant: of the model.
        parts: layers by name; missing ones are added.
        key: of dropout; None without it.
    """

    def __init__(self, variant: Variant, parts: dict[str, Any], key: Any = None):
        self.variant, self.parts, self.key = variant, parts, key

    def get(self, name: str, make: Any) -> Any:
        """Returns a layer; its initial weights depend on the number of layers before it."""
        if name not in self.parts:
            self.parts[name] = make(jax.random.fold_in(jax.random.key(self.variant.seed), len(self.parts)))
        return self.parts[name]

    def dense(self, name: str, x: Any, width: int) -> Any:
        """Returns an affine map of the last axis."""
        return over(self.get(name, lambda key: eqx.nn.Linear(x.shape[-1], width, key=key)), x)

    def embed(self, name: str, ids: Any) -> Any:
        """Returns a vector for each id."""
        layer = self.get(name, lambda key: eqx.nn.Embedding(self.variant.vocab, self.variant.units, key=key))
        for _ in range(ids.ndim):
            layer = jax.vmap(layer)
        return layer(ids)

    def convolve(self, name: str, x: Any, causal: bool) -> Any:
        """Returns a convolution over three steps."""
        padding: Any = [(2, 0)] if causal else 1
        make = lambda key: eqx.nn.Conv1d(x.shape[-1], self.variant.units, 3, padding=padding, key=key)  # noqa: E731
        return jax.nn.relu(jax.vmap(self.get(name, make))(x.swapaxes(1, 2)).swapaxes(1, 2))

    def norm(self, name: str, x: Any, axis: int = -1) -> Any:
        """Returns x with mean 0 and variance 1, scaled and shifted; over an axis that is not the last one, by hand."""
        layer = self.get(name, lambda key: eqx.nn.LayerNorm(x.shape[-1]))
        if axis == -1:
            return over(layer, x)
        x = (x - x.mean(axis, keepdims=True)) / jnp.sqrt(x.var(axis, keepdims=True) + 1e-5)
        return x * layer.weight + layer.bias

    def dropout(self, name: str, x: Any, rate: float) -> Any:
        """Returns x with some numbers set to 0."""
        if self.key is None:
            return x
        self.key, own = jax.random.split(self.key)
        return eqx.nn.Dropout(rate)(x, key=own)

    def cell(self, inputs: int, key: Any) -> Any:
        """Returns a cell."""
        v, start = self.variant, initial(self.variant)
        if v.cell == "rnn":
            return eqx.nn.Linear(inputs + v.units, v.units, key=key)
        made: Any = (eqx.nn.LSTMCell if v.cell == "lstm" else eqx.nn.GRUCell)(inputs, v.units, key=key)
        kernels = lambda cell: (cell.weight_ih, cell.weight_hh)  # noqa: E731
        # Equinox draws weights from +-1 / sqrt(units), whose gain is 0.6.
        made = eqx.tree_at(kernels, made, (start.scale * made.weight_ih, start.gain * made.weight_hh))
        if start.forget is not None:
            made = eqx.tree_at(lambda cell: cell.bias, made, made.bias.at[v.units : 2 * v.units].set(start.forget))
        return made

    def recur(self, name: str, x: Any, state: Any = None, real: Any = None, reverse: bool = False) -> Any:
        """Returns the last state and all outputs of a recurrent layer."""
        v = self.variant
        cell = self.get(name, lambda key: self.cell(x.shape[-1], key))

        def step(state: Any, now: Any) -> Any:
            x, real = now
            if v.cell == "lstm":
                # Equinox has (h, c).
                h, c = cell(x, (state[1], state[0]))
                new: Any = (c, h)
            elif v.cell == "gru":
                new = (cell(x, state[0]),)
            else:
                new = (jnp.tanh(cell(jnp.concatenate([x, state[0]]))),)
            if real is not None:
                new = tuple(jnp.where(real, a, b) for a, b in zip(new, state, strict=True))
            return new, new[-1]

        if state is None:
            state = (jnp.zeros((x.shape[0], v.units)),) * (1 + (v.cell == "lstm"))
        scan = lambda state, x, real: jax.lax.scan(step, state, (x, real), reverse=reverse)  # noqa: E731
        return jax.vmap(scan, in_axes=(0, 0, None if real is None else 0))(state, x, real)


def network(variant: Variant, forward: Any, fields: dict[str, Any]) -> tuple[Any, Any]:
    """Returns the model, and a function of the architecture, model, fields and a key; None for no dropout."""

    def create(fields: dict[str, Any]) -> Model:
        parts: dict[str, Any] = {}
        forward(Layers(variant, parts), fields)
        return Model(parts)

    def apply(forward: Any, model: Model, fields: dict[str, Any], key: Any) -> Any:
        return forward(Layers(variant, model.parts, key), fields)

    return eqx.filter_jit(create)(fields), apply
