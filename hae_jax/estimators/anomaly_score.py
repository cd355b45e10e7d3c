"""Anomaly scores: Mahalanobis distances of reconstruction errors to those of clean series."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from hae_jax.data.series import SeriesArray

STEPS = 16
"""Steps of a window of errors."""
MAX_WINDOWS = 20_000
"""Windows from which the covariance is estimated, at most."""
MIN_VARIANCE = 1e-8
"""Added to the variances, in units of the scaled data, since a channel may be reconstructed without any error."""


class MahalanobisScorer(NamedTuple):
    """A Gaussian of the errors of clean series in sliding windows.

    Squared errors alone do not separate anomalies: some channels always have large errors, peaks have larger ones than
    plateaus, and errors of neighbouring steps are correlated. So a window of errors e is scored by its squared
    Mahalanobis distance to those of clean series, divided by its size,

        (e - m) S^-1 (e - m)^T / size of e

    which is 1 on average on clean series. The score of a step is the mean over all windows that contain it.

    Attributes:
        mean: m, of a window of `STEPS` steps of all channels.
        precision: S^-1.

    Reference:
        Malhotra et al., 2016, https://arxiv.org/abs/1607.00148, for single steps; covariance: Ledoit & Wolf, 2004
    """

    mean: Float[np.ndarray, "size"]
    precision: Float[np.ndarray, "size size"]

    @classmethod
    def fit(cls, errors: Sequence[SeriesArray]) -> "MahalanobisScorer":
        """Fits the Gaussian to the errors of clean series, [time, channel] each; NaN where a value is missing.

        Example:
            >>> rng = np.random.default_rng(0)
            >>> clean = rng.normal(size=(500, 1)) * 0.1
            >>> anomalous = np.where(np.arange(50)[:, None] == 30, 1.0, clean[:50])
            >>> scores = MahalanobisScorer.fit([clean]).score(anomalous)
            >>> int(np.argmax(scores)) in range(20, 41), bool(0.5 < scores[0] < 2)
            (True, True)
        """
        from sklearn.covariance import ledoit_wolf

        windows = np.concatenate([error_windows(series) for series in errors])
        windows = windows[:: -(-len(windows) // MAX_WINDOWS)]
        mean = windows.mean(axis=0)
        # A single window has no covariance.
        covariance = ledoit_wolf(windows - mean, assume_centered=True)[0] if len(windows) > 1 else 0
        return cls(mean, np.linalg.inv(covariance + MIN_VARIANCE * np.eye(len(mean))))

    def score(self, errors: SeriesArray) -> Float[np.ndarray, "time"]:
        """Returns the anomaly score of every step of a series of errors."""
        windows = error_windows(errors) - self.mean
        scores = np.einsum("ns,ns->n", windows @ self.precision, windows) / len(self.mean)
        total, count = (np.convolve(each, np.ones(STEPS)) for each in (scores, np.ones(len(scores))))
        return (total / count)[: len(errors)]


def error_windows(errors: SeriesArray) -> Float[np.ndarray, "window size"]:
    """Returns all windows of `STEPS` steps, flattened; a single one, padded with zeros, of a shorter series. Missing
    values count as zeros.

    Example:
        >>> error_windows(np.ones((18, 2))).shape, error_windows(np.ones((3, 2))).shape
        ((3, 32), (1, 32))
    """
    observed = np.nan_to_num(errors)
    padded = np.pad(observed, [(0, max(STEPS - len(observed), 0)), (0, 0)])
    return np.lib.stride_tricks.sliding_window_view(padded, STEPS, axis=0).reshape(-1, STEPS * errors.shape[1])
