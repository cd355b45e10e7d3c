"""Weights with which an LSTM autoencoder is one before it has been trained: the encoder piles up what it reads, and the
decoder, its mirror image, takes it off the pile again.

With the input and output gate held open, the forget gate shut, and small numbers, an LSTM is nearly linear:

    h_t = o tanh(i tanh(x_t W + h_{t-1} U)) ~ a (x_t W + h_{t-1} U)        a = i o, a little below 1

Let W put the input into the first units, and let a U be the permutation Q that moves every block of units on by one:
the state is then a pile, the input on top. A decoder that starts with the state h, and moves the blocks back by one at
each step, uncovers first what was read last. Being orthogonal, Q keeps every length, forwards and backwards in time.
The LSTM is near it: a shut forget gate still lets f = 0.047 of the cell through, so a step is Q + f I, within 5 % of
orthogonal, and over tens of steps nothing vanishes and nothing explodes.

Where there is more to remember than there is room for, blocks come round again, turned by one place for each round, and
lie on top of each other: `sum_k Q^k x_k`. Turned vectors are nearly orthogonal to each other, so that any of them can
be told from a crowd of words, as in holographic memories; training does the rest.

Reference:
    Orthogonal networks as memories: White, Lee & Sompolinsky, 2004, https://arxiv.org/abs/cond-mat/0402452; linear
    autoencoders of sequences as initial weights: Pasa & Sperduti, 2014, NIPS 27; superposition of permuted vectors:
    Plate, 1995; Sahlgren, Holst & Kanerva, 2008.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax.linen import initializers
from flax.linen.initializers import Initializer
from jaxtyping import Array, Float

from hae_jax.layers.initializers import Scheme

GATE_BIAS = 3.0
"""Bias of the gates that are held open; its negative shuts the forget gate. Further open they would learn slowly."""
GATE_GAIN = float(jax.nn.sigmoid(GATE_BIAS)) ** 2
"""The share a of small numbers that passes both open gates."""
INPUT_STD, STATE_STD = 0.1, 0.3
"""Standard deviation of hidden units that hold a single input, and of those that a decoder starts with: small, so that
tanh leaves them alone."""


def block_shift(hidden: int, block: int) -> Float[np.ndarray, "hidden hidden"]:
    """Returns the permutation Q that moves every block of units on by one: row vectors h become h Q.

    The last block comes back to the front, turned by one place. Units that fill no whole block stay where they are.

    Args:
        hidden: number of units.
        block: units a block; no more than `hidden` are used.

    Example:
        >>> np.arange(1, 7) @ block_shift(6, 3)
        array([6., 4., 5., 1., 2., 3.])
    """
    block = min(block, hidden)
    used = hidden // block * block
    units = np.arange(used).reshape(-1, block)
    sources = np.concatenate([np.roll(units[-1:], 1, axis=1), units[:-1]]).ravel()
    permutation = np.eye(hidden, dtype=np.float32)
    permutation[:, :used] = permutation[:, sources]
    return permutation


def first_block(block: int, hidden: int) -> Float[np.ndarray, "block hidden"]:
    """Returns the matrix that lays a vector on the first units; what does not fit is lost."""
    return np.eye(block, hidden, dtype=np.float32)


def encoder_scheme(block: int, spread: float) -> Scheme:
    """Returns the weights of a layer that piles up its inputs.

    Args:
        block: size of an input.
        spread: standard deviation of a number of an input.
    """
    return Scheme(
        _candidate(lambda feat, hidden: INPUT_STD / spread * first_block(feat, hidden)),
        _candidate(lambda _, hidden: block_shift(hidden, block) / GATE_GAIN),
        gate_biases,
    )


def decoder_scheme(block: int) -> Scheme:
    """Returns the weights of a layer that takes vectors of size `block` off its state; at first it reads nothing."""
    return Scheme(
        initializers.zeros, _candidate(lambda _, hidden: block_shift(hidden, block).T / GATE_GAIN), gate_biases
    )


def passthrough_scheme() -> Scheme:
    """Returns the weights of a layer that passes on what the layer below it gives away, and keeps nothing."""
    return Scheme(
        _candidate(lambda feat, hidden: first_block(feat, hidden) / GATE_GAIN), initializers.zeros, gate_biases
    )


def initial_state_kernel(block: int, layers: int, scale: float) -> Initializer:
    """Returns the kernel that turns a code into the state in which a teller starts.

    That is the pile, one step ahead, as the first step moves everything back by one; all cells, and the layers above,
    start at zero.
    """

    def initialize(key, shape, dtype=jnp.float32) -> Array:
        hidden = shape[-1] // (2 * layers)
        kernel = np.zeros(shape, np.float32)
        kernel[:, hidden : 2 * hidden] = scale * first_block(shape[0], hidden) @ block_shift(hidden, block)
        return jnp.asarray(kernel, dtype)

    return initialize


def first_block_readout(scale: float = 1.0) -> Initializer:
    """Returns the kernel that reads the vector on the first units."""

    def initialize(key, shape, dtype=jnp.float32) -> Array:
        return jnp.asarray(scale * first_block(*shape[::-1]).T, dtype)

    return initialize


def _candidate(make) -> Initializer:
    """Fills the candidate's quarter; the gates depend on nothing but their biases."""

    def initialize(key, shape, dtype=jnp.float32) -> Array:
        quarter = jnp.asarray(make(shape[0], shape[-1] // 4), dtype)
        nothing = jnp.zeros_like(quarter)
        return jnp.concatenate([nothing, nothing, quarter, nothing], axis=-1)

    return initialize


def gate_biases(key, shape, dtype=jnp.float32) -> Array:
    """Biases that hold the input and output gate open, and the forget gate shut."""
    return jnp.repeat(jnp.asarray([GATE_BIAS, -GATE_BIAS, 0.0, GATE_BIAS], dtype), shape[-1] // 4)
