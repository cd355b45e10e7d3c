"""Flax NNX: objects that hold their weights, split into a graph and a state."""

from typing import Any

import flax.linen
import jax
import jax.numpy as jnp
from flax import nnx

from benchmarks.doctor.models.grammar import Variant
from benchmarks.doctor.models.layers.initial import initial


class Layers(nnx.Module):
    """Layers that are created when they are first called.

    Args:
        variant: of the model.
        rngs: of initial weights.
    """

    def __init__(self, variant: Variant, rngs: nnx.Rngs):
        self.variant = variant
        self.parts: Any = nnx.Dict()
        self.rngs: Any = nnx.data(rngs)
        self.key: Any = None

    def get(self, name: str, make: Any) -> Any:
        """Returns a layer."""
        if name not in self.parts:
            self.parts[name] = make()
        return self.parts[name]

    def dense(self, name: str, x: Any, width: int) -> Any:
        """Returns an affine map of the last axis."""
        return self.get(name, lambda: nnx.Linear(x.shape[-1], width, rngs=self.rngs))(x)

    def embed(self, name: str, ids: Any) -> Any:
        """Returns a vector for each id."""
        start = flax.linen.initializers.normal(1.0)
        make = lambda: nnx.Embed(self.variant.vocab, self.variant.units, embedding_init=start, rngs=self.rngs)  # noqa: E731
        return self.get(name, make)(ids)

    def convolve(self, name: str, x: Any, causal: bool) -> Any:
        """Returns a convolution over three steps."""
        padding = "CAUSAL" if causal else "SAME"
        make = lambda: nnx.Conv(x.shape[-1], self.variant.units, (3,), padding=padding, rngs=self.rngs)  # noqa: E731
        return nnx.relu(self.get(name, make)(x))

    def norm(self, name: str, x: Any, axis: int = -1) -> Any:
        """Returns x with mean 0 and variance 1, scaled and shifted."""
        return self.get(name, lambda: nnx.LayerNorm(x.shape[-1], reduction_axes=axis, rngs=self.rngs))(x)

    def dropout(self, name: str, x: Any, rate: float) -> Any:
        """Returns x with some numbers set to 0."""
        if self.key is None:
            return x
        self.key, own = jax.random.split(self.key)
        return nnx.Dropout(rate, deterministic=False)(x, rngs=nnx.Rngs(dropout=own))

    def cell(self, inputs: int) -> Any:
        """Returns a cell."""
        v, start = self.variant, initial(self.variant)
        options: dict[str, Any] = {"activation_fn": start.activation}
        if start.scale != 1:
            options["kernel_init"] = flax.linen.initializers.variance_scaling(start.scale**2, "fan_in", "normal")
        if start.gain != 1:
            options["recurrent_kernel_init"] = flax.linen.initializers.orthogonal(start.gain)
        if start.forget is not None:
            options["bias_init"] = flax.linen.initializers.constant(start.forget)
        kinds: dict[str, Any] = {
            "lstm": nnx.LSTMCell if v.seed % 2 else nnx.OptimizedLSTMCell,
            "gru": nnx.GRUCell,
            "rnn": nnx.SimpleCell,
        }
        return kinds[v.cell](inputs, v.units, **options, rngs=self.rngs)

    def recur(self, name: str, x: Any, state: Any = None, real: Any = None, reverse: bool = False) -> Any:
        """Returns the last state and all outputs of a recurrent layer."""
        make = lambda: nnx.RNN(self.cell(x.shape[-1]), return_carry=True, rngs=self.rngs)  # noqa: E731
        layer = self.get(name, make)
        if state is None:
            state = (jnp.zeros((x.shape[0], self.variant.units)),) * (1 + (self.variant.cell == "lstm"))
        start = state if self.variant.cell == "lstm" else state[0]
        lengths = None if real is None else real.sum(-1)
        carry, outputs = layer(x, initial_carry=start, seq_lengths=lengths, reverse=reverse, keep_order=reverse)
        return (carry if self.variant.cell == "lstm" else (carry,)), outputs


def network(variant: Variant, forward: Any, fields: dict[str, Any]) -> tuple[Any, Any]:
    """Returns parameters, and a function of the architecture, parameters, fields and a key; None for no dropout."""

    @nnx.jit
    def create(fields: dict[str, Any]) -> Layers:
        model = Layers(variant, nnx.Rngs(variant.seed))
        forward(model, fields)
        return model

    parts: Any = nnx.split(create(fields), nnx.Param, ...)
    graph, params, rest = parts

    def apply(forward: Any, params: Any, fields: dict[str, Any], key: Any) -> Any:
        merged = nnx.merge(graph, params, rest)
        merged.key = nnx.data(key)
        return forward(merged, fields)

    return params, apply
