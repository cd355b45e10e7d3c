"""Autoencoders of documents and of series as scikit-learn estimators; they need the extra `sklearn`."""

from hae_jax.estimators.documents import DocumentAutoencoder
from hae_jax.estimators.series import SeriesAutoencoder

__all__ = ["DocumentAutoencoder", "SeriesAutoencoder"]
