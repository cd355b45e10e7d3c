"""Gradient curves: the norm of dL/dh_t by the number of steps before the last one, and two numbers that sum them up.

Index 0 of a curve is the last step, where the gradient comes from; it travels to higher indices. So a positive slope
says that it grows on its way back, and a negative one that it vanishes.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

SPAN = (0.1, 0.8)
"""Part of a curve that the slope is fitted to: neither the first steps, where the gradient has not yet found its
direction, nor the last ones, where the states themselves are still on their way from zero."""


def slope(
    curve: Float[Array, "*batch time"], weights: Float[Array, "*#batch time"] | None = None
) -> Float[Array, "*batch"]:
    """Fits a line to the logarithm of a curve, by weighted least squares over `SPAN` of its length.

    Only positive and finite values count: where a gradient underflowed, the slope is that of the steps before. Length
    is the number of positions with a positive weight.

    Args:
        curve: norms by steps before the last one.
        weights: how much each position counts, as the number of rows that are so long; equally much if None.

    Returns:
        d ln(norm) / d index in nat a step, positive where gradients grow backwards; nan with fewer than two positions.

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


def ratio(curve: Float[Array, "*batch time"]) -> Float[Array, "*batch"]:
    """Returns log10(norm at the first step / norm at the last step): the decades between the ends of a curve.

    Where the gradient underflowed before the first step this is the ratio to the first step that it reached, and
    nan where it reached fewer than two.

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


def usable(curve: Float[Array, "*batch time"]) -> Bool[Array, "*batch time"]:
    """Says which values have a logarithm: those that are positive and finite."""
    return (curve > 0) & jnp.isfinite(curve)


def last_steps(mask: Bool[Array, "batch time"], steps: int) -> Int[Array, "batch steps"]:
    """Says where the last `steps` real steps of each row stand, in order of time.

    Rows with fewer of them begin with positions that are not real.

    Example:
        >>> last_steps(jnp.array([[True, True, False, True]]), 2).tolist()
        [[1, 3]]
    """
    # Stable: what is not real comes first, and what is real stays in order.
    return jnp.argsort(mask, axis=1, stable=True)[:, -steps:]
