"""The space of codes of texts: neighbours, interpolation, sampling, and sentences inside a code.

Every function takes a trained model, as `hae_jax.load` returns it.
"""

from hae_jax.latent.interpolation import interpolate as interpolate
