"""Stability of the gradients in a run: shares of steps with clipped, exceptionally large and non-finite gradients."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

WINDOW = 100
"""Number of previous norms that a norm is compared with."""
MIN_HISTORY = 20
"""Number of norms before the first that can be a spike."""
SPIKE_DEVIATIONS = 2.5
"""A norm is a spike if it exceeds the mean of the previous ones by this number of standard deviations."""


class Stability(NamedTuple):
    """Shares of the steps of a run.

    Attributes:
        binding: the gradient was clipped. Clipping at no step has no effect; clipping at every step normalizes the
            gradients, so that all steps have the same weight.
        spikes: the norm was a spike.
        broken: the loss, the gradient or the update was not finite.
    """

    binding: float
    spikes: float
    broken: float


def stability(
    norm: Float[np.ndarray, "step"], binding: Float[np.ndarray, "step"], broken: Float[np.ndarray, "step"]
) -> Stability:
    """Computes the stability of a run; an entry is a step, or the mean of several.

    Args:
        norm: norm of the gradient before clipping.
        binding: share of steps with a clipped gradient.
        broken: share of non-finite steps.

    Raises:
        ValueError: if there is no step.
    """
    if not len(norm):
        raise ValueError("norm must hold a step, got none. Train first.")
    return Stability(float(np.mean(binding)), float(spikes(norm).mean()), float(np.mean(broken)))


def spikes(norm: Float[np.ndarray, "step"]) -> Bool[np.ndarray, "step"]:
    """Returns which norms are not finite, or exceed the mean of the previous `WINDOW` norms by `SPIKE_DEVIATIONS`
    standard deviations.

    Example:
        >>> spikes(np.r_[np.tile([1.0, 1.1], 20), 9.0, 1.0, np.nan]).nonzero()[0].tolist()
        [40, 42]
    """
    is_spike = np.zeros(len(norm), bool)
    for at in range(MIN_HISTORY, len(norm)):
        recent = norm[max(0, at - WINDOW) : at]
        recent = recent[np.isfinite(recent)]
        bound = recent.mean() + SPIKE_DEVIATIONS * recent.std() if len(recent) else np.inf
        is_spike[at] = not norm[at] <= bound
    return is_spike
