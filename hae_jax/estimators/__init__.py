"""scikit-learn's verbs for both worlds, series and documents; they need the extra `sklearn`."""

from hae_jax.estimators.documents import DocumentAutoencoder
from hae_jax.estimators.series import SeriesAutoencoder

__all__ = ["DocumentAutoencoder", "SeriesAutoencoder"]
