"""Weights with which an LSTM autoencoder reconstructs its input before training: shift registers.

The encoder is initialized as a shift register that stores its inputs, and the decoder as its inverse. With open input
and output gates, a closed forget gate and small activations, an LSTM is nearly linear:

    h_t = o tanh(i tanh(x_t W + h_{t-1} U)) ~ a (x_t W + h_{t-1} U)        a = i o, slightly below 1

Let W copy the input to the first block of units, and let a U be the permutation Q that shifts every block of units by
one block. The state then stores the inputs, the latest one first. A decoder that starts from the state h and shifts
the blocks back by one at each step has the latest input in its first block first: inputs are decoded in reverse order.
Since Q is orthogonal, it preserves norms forwards and backwards in time. The LSTM deviates from it: a closed forget
gate still multiplies the cell by f = 0.047, so a step is Q + f I, within 5 % of orthogonal, and over tens of steps
gradients neither vanish nor explode.

If there are more inputs than blocks, the blocks move from the last position to the first again, rotated by one unit in
each round, and are added to the new inputs: `sum_k Q^k x_k`. Rotated vectors are nearly orthogonal to each other, so
that each of them can be identified among the vectors of a vocabulary, as in holographic memories; training does the
rest.

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
"""Bias of the open gates; its negative is that of the closed forget gate. Larger ones would make the gates learn
slowly."""
GATE_GAIN = float(jax.nn.sigmoid(GATE_BIAS)) ** 2
"""The factor a by which both open gates multiply small values."""
INPUT_STD, STATE_STD = 0.1, 0.3
"""Standard deviation of hidden units that store a single input, and of those of a decoder's initial state: small, so
that tanh is nearly linear."""


def block_shift(hidden: int, block: int) -> Float[np.ndarray, "hidden hidden"]:
    """Returns the permutation Q that shifts every block of units by one block: row vectors h become h Q.

    The last block moves to the first position, rotated by one unit. Units after the last whole block do not move.

    Args:
        hidden: number of units.
        block: units per block; at most `hidden` are used.

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
    """Returns the matrix that copies a vector to the first units; components beyond the last unit are dropped."""
    return np.eye(block, hidden, dtype=np.float32)


def encoder_scheme(block: int, input_std: float) -> Scheme:
    """Returns the weights of a shift register that stores its inputs.

    Args:
        block: size of an input.
        input_std: standard deviation of a component of an input.
    """
    return Scheme(
        _candidate(lambda feat, hidden: INPUT_STD / input_std * first_block(feat, hidden)),
        _candidate(lambda _, hidden: block_shift(hidden, block) / GATE_GAIN),
        gate_biases,
    )


def decoder_scheme(block: int) -> Scheme:
    """Returns the weights of the inverse shift register, which outputs vectors of size `block`, the latest first.

    Its input kernel is zero.
    """
    return Scheme(
        initializers.zeros, _candidate(lambda _, hidden: block_shift(hidden, block).T / GATE_GAIN), gate_biases
    )


def passthrough_scheme() -> Scheme:
    """Returns the weights of a layer that copies its input to its output and stores nothing."""
    return Scheme(
        _candidate(lambda feat, hidden: first_block(feat, hidden) / GATE_GAIN), initializers.zeros, gate_biases
    )


def initial_state_kernel(block: int, layers: int, scale: float) -> Initializer:
    """Returns the kernel that maps a code to a decoder's initial state, all cells and hidden states of its layers.

    The bottom layer's hidden state is the encoder's shifted by one block, since the decoder's first step shifts it
    back; all cells, and the layers above, are zero.
    """

    def initialize(key, shape, dtype=jnp.float32) -> Array:
        hidden = shape[-1] // (2 * layers)
        kernel = np.zeros(shape, np.float32)
        kernel[:, hidden : 2 * hidden] = scale * first_block(shape[0], hidden) @ block_shift(hidden, block)
        return jnp.asarray(kernel, dtype)

    return initialize


def first_block_readout(scale: float = 1.0) -> Initializer:
    """Returns the kernel that reads a vector from the first units."""

    def initialize(key, shape, dtype=jnp.float32) -> Array:
        return jnp.asarray(scale * first_block(*shape[::-1]).T, dtype)

    return initialize


def _candidate(make) -> Initializer:
    """Initializes the candidate's quarter of a kernel; the gates depend on their biases alone."""

    def initialize(key, shape, dtype=jnp.float32) -> Array:
        quarter = jnp.asarray(make(shape[0], shape[-1] // 4), dtype)
        zeros = jnp.zeros_like(quarter)
        return jnp.concatenate([zeros, zeros, quarter, zeros], axis=-1)

    return initialize


def gate_biases(key, shape, dtype=jnp.float32) -> Array:
    """Initializes biases that open the input and the output gate and close the forget gate."""
    return jnp.repeat(jnp.asarray([GATE_BIAS, -GATE_BIAS, 0.0, GATE_BIAS], dtype), shape[-1] // 4)
