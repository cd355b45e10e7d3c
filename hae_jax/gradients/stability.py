"""How steady the gradients of a run are: how often they spike, how often the clip binds, how often they break."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

RECENT = 100
"""Norms that say what a usual norm is."""
FIRST = 20
"""Norms before the first that can be called a spike."""
SPIKE = 2.5
"""Standard deviations over the mean of the recent ones from which a norm is a spike."""


class Stability(NamedTuple):
    """Shares of the steps of a run.

    Attributes:
        binding: the clip changed the gradient; one that never binds cannot have cured anything, and one that always
            does weighs steps differently: each counts as much as the next, whatever the size of its gradient.
        spikes: the norm was a spike.
        broken: loss, gradient or update were not finite.
    """

    binding: float
    spikes: float
    broken: float


def stability(
    norm: Float[np.ndarray, "step"], binding: Float[np.ndarray, "step"], broken: Float[np.ndarray, "step"]
) -> Stability:
    """Sums up a run; an entry may be a step, or the mean of a few.

    Args:
        norm: norm of the gradient before the clip.
        binding: share of steps in which the clip was binding.
        broken: share of steps that were not finite.

    Raises:
        ValueError: if there is no step.
    """
    if not len(norm):
        raise ValueError("norm must hold a step, got none. Train first.")
    return Stability(float(np.mean(binding)), float(spikes(norm).mean()), float(np.mean(broken)))


def spikes(norm: Float[np.ndarray, "step"]) -> Bool[np.ndarray, "step"]:
    """Says which norms are beyond the mean of the `RECENT` ones before by `SPIKE` standard deviations, or not finite.

    Example:
        >>> spikes(np.r_[np.tile([1.0, 1.1], 20), 9.0, 1.0, np.nan]).nonzero()[0].tolist()
        [40, 42]
    """
    found = np.zeros(len(norm), bool)
    for at in range(FIRST, len(norm)):
        recent = norm[max(0, at - RECENT) : at]
        recent = recent[np.isfinite(recent)]
        usual = recent.mean() + SPIKE * recent.std() if len(recent) else np.inf
        found[at] = not norm[at] <= usual
    return found
