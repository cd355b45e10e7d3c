"""The optimizer: clipping, decay and epsilon, measured by its response to scaled gradients."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hae_jax.doctor.evidence import Evidence
from hae_jax.doctor.inputs.arrays import Arrays
from hae_jax.doctor.probes.context import ProbeContext

SMALL = (1e-9, 1e-10)
"""Factors by which gradients are scaled down: below any clip, and not yet lost in float32."""

REPEATED = 12
"""Number of equal gradients by which it is measured whether gradients are added up."""


def response(context: ProbeContext) -> Evidence:
    """Measures clipping, decay and epsilon at initialization and after training.

    The optimizer state after one gradient g shows what it did to g: Adam's mean is a tenth of the clipped gradient.
    Given g and two far smaller gradients, whatever grows less than in proportion has been clipped.
    """
    setup, trainer, curve = context.setup, context.trainer, context.curve
    points = [(setup.params, setup.batches[0])]
    if curve.finite and curve.params:
        points += [(curve.params, batch) for batch in setup.batches[1:4]]
    zeros = [np.zeros(param.shape, np.float32) for param in setup.params]
    clip_scales, decay_shares, exponents, radial, lost = [], [], [], [], []
    direction = 0.0

    def step(params: Arrays, gradient: Arrays, state: Any, factor: float = 1.0) -> tuple[Arrays, Arrays, Arrays]:
        """Returns new parameters, updates, and the arrays of the new state, of one step on a scaled gradient."""
        scaled = [(np.asarray(g, np.float32) * factor).astype(g.dtype) for g in gradient]
        # The function that training has compiled already.
        new, state, updates, _ = jax.device_get(trainer.step(params, state, scaled, np.float32(1), zeros))
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(state)]
        return new, updates, [leaf for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.floating) and leaf.ndim > 0]

    for number, (params, batch) in enumerate(points):
        params = [np.asarray(param) for param in params]
        gradient = jax.device_get(trainer.value_and_grad(params, batch, setup.key)[1])
        initial = trainer.init_state(params)
        steps = [step(params, gradient, initial, factor) for factor in (1.0, *SMALL)]
        state = initial if number == 0 else curve.state
        new, updates, _ = step(params, gradient, state)
        decay = step([np.zeros_like(param) for param in params], gradient, state)[1]
        shrinkage = [a - b for a, b in zip(updates, decay, strict=True)]
        state_norms = [[norm([leaf]) for leaf in leaves] for _, _, leaves in steps]
        update_norms = [[norm([leaf]) for leaf in leaves] for _, leaves, _ in steps]
        factors = [clip_factor(*norms) for norms in zip(*state_norms, strict=True)]
        factors = factors or [clip_factor(*norms) for norms in zip(*update_norms, strict=True)]
        proportional = [factor for factor in factors if factor is not None]
        if proportional:
            clip_scales.append(float(np.median(proportional)))
        if norm(decay) > 0 and np.isfinite(norm(shrinkage)):
            towards_zero = cosine(shrinkage, params) < -0.9
            decay_shares.append(norm(shrinkage) / norm(decay) if towards_zero else 0.0)
        # A second moment grows with the square of the gradient; where there is one, there is an epsilon.
        has_second_moment = any(
            small > 0 and smaller > 0 and round(float(np.log10(small / smaller))) == 2
            for _, small, smaller in zip(*state_norms, strict=True)
        )
        if number == 0:
            direction = cosine(decay, gradient)
        whole, tenth = norm(steps[0][1]), norm(step(params, gradient, initial, 0.1)[1])
        if has_second_moment and tenth > 0 and whole > 0:
            exponents.append(float(np.log10(whole / tenth)))
        radial.append(cosine(gradient, params))
        changing = sum(int((update != 0).sum()) for update in updates)
        rounded = sum(int(((n == p) & (u != 0)).sum()) for n, p, u in zip(new, params, updates, strict=True))
        lost.append(rounded / max(1, changing))
    return {
        "clip_scale": float(np.median(clip_scales)) if clip_scales else None,
        "clip_binding": float(np.mean([factor < 0.99 for factor in clip_scales])) if clip_scales else None,
        "decay_share": float(np.median(decay_shares)) if decay_shares else None,
        "epsilon_exponent": float(np.median(exponents)) if exponents else None,
        "gradient_radial": float(np.median(radial)),
        "parameters": sum(param.size for param in setup.params),
        "updates_lost": float(np.median(lost)),
        "update_direction": direction,
        **memory(context),
    }


def memory(context: ProbeContext) -> Evidence:
    """Measures whether the optimizer adds up gradients and forgets none, as a momentum of 1 does, or remembers none.

    In the first case, a part of its state that is zero at first grows in proportion to the number of equal gradients,
    and stays with gradients of zero, during which the parameters still move. In the second, no part changes at all.
    """
    setup, trainer = context.setup, context.trainer
    gradient = jax.device_get(trainer.value_and_grad(setup.params, setup.batches[0], setup.key)[1])
    zeros = [np.zeros_like(g) for g in gradient]
    previous = [np.zeros(param.shape, np.float32) for param in setup.params]

    def after(gradients: list[Arrays]) -> tuple[list[np.ndarray], float]:
        """Returns the state's arrays, and the norm of the last update."""
        state, updates = trainer.init_state(setup.params), previous
        for each in gradients:
            _, state, updates, _ = trainer.step(setup.params, state, each, np.float32(1), previous)
        return [np.asarray(leaf) for leaf in jax.tree.leaves(jax.device_get(state))], norm(jax.device_get(updates))

    (start, _), (one, _) = after([]), after([gradient])
    if not np.isfinite(norm(gradient)):
        return {"gradients_accumulate": False, "state_lost": False}
    moments = [at for at, leaf in enumerate(start) if jnp.issubdtype(leaf.dtype, jnp.floating) and leaf.ndim > 0]
    lost = bool(moments) and all(np.array_equal(a, b) for a, b in zip(start, one, strict=True))
    (equal, most), (idle, last) = after([gradient] * REPEATED), after([gradient] + [zeros] * (REPEATED - 1))
    accumulate = False
    for at in moments:
        before, single, same, rest = (norm([leaves[at]]) for leaves in (start, one, equal, idle))
        grows = before == 0 and single > 0 and abs(same / (REPEATED * single) - 1) < 0.01
        accumulate |= grows and abs(rest / single - 1) < 1e-3 and last > 0.05 * most > 0
    return {"gradients_accumulate": accumulate, "state_lost": lost}


def norm(arrays: Arrays) -> float:
    """Returns the norm of all elements of some arrays."""
    return float(np.sqrt(sum(np.square(np.asarray(x, np.float64)).sum() for x in arrays)))


def cosine(ours: Arrays, theirs: Arrays) -> float:
    """Returns the cosine between two lists of arrays, 0 if one of them is zero."""
    pairs = zip(ours, theirs, strict=True)
    product = sum((np.asarray(a, np.float64) * np.asarray(b, np.float64)).sum() for a, b in pairs)
    return float(product / (norm(ours) * norm(theirs) + 1e-30))


def clip_factor(whole: float, small: float, smaller: float) -> float | None:
    """Returns the factor by which a gradient was clipped; None if a norm depends on it neither linearly nor by square.

    Args:
        whole: norm computed from the whole gradient.
        small: the same from the gradient scaled by the first factor of `SMALL`.
        smaller: the same by the second.

    Example:
        >>> clip_factor(0.1, 1e-9, 1e-10), clip_factor(4.0, 4e-18, 4e-20), clip_factor(1.0, 1.0, 1.0)
        (0.1, 1.0, None)
    """
    if not (whole > 0 and small > 1e-37 and smaller > 1e-37):
        return None
    power = np.log10(small / smaller)
    if abs(power - 1) < 0.05:
        return round(float(whole / (small / SMALL[0])), 6)
    if abs(power - 2) < 0.05:
        return round(float(np.sqrt(whole / (small / SMALL[0] ** 2))), 6)
    return None
