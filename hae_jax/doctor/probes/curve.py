"""Gradient curves: the norm of dL/dh_t by the number of steps before the last one, summarized by slope and ratio.

Index 0 of a curve is the last step; the gradient is propagated to higher indices. A positive slope is a gradient that
grows backwards through time, a negative slope is one that vanishes.
"""

import jax.numpy as jnp
from jax import Array

SPAN = (0.1, 0.8)
"""Range of a curve, as shares of its length, that the slope is fitted to: without the first positions, where the
direction of the gradient has not converged, and without the last ones, where the states are still close to zero."""


def slope(curve: Array, weights: Array | None = None) -> Array:
    """Fits a line to the logarithm of a curve, by weighted least squares over `SPAN` of its length.

    Only positive and finite values count, so a gradient that underflows is fitted up to there. The length of a curve is
    the number of positions with a positive weight.

    Args:
        curve: norms by steps before the last one, float [*batch, time].
        weights: weight of each position, for example the number of rows of that length, [*batch, time]; uniform if
            None.

    Returns:
        d ln(norm) / d index in nats a step, float [*batch]; positive where gradients grow backwards, nan with fewer
        than two positions.

    Example:
        >>> round(float(slope(jnp.exp(-0.25 * jnp.arange(20.0)))), 3)
        -0.25
    """
    weights = jnp.ones_like(curve) if weights is None else jnp.broadcast_to(weights, curve.shape).astype(curve.dtype)
    length = (weights > 0).sum(-1, keepdims=True)
    index = jnp.broadcast_to(jnp.arange(curve.shape[-1], dtype=curve.dtype), curve.shape)
    inside = (index >= SPAN[0] * length) & (index <= SPAN[1] * length)
    counts = usable(curve) & inside & (weights > 0)
    logs = jnp.log(jnp.where(counts, curve, 1))
    weights = jnp.where(counts, weights, 0)
    total = weights.sum(-1, keepdims=True)
    total = jnp.where(total > 0, total, 1)
    index = index - (weights * index).sum(-1, keepdims=True) / total
    logs = logs - (weights * logs).sum(-1, keepdims=True) / total
    spread = (weights * jnp.square(index)).sum(-1)
    fitted = (weights * index * logs).sum(-1) / jnp.where(spread > 0, spread, 1)
    return jnp.where(counts.sum(-1) > 1, fitted, jnp.nan)


def ratio(curve: Array) -> Array:
    """Returns log10(norm at the first step / norm at the last step): the decades between the ends of a curve.

    Where the gradient underflowed before the first step, the ratio is that of the earliest step with a positive norm;
    nan if fewer than two norms are positive.

    Args:
        curve: norms by steps before the last one, float [*batch, time].

    Returns:
        The ratio in decades, float [*batch].

    Example:
        >>> round(float(ratio(jnp.array([10.0, 3.0, 1.0]))), 3)
        -1.0
    """
    good = usable(curve)
    near = jnp.argmax(good, -1)
    far = curve.shape[-1] - 1 - jnp.argmax(good[..., ::-1], -1)
    logs = jnp.log10(jnp.where(good, curve, 1))
    ends = [jnp.take_along_axis(logs, at[..., None], -1)[..., 0] for at in (near, far)]
    return jnp.where(good.sum(-1) > 1, ends[1] - ends[0], jnp.nan)


def usable(curve: Array) -> Array:
    """Returns where a value has a logarithm: where it is positive and finite."""
    return (curve > 0) & jnp.isfinite(curve)
