"""The bridge between LSTMs: final states to a vector, and a vector to initial states."""

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from hae_jax.config import CellConfig, ModelConfig
from hae_jax.layers.cell import LSTMState, LSTMWeights, layer_output
from hae_jax.layers.mirror_init import Register
from hae_jax.layers.model_init import model_init
from hae_jax.layers.stack import States


def vector_size(config: ModelConfig, hidden: int) -> int:
    """Returns the size of the vector that represents the final states of a stack of `hidden` units per layer."""
    return 2 * config.layers * hidden if config.bridge == "all_states" else hidden


def final_vector(states: States, layers: tuple[LSTMWeights, ...], config: ModelConfig) -> Float[Array, "batch vec"]:
    """Returns the vector that represents the final states of a stack.

    Returns:
        With `bridge="top_hidden"` the top layer's output. With `bridge="all_states"` c and h of all layers,
        concatenated, as in the program of Li, Luong & Jurafsky (2015), where the document code of 4 layers of 1,000
        units has 8,000 components.
    """
    if config.bridge == "top_hidden":
        return layer_output(states[-1].hidden, layers[-1])
    return jnp.concatenate([part.astype(states[0].hidden.dtype) for state in states for part in state], axis=-1)


class BridgeParams(NamedTuple):
    """Parameters of the affine map from a vector to the initial states of a stack."""

    kernel: Float[Array, "vec states"]
    bias: Float[Array, "states"]


def initial_states(
    vector: Float[Array, "batch vec"], bridge: BridgeParams | None, config: CellConfig, layers: int = 1
) -> States:
    """Returns the initial states of a stack of `layers` layers, given a vector.

    Args:
        vector: code or sentence vector.
        bridge: affine map to c and h of all layers (`bridge="top_hidden"`); None if the vector consists of them
            (`bridge="all_states"`).
        config: holds the type of the computation.
        layers: number of layers.
    """
    wide = jnp.promote_types(config.dtype, jnp.float32)
    if bridge is not None:
        vector = vector @ bridge.kernel.astype(vector.dtype) + bridge.bias.astype(vector.dtype)
    parts = jnp.split(vector, 2 * layers, axis=-1)
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return tuple(LSTMState(cell.astype(wide), hidden.astype(config.dtype)) for cell, hidden in pairs)


class Bridge(nn.Module):
    """Owns `BridgeParams`.

    Attributes:
        config: options of the stack's cells.
        hidden: units of each layer of the stack.
        vector_size: size of the vector.
        register: what a mirrored stack outputs.
        layers: number of layers of the stack.
    """

    config: CellConfig
    hidden: int
    vector_size: int
    register: Register
    layers: int = 1

    @nn.compact
    def __call__(self) -> BridgeParams:
        size = 2 * self.layers * self.hidden
        init = model_init(self.config).bridge(self.register, self.layers)
        return BridgeParams(
            self.param("kernel", init, (self.vector_size, size)),
            self.param("bias", nn.initializers.zeros, (size,)),
        )
