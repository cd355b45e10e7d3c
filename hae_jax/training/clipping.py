"""Gradient clipping beyond Optax: a fused `clip_by_global_norm`, per tensor, AutoClip, ZClip; and a wrapper that
records whether a clip was active."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

HISTORY = 4096
"""Number of recent gradient norms that AutoClip stores; their percentile approximates that of all norms."""
WARMUP = 25
"""Steps over which ZClip estimates its first mean and variance, without clipping."""
DECAY = 0.97
"""Decay of ZClip's moving mean and variance."""


class Witnessed(NamedTuple):
    """State of a clip whose activity is recorded.

    Attributes:
        binding: whether the clip changed the last gradient.
        clip: the state of the wrapped clip.
    """

    binding: Bool[Array, ""]
    clip: optax.OptState


class AutoClip(NamedTuple):
    """The last `HISTORY` gradient norms as a ring buffer, infinite where empty, and the number of all norms."""

    norms: Float[Array, "history"]
    steps: Int[Array, ""]


class ZClip(NamedTuple):
    """Moving mean and variance of the clipped gradient norms, and their number."""

    mean: Float[Array, ""]
    variance: Float[Array, ""]
    steps: Int[Array, ""]


def record_clipping(clip: optax.GradientTransformation) -> optax.GradientTransformation:
    """Records, for any clip, whether it changed the gradient.

    A clip that is never active has no effect, and one that is always active normalizes every gradient, whatever its
    size; hence the share of steps in which it is active is reported.

    Args:
        clip: the transformation to wrap.

    Returns:
        The same transformation, its state wrapped in `Witnessed`.
    """

    def init(params: optax.Params) -> Witnessed:
        return Witnessed(jnp.zeros((), bool), clip.init(params))

    def update(
        updates: optax.Updates, state: Witnessed, params: optax.Params | None = None
    ) -> tuple[optax.Updates, Witnessed]:
        clipped, inner = clip.update(updates, state.clip, params)
        changed = jax.tree.map(lambda new, old: jnp.any(new != old), clipped, updates)
        return clipped, Witnessed(jnp.any(jnp.stack(jax.tree.leaves(changed))), inner)

    return optax.GradientTransformation(init, update)


def rescale(updates: optax.Updates, norm: Float[Array, ""], bound: Float[Array, ""] | float) -> optax.Updates:
    """Scales a gradient of the given norm down to the bound; a gradient below the bound is returned bit for bit."""
    scale = jnp.where(norm > bound, bound / norm, 1)
    return jax.tree.map(lambda update: update * scale.astype(update.dtype), updates)


def clip_by_global_norm(bound: float) -> optax.GradientTransformation:
    """Clips the global norm of the gradient, as `optax.clip_by_global_norm` does, fused with the next transformation.

        g <- g min(1, bound / |g|)        |g|: norm over all parameters

    Differs from Optax: one scale is computed for all leaves and multiplied in, which XLA fuses with the update of Adam;
    Optax selects elementwise between the gradient and a quotient, which is not fused on a CPU; docs/performance.md has
    the ratio. Both return the same gradient within rounding.

    Args:
        bound: the largest norm a gradient may have.

    Reference:
        Pascanu, Mikolov & Bengio, 2013, https://arxiv.org/abs/1211.5063
    """

    def update(
        updates: optax.Updates, state: optax.EmptyState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.EmptyState]:
        return rescale(updates, optax.tree.norm(updates), bound), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def per_tensor(bound: float) -> optax.GradientTransformation:
    """Clips the norm of the gradient of each parameter separately.

        g <- g min(1, bound / |g|)        for every tensor

    Unlike the global norm it changes the direction of the update: only layers with large gradients are scaled down.

    Args:
        bound: the largest norm a tensor's gradient may have.

    Example:
        >>> clip = per_tensor(1.0)
        >>> gradient = {"kernel": jnp.array([3.0, 4.0]), "bias": jnp.array([0.5])}
        >>> clip.update(gradient, clip.init(gradient))[0]
        {'bias': Array([0.5], dtype=float32), 'kernel': Array([0.6, 0.8], dtype=float32)}
    """

    def update(
        updates: optax.Updates, state: optax.EmptyState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.EmptyState]:
        return jax.tree.map(lambda leaf: rescale(leaf, optax.tree.norm(leaf), bound), updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def autoclip(percentile: float, history: int = HISTORY) -> optax.GradientTransformation:
    """Clips the global norm to a percentile of all norms so far, the present one included.

    Differs from the paper: the history is bounded, to the last `history` norms.

    Args:
        percentile: the percentile in (0, 100]; 10 in the paper, so that nine steps of ten are clipped.
        history: number of norms stored.

    Raises:
        ValueError: if `percentile` lies outside (0, 100].

    Reference:
        Seetharaman et al., 2020, https://arxiv.org/abs/2007.14469
    """
    if not 0 < percentile <= 100:
        raise ValueError(
            f"optim.clip_norm must lie in (0, 100] with autoclip, got {percentile}. The paper's percentile is 10."
        )

    def init(params: optax.Params) -> AutoClip:
        return AutoClip(jnp.full(history, jnp.inf), jnp.zeros((), jnp.int32))

    def update(
        updates: optax.Updates, state: AutoClip, params: optax.Params | None = None
    ) -> tuple[optax.Updates, AutoClip]:
        norm = optax.tree.norm(updates)
        norms = state.norms.at[state.steps % history].set(norm)
        last = jnp.minimum(state.steps, history - 1)
        place = percentile / 100 * last
        low = jnp.floor(place).astype(jnp.int32)
        ordered = jnp.sort(norms)
        below, above = ordered[low], ordered[jnp.minimum(low + 1, last)]
        return rescale(updates, norm, below + (place - low) * (above - below)), AutoClip(norms, state.steps + 1)

    return optax.GradientTransformation(init, update)


def zclip(threshold: float) -> optax.GradientTransformation:
    """Clips only gradients whose norm is an outlier among the recent ones.

    With mean m and standard deviation s of recent (clipped) norms, a norm n of z-score z = (n - m) / s above the
    threshold is clipped to a bound that decreases with the size of the outlier:

        m + threshold s / (z / threshold)

    The first `WARMUP` norms are not clipped and give the first m and s; then both are moving averages of decay `DECAY`.
    Differs from the authors' program, which by default also clips every norm at 1: here only outliers are clipped.

    Args:
        threshold: z-score above which a norm is an outlier; 2.5 in the paper.

    Reference:
        Kumar et al., 2025, https://arxiv.org/abs/2504.02507
    """

    def init(params: optax.Params) -> ZClip:
        return ZClip(jnp.zeros(()), jnp.zeros(()), jnp.zeros((), jnp.int32))

    def update(updates: optax.Updates, state: ZClip, params: optax.Params | None = None) -> tuple[optax.Updates, ZClip]:
        norm = optax.tree.norm(updates)
        warmed = state.steps >= WARMUP
        deviation = jnp.sqrt(state.variance)
        score = (norm - state.mean) / (deviation + 1e-6)
        spike = warmed & (score > threshold)
        bound = jnp.where(spike, state.mean + threshold**2 * deviation / jnp.where(spike, score, 1), jnp.inf)
        seen = jnp.minimum(norm, bound)
        rate = jnp.where(warmed, 1 - DECAY, 1 / (state.steps + 1))
        mean = state.mean + rate * (seen - state.mean)
        # The exact variance of the norms so far while warming up, the paper's moving average afterwards.
        square = (seen - mean) * jnp.where(warmed, seen - mean, seen - state.mean)
        return rescale(updates, norm, bound), ZClip(mean, (1 - rate) * state.variance + rate * square, state.steps + 1)

    return optax.GradientTransformation(init, update)
