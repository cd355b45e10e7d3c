"""Hierarchical LSTM autoencoders that train, in JAX, Flax and Optax."""

__version__ = "0.3.0"
