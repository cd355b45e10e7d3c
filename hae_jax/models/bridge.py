"""How one level of the hierarchy hands over to the next: states become a vector, a vector becomes states."""

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from hae_jax.config import ModelConfig
from hae_jax.layers import mirror_init
from hae_jax.layers.cell import LSTMState, LSTMWeights, layer_output
from hae_jax.layers.stack import States


def vector_size(config: ModelConfig, hidden: int) -> int:
    """Returns the size of the vector that stands for a stack's states."""
    return 2 * config.layers * hidden if config.bridge == "all_states" else hidden


def final_vector(states: States, layers: tuple[LSTMWeights, ...], config: ModelConfig) -> Float[Array, "batch vec"]:
    """Turns a stack's states into one vector.

    Returns:
        With `bridge="top_hidden"` the top layer's output. With `bridge="all_states"` c and h of all layers, concatenated,
        as in the program of Li, Luong & Jurafsky (2015), whose document code of 4 layers of 1,000 units has 8,000 numbers.
    """
    if config.bridge == "top_hidden":
        return layer_output(states[-1].hidden, layers[-1])
    return jnp.concatenate([part.astype(states[0].hidden.dtype) for state in states for part in state], axis=-1)


def vector_std(config: ModelConfig) -> float:
    """Returns the standard deviation, at first, of a number of a vector that stands for many steps, with the scheme
    "mirror"."""
    return 1.0 if config.layer_norm == "output" else mirror_init.STATE_STD


class BridgeParams(NamedTuple):
    """Parameters of the affine map from a vector to the states in which a stack starts."""

    kernel: Float[Array, "vec states"]
    bias: Float[Array, "states"]


def initial_states(vector: Float[Array, "batch vec"], opening: BridgeParams | None, config: ModelConfig) -> States:
    """Turns a vector into the states in which a stack starts.

    With `bridge="all_states"` the vector is cut into the states it was made of, and there is nothing to learn; with
    `bridge="top_hidden"` an affine map finds c and h of all layers.
    """
    wide = jnp.promote_types(config.dtype, jnp.float32)
    if opening is not None:
        vector = vector @ opening.kernel.astype(vector.dtype) + opening.bias.astype(vector.dtype)
    parts = jnp.split(vector, 2 * config.layers, axis=-1)
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return tuple(LSTMState(cell.astype(wide), hidden.astype(config.dtype)) for cell, hidden in pairs)


class Bridge(nn.Module):
    """Owns the parameters of an `BridgeParams`, where there are any.

    Attributes:
        config: names the kind of hand-over.
        hidden: units of each layer of the stack.
        vec: size of the vector.
        tells: size of what the stack gives back at each step.
    """

    config: ModelConfig
    hidden: int
    vec: int
    tells: int

    @nn.compact
    def __call__(self) -> BridgeParams | None:
        if self.config.bridge == "all_states":
            return None
        layers = self.config.layers
        size, init = 2 * layers * self.hidden, nn.initializers.lecun_normal()
        if self.config.initializer == "mirror":
            init = mirror_init.initial_state_kernel(self.tells, layers, mirror_init.STATE_STD / vector_std(self.config))
        return BridgeParams(
            self.param("kernel", init, (self.vec, size)),
            self.param("bias", nn.initializers.zeros, (size,)),
        )
