"""Flax linen: submodules that are created where they are called."""

from typing import Any

import flax.linen as nn
import jax

from benchmarks.doctor.models.grammar import Variant
from benchmarks.doctor.models.layers.initial import initial


class Layers:
    """Layers within the compact method of a module.

    Args:
        variant: of the model.
        train: whether dropout is active.
    """

    def __init__(self, variant: Variant, train: bool):
        self.variant, self.train = variant, train
        self.shared: dict[str, nn.Module] = {}

    def dense(self, name: str, x: Any, width: int) -> Any:
        """Returns an affine map of the last axis."""
        return nn.Dense(width, name=name)(x)

    def embed(self, name: str, ids: Any) -> Any:
        """Returns a vector for each id."""
        if name not in self.shared:
            start = nn.initializers.normal(1.0)
            self.shared[name] = nn.Embed(self.variant.vocab, self.variant.units, embedding_init=start, name=name)
        table: Any = self.shared[name]
        return table(ids)

    def convolve(self, name: str, x: Any, causal: bool) -> Any:
        """Returns a convolution over three steps."""
        return nn.relu(nn.Conv(self.variant.units, (3,), padding="CAUSAL" if causal else "SAME", name=name)(x))

    def norm(self, name: str, x: Any, axis: int = -1) -> Any:
        """Returns x with mean 0 and variance 1, scaled and shifted."""
        return nn.LayerNorm(reduction_axes=axis, name=name)(x)

    def dropout(self, name: str, x: Any, rate: float) -> Any:
        """Returns x with some numbers set to 0."""
        return nn.Dropout(rate, name=name)(x, deterministic=not self.train)

    def cell(self, name: str) -> nn.RNNCellBase:
        """Returns a cell."""
        v, start = self.variant, initial(self.variant)
        options: dict[str, Any] = {"activation_fn": start.activation}
        if start.scale != 1:
            options["kernel_init"] = nn.initializers.variance_scaling(start.scale**2, "fan_in", "normal")
        if start.gain != 1:
            options["recurrent_kernel_init"] = nn.initializers.orthogonal(start.gain)
        if start.forget is not None:
            options["bias_init"] = nn.initializers.constant(start.forget)
        kinds: dict[str, Any] = {
            "lstm": nn.LSTMCell if v.seed % 2 else nn.OptimizedLSTMCell,
            "gru": nn.GRUCell,
            "rnn": nn.SimpleCell,
        }
        return kinds[v.cell](v.units, **options, name=name)

    def recur(self, name: str, x: Any, state: Any = None, real: Any = None, reverse: bool = False) -> Any:
        """Returns the last state and all outputs of a recurrent layer."""
        layer = nn.RNN(self.cell(f"{name}_cell"), return_carry=True, reverse=reverse, keep_order=reverse, name=name)
        if state is not None and self.variant.cell != "lstm":
            (state,) = state
        lengths = None if real is None else real.sum(-1)
        carry, outputs = layer(x, initial_carry=state, seq_lengths=lengths)
        return (carry if self.variant.cell == "lstm" else (carry,)), outputs


class Network(nn.Module):
    """A model of Flax linen.

    Attributes:
        variant: of the model.
        forward: the architecture, a function of layers and fields.
    """

    variant: Variant
    forward: Any

    @nn.compact
    def __call__(self, fields: dict[str, Any], train: bool = True) -> Any:
        return self.forward(Layers(self.variant, train), fields)


def network(variant: Variant, forward: Any, fields: dict[str, Any]) -> tuple[Any, Any]:
    """Returns parameters, and a function of the architecture, parameters, fields and a key; None for no dropout."""
    keys = dict(zip(("params", "dropout"), jax.random.split(jax.random.key(variant.seed)), strict=True))
    params = jax.jit(Network(variant, forward).init)(keys, fields)["params"]

    def apply(forward: Any, params: Any, fields: dict[str, Any], key: Any) -> Any:
        rngs = None if key is None else {"dropout": key}
        return Network(variant, forward).apply({"params": params}, fields, train=key is not None, rngs=rngs)

    return params, apply
