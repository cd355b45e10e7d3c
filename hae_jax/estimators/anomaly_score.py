"""How unlikely errors of a reconstruction are, judged by those of clean series."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from hae_jax.data.series import SeriesArray

STEPS = 16
"""Steps that are judged together."""
MOST = 20_000
"""Stretches of which the covariance is learned, at most."""
FLOOR = 1e-8
"""Variance that errors have at least, in units of the scaled data: a channel may come back without any."""


class MahalanobisScorer(NamedTuple):
    """The Gaussian of what errors look like, over all stretches of a few steps.

    A squared error alone cannot tell what is strange: some channels are always off, peaks more than plateaus, and
    errors of neighbouring steps go together. So a stretch of errors e is judged by its Mahalanobis distance to those of
    clean series,

        (e - m) S^-1 (e - m)^T / size of e

    which is 1 on average there, whatever the model finds hard. A step's score is the mean over all stretches in which
    it stands.

    Attributes:
        mean: m, of a stretch of `STEPS` steps of all channels.
        precision: S^-1.

    Reference:
        Malhotra et al., 2016, https://arxiv.org/abs/1607.00148, who take single steps; covariance: Ledoit & Wolf, 2004
    """

    mean: Float[np.ndarray, "size"]
    precision: Float[np.ndarray, "size size"]

    @classmethod
    def of(cls, errors: Sequence[SeriesArray]) -> "MahalanobisScorer":
        """Learns from the errors of clean series, [time, channel] each; NaN where a value is missing.

        Example:
            >>> rng = np.random.default_rng(0)
            >>> clean = rng.normal(size=(500, 1)) * 0.1
            >>> scores = MahalanobisScorer.of([clean]).of_steps(np.where(np.arange(50)[:, None] == 30, 1.0, clean[:50]))
            >>> int(np.argmax(scores)) in range(20, 41), bool(0.5 < scores[0] < 2)
            (True, True)
        """
        from sklearn.covariance import ledoit_wolf

        found = np.concatenate([stretches(one) for one in errors])
        found = found[:: -(-len(found) // MOST)]
        mean = found.mean(axis=0)
        # A single stretch has no covariance.
        covariance = ledoit_wolf(found - mean, assume_centered=True)[0] if len(found) > 1 else 0
        return cls(mean, np.linalg.inv(covariance + FLOOR * np.eye(len(mean))))

    def of_steps(self, errors: SeriesArray) -> Float[np.ndarray, "time"]:
        """Returns the score of every step of a series of errors."""
        found = stretches(errors) - self.mean
        scores = np.einsum("ns,ns->n", found @ self.precision, found) / len(self.mean)
        total, count = (np.convolve(each, np.ones(STEPS)) for each in (scores, np.ones(len(scores))))
        return (total / count)[: len(errors)]


def stretches(errors: SeriesArray) -> Float[np.ndarray, "stretch size"]:
    """Returns all stretches of `STEPS` steps, flat; of a shorter series a single one, filled up with zeros. What is
    missing is no error.

    Example:
        >>> stretches(np.ones((18, 2))).shape, stretches(np.ones((3, 2))).shape
        ((3, 32), (1, 32))
    """
    known = np.nan_to_num(errors)
    padded = np.pad(known, [(0, max(STEPS - len(known), 0)), (0, 0)])
    return np.lib.stride_tricks.sliding_window_view(padded, STEPS, axis=0).reshape(-1, STEPS * errors.shape[1])
