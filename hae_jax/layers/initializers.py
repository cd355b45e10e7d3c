"""Weight schemes of the LSTM by name.

In an untrained LSTM the gradient of a cell state is multiplied by the forget gate at every step: by sigmoid(0) = 0.5
without a bias; with a bias of 1, by sigmoid(1) = 0.73, a third over 3 steps. The kernels have far less effect on how
far gradients reach than that one bias.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax.linen import initializers
from flax.linen.initializers import Initializer
from jaxtyping import Array


class Scheme(NamedTuple):
    """Initializers of one LSTM layer.

    Attributes:
        kernel: of the input kernel [feat, 4 hidden].
        recurrent: of the recurrent kernel [hidden, 4 hidden].
        bias: of the gates' biases [4 hidden].
        context: of the context kernel [context, 4 hidden]; None for that of the input kernel.
    """

    kernel: Initializer
    recurrent: Initializer
    bias: Initializer
    context: Initializer | None = None


def scheme(name: str, forget_bias: float = 1.0, timescale: int = 64, gain: float = 1.0) -> Scheme:
    """Returns the weight scheme of that name.

    =============  ====================  ==========================  =================================================
    name           input kernel          recurrent kernel            biases
    =============  ====================  ==========================  =================================================
    orthogonal     glorot, each gate     orthogonal, each gate       `forget_bias`
    glorot         glorot, each gate     glorot, each gate           `forget_bias`
    flax           lecun, each gate      orthogonal, each gate       `forget_bias` (flax itself has 0)
    keras          glorot, all at once   orthogonal, all at once     `forget_bias` (Keras itself has 1)
    torch          U(+-1/sqrt(hidden))   U(+-1/sqrt(hidden))         the sum of two such samples
    uniform        U(+-0.1)              U(+-0.1)                    `forget_bias` (Li et al. 2015 have no biases)
    normal         N(0, 0.01)            N(0, 0.01)                  `forget_bias`
    chrono         glorot, each gate     orthogonal, each gate       f: ln U(1, timescale - 1), i: the negative of f
    uniform_gate   glorot, each gate     orthogonal, each gate       f: logit U(1/hidden, 1 - 1/hidden)
    critical       glorot, each gate     N(0, variance 1e-5)         f: 5
    =============  ====================  ==========================  =================================================

    Args:
        name: one of `hae_jax.config.Initializer`.
        forget_bias: initial bias of the forget gate; the other gates' biases start at 0.
        timescale: T_max of chrono.
        gain: multiplies the recurrent kernel.

    Example:
        >>> scheme("orthogonal", 1.0).bias(jax.random.key(0), (8,)).tolist()
        [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]

    Reference:
        glorot: Glorot & Bengio, 2010; forget bias: Jozefowicz et al., 2015; chrono: Tallec & Ollivier, 2018,
        https://arxiv.org/abs/1804.11188; uniform gate: Gu et al., 2020, https://arxiv.org/abs/1910.09890;
        critical: Gilboa et al., 2019, https://arxiv.org/abs/1901.08987
    """
    glorot, constant = per_gate(initializers.glorot_uniform()), forget(forget_bias)
    orthogonal = per_gate(initializers.orthogonal())
    table = {
        "orthogonal": Scheme(glorot, orthogonal, constant),
        "glorot": Scheme(glorot, glorot, constant),
        "flax": Scheme(per_gate(initializers.lecun_normal()), orthogonal, constant),
        "keras": Scheme(initializers.glorot_uniform(), initializers.orthogonal(), constant),
        "torch": Scheme(inverse_root, inverse_root, twice(inverse_root)),
        "uniform": Scheme(symmetric(0.1), symmetric(0.1), constant),
        "normal": Scheme(initializers.normal(0.01), initializers.normal(0.01), constant),
        "chrono": Scheme(glorot, orthogonal, chrono(timescale)),
        "uniform_gate": Scheme(glorot, orthogonal, uniform_gate),
        "critical": Scheme(glorot, initializers.normal(math.sqrt(1e-5)), forget(5.0)),
    }
    chosen = table[name]
    return chosen if gain == 1 else chosen._replace(recurrent=scaled(chosen.recurrent, gain))


def per_gate(init: Initializer) -> Initializer:
    """Initializes the kernel of each gate, a quarter of the last axis, independently."""

    def initialize(key, shape, dtype=jnp.float32) -> Array:
        quarter = (*shape[:-1], shape[-1] // 4)
        return jnp.concatenate([init(k, quarter, dtype) for k in jax.random.split(key, 4)], axis=-1)

    return initialize


def scaled(init: Initializer, gain: float) -> Initializer:
    """Multiplies the values of `init` by `gain`."""

    def initialize(key, shape, dtype=jnp.float32) -> Array:
        return gain * init(key, shape, dtype)

    return initialize


def forget(value: float) -> Initializer:
    """Initializes the forget gate's biases with `value`, and all others with 0."""

    def initialize(key, shape, dtype=jnp.float32) -> Array:
        return _gates(shape, forget=value, dtype=dtype)

    return initialize


def symmetric(bound: float) -> Initializer:
    """Samples from the uniform distribution over [-bound, bound)."""

    def initialize(key, shape, dtype=jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return initialize


def inverse_root(key, shape, dtype=jnp.float32) -> Array:
    """Samples from U(-1/sqrt(hidden), 1/sqrt(hidden)) for any number of inputs, as PyTorch does."""
    return symmetric(1 / math.sqrt(shape[-1] / 4))(key, shape, dtype)


def twice(init: Initializer) -> Initializer:
    """Adds two samples: PyTorch has one bias for the inputs and one for the hidden state."""

    def initialize(key, shape, dtype=jnp.float32) -> Array:
        one, other = jax.random.split(key)
        return init(one, shape, dtype) + init(other, shape, dtype)

    return initialize


def chrono(timescale: int) -> Initializer:
    """Samples the units' time scales from 1 to `timescale` steps: b_f = ln U(1, timescale - 1) and b_i = -b_f."""

    def initialize(key, shape, dtype=jnp.float32) -> Array:
        bias = jnp.log(jax.random.uniform(key, (shape[-1] // 4,), dtype, 1, timescale - 1))
        return _gates(shape, input=-bias, forget=bias, dtype=dtype)

    return initialize


def uniform_gate(key, shape, dtype=jnp.float32) -> Array:
    """Samples the forget gates uniformly: b_f = -ln(1/u - 1) with u ~ U(1/hidden, 1 - 1/hidden)."""
    hidden = shape[-1] // 4
    u = jax.random.uniform(key, (hidden,), dtype, 1 / hidden, 1 - 1 / hidden)
    return _gates(shape, forget=-jnp.log(1 / u - 1), dtype=dtype)


def _gates(shape, *, input=0.0, forget=0.0, dtype) -> Array:
    hidden = shape[-1] // 4
    return jnp.concatenate([jnp.broadcast_to(jnp.asarray(b, dtype), (hidden,)) for b in (input, forget, 0.0, 0.0)])
