"""The space of codes of texts: neighbours, interpolation, sampling, and the sentences inside a code.

Every function takes a trained model, as `hae_jax.load` returns it.
"""

from hae_jax.latent.index import Index as Index
from hae_jax.latent.interpolation import interpolate as interpolate
from hae_jax.latent.interpolation import morph as morph
from hae_jax.latent.neighbours import Neighbour as Neighbour
from hae_jax.latent.neighbours import between as between
from hae_jax.latent.neighbours import neighbours as neighbours
from hae_jax.latent.prior import Prior as Prior
from hae_jax.latent.prior import sample as sample
from hae_jax.latent.sentences import compose as compose
from hae_jax.latent.sentences import rearrange as rearrange
from hae_jax.latent.sentences import sentences as sentences
