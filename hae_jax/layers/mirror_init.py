"""Weights with which an LSTM autoencoder reconstructs its input before training: shift registers.

The encoder is initialized as a shift register that stores its inputs, and the decoder as its inverse. With open input
and output gates, a closed forget gate and small activations, an LSTM is nearly linear:

    c_t = i tanh(g_t) + f c_{t-1},  h_t = o tanh(c_t)        g_t = x_t W + h_{t-1} U
    h_t ~ a g_t + f h_{t-1}                                   a = i o, slightly below 1

Let W copy the input to the first block of units, and let a U = q Q - f I, where the permutation Q shifts every block of
units by one block, f I cancels what the closed forget gate still passes, and the gain q <= 1 makes older inputs weaker:

    h_n = x_n + q Q x_{n-1} + q^2 Q^2 x_{n-2} + ...

A decoder with a U = Q^T / q - f I that starts from this state has the latest input in its first block first: inputs are
decoded in reverse order. If there are more inputs than blocks, the blocks move from the last position to the first
again, permuted, and are superposed. Permuted vectors are nearly orthogonal to each other, so that each of them can be
identified among the vectors of a vocabulary, as in holographic memories.

The vector of an input that was decoded is no longer needed, and disturbs the others. The decoder reads it at its next
step (the token before, or the sentence before), so its input kernel is initialized to subtract it from the state:

    h <- (h - c x P) Q^T / q

With the gain, each input is decoded while it is the strongest one, and removed before the next: successive interference
cancellation, which approaches the capacity of a linear memory.

Reference:
    Orthogonal networks as memories: White, Lee & Sompolinsky, 2004, https://arxiv.org/abs/cond-mat/0402452; gains:
    Orhan & Pitkow, 2019, https://arxiv.org/abs/1905.13715; linear autoencoders of sequences as initial weights: Pasa &
    Sperduti, 2014, NIPS 27; superposition of permuted vectors: Plate, 1995; Sahlgren, Holst & Kanerva, 2008;
    decreasing amplitudes and successive decoding: Joseph & Barron, 2014, https://doi.org/10.1109/TIT.2013.2289865
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from flax.linen import initializers
from flax.linen.initializers import Initializer
from jaxtyping import Array, Float

from hae_jax.layers.initializers import Scheme

GATE_BIAS = 3.0
"""Bias of the open gates; its negative is that of the closed forget gate. Larger ones would make the gates learn
slowly."""
GATE = 1 / (1 + math.exp(-GATE_BIAS))
"""Activation of an open gate; that of the closed forget gate is 1 - GATE."""
GATE_GAIN = GATE**2
"""The factor a by which both open gates multiply small values."""
SIGNAL, SERIES_SIGNAL = 0.03, 0.1
"""Standard deviation of hidden units that store a single vector, in models of texts and of series: small, so that tanh
is nearly linear. Superposed words need more of that than the few values of a series."""
LOGIT, LOGIT_SIZE = 20.0, 15
"""Unnormalized log-probability of the right token with embeddings of this size or more. Smaller ones have nearer
neighbours, and their logits are larger."""
STATE_RATIO = 3.0
"""Standard deviation of the units of a decoder's initial state, relative to that of units that store one input."""


class Register(NamedTuple):
    """A level of a mirrored autoencoder: an encoder that stores vectors, and the decoder that outputs them.

    Attributes:
        block: size of a stored vector.
        std: standard deviation of its components.
        gain: amplitude of a vector relative to the one stored after it.
        signal: standard deviation of hidden units that store one vector.
        exact: cancels what the closed forget gate passes.
        normalized: the state is layer-normalized before it is handed to the decoder.
        seed: of the permutation of a block that moves from the last position to the first; None rotates it by one unit.
    """

    block: int
    std: float = 1.0
    gain: float = 1.0
    signal: float = SIGNAL
    exact: bool = True
    normalized: bool = True
    seed: int | None = None

    @property
    def state_std(self) -> float:
        """Standard deviation of the units of a decoder's initial state, which holds several vectors."""
        return STATE_RATIO * self.signal

    @property
    def logit_scale(self) -> float:
        """Factor from the units of the latest vector to one whose product with this vector is about `LOGIT`.

        It is 1 if the units are normalized before the product.
        """
        if self.normalized:
            return 1.0
        logit = LOGIT * max(1.0, LOGIT_SIZE / self.block)
        return logit / (self.block * self.std * GATE_GAIN * self.signal)

    @property
    def leak(self) -> float:
        """Share of a state that the closed forget gate passes, if it is cancelled; else 0."""
        return 1 - GATE if self.exact else 0.0

    def shift(self, hidden: int) -> Float[np.ndarray, "hidden hidden"]:
        """Returns the permutation Q of `hidden` units."""
        return block_shift(hidden, self.block, self.seed)

    def latest_std(self, hidden: int) -> float:
        """Returns the standard deviation, in a decoder's initial state, of the components of the latest vector.

        The energies of many vectors in a state of unit variance form a geometric series.
        """
        if not self.normalized:
            return GATE_GAIN * self.signal
        blocks = max(hidden // self.block, 1)
        return self.state_std * (math.sqrt(blocks * (1 - self.gain**2)) if self.gain < 1 else 1.0)


def block_shift(hidden: int, block: int, seed: int | None = None) -> Float[np.ndarray, "hidden hidden"]:
    """Returns the permutation Q that shifts every block of units by one block: row vectors h become h Q.

    The last block moves to the first position, permuted. Units after the last whole block do not move.

    Args:
        hidden: number of units.
        block: units per block; at most `hidden` are used.
        seed: of a random permutation of that block; None rotates it by one unit. Registers of two levels need different
            permutations: a sentence vector consists of rotated word vectors, and rotated once more the words of one
            sentence would be those of another at the next position.

    Example:
        >>> np.arange(1, 7) @ block_shift(6, 3)
        array([6., 4., 5., 1., 2., 3.])
    """
    block = min(block, hidden)
    used = hidden // block * block
    units = np.arange(used).reshape(-1, block)
    order = np.roll(np.arange(block), 1) if seed is None else np.random.default_rng(seed).permutation(block)
    sources = np.concatenate([units[-1:, order], units[:-1]]).ravel()
    permutation = np.eye(hidden, dtype=np.float32)
    permutation[:, :used] = permutation[:, sources]
    return permutation


def first_block(block: int, hidden: int) -> Float[np.ndarray, "block hidden"]:
    """Returns the matrix that copies a vector to the first units; components beyond the last unit are dropped."""
    return np.eye(block, hidden, dtype=np.float32)


def encoder_scheme(register: Register) -> Scheme:
    """Returns the weights of a shift register that stores its inputs."""
    return Scheme(
        _candidate(lambda feat, hidden: register.signal / register.std * first_block(feat, hidden)),
        _candidate(lambda _, hidden: (register.gain * register.shift(hidden) - _leak(register, hidden)) / GATE_GAIN),
        gate_biases,
    )


def decoder_scheme(register: Register, subtracts: bool) -> Scheme:
    """Returns the weights of the inverse shift register, which outputs the stored vectors, the latest first.

    Args:
        register: the register of its encoder.
        subtracts: whether the first components of its input are the vector of the previous step, which the input kernel
            then removes from the state; otherwise inputs have no effect. A context never has.
    """

    def subtract(feat: int, hidden: int) -> Float[np.ndarray, "feat hidden"]:
        scale = register.latest_std(hidden) / register.std / register.gain
        block = np.eye(feat, register.block, dtype=np.float32) @ first_block(register.block, hidden)
        return -scale * block @ register.shift(hidden).T

    return Scheme(
        _candidate(lambda feat, hidden: subtract(feat, hidden) / GATE_GAIN) if subtracts else initializers.zeros,
        _candidate(lambda _, hidden: (register.shift(hidden).T / register.gain - _leak(register, hidden)) / GATE_GAIN),
        gate_biases,
        context=initializers.zeros,
    )


def _leak(register: Register, hidden: int) -> Float[np.ndarray, "hidden hidden"]:
    return register.leak * np.eye(hidden, dtype=np.float32)


def passthrough_scheme() -> Scheme:
    """Returns the weights of a layer that copies its input to its output and stores nothing."""
    return Scheme(
        _candidate(lambda feat, hidden: first_block(feat, hidden) / GATE_GAIN), initializers.zeros, gate_biases
    )


def initial_state_kernel(register: Register, layers: int, scale: float) -> Initializer:
    """Returns the kernel that maps a code to a decoder's initial state, all cells and hidden states of its layers.

    The bottom layer's hidden state is the encoder's shifted by one block, since the decoder's first step shifts it
    back. Its cells are those of a register with this hidden state, or zero if the register is not exact. The layers
    above start from zero.
    """

    def initialize(key, shape, dtype=jnp.float32) -> Array:
        hidden = shape[-1] // (2 * layers)
        state = scale * register.gain * first_block(shape[0], hidden) @ register.shift(hidden)
        kernel = np.zeros(shape, np.float32)
        kernel[:, hidden : 2 * hidden] = state
        if register.exact:
            kernel[:, :hidden] = state / GATE
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
