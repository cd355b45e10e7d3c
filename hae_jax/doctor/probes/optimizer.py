"""The optimizer: what it makes of a gradient, found out by giving it others."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hae_jax.doctor.probes.context import ProbeContext
from hae_jax.doctor.probes.short_training import ShortTraining, TrainingCurve

SMALL = (1e-9, 1e-10)
"""Gradients so many times smaller pass any clip unchanged, and are not yet lost in float32."""


def dose(chart: ProbeContext, trial: ShortTraining, course: TrainingCurve) -> dict[str, Any]:
    """Measures clips, decay and epsilon at the start and after training.

    The first state after a gradient g tells what became of g: Adam's mean is a tenth of what the clip let through.
    Given g and two that are far smaller, whatever grows less than it should has been clipped.
    """
    case = chart.case
    places = [(case.params, case.batches[0])]
    if course.finite and course.params:
        places += [(course.params, batch) for batch in case.batches[1:4]]
    still = [np.zeros(p.shape, np.float32) for p in case.params]
    scales, decays, exponents, radial, lost = [], [], [], [], []

    def give(params: Any, gradient: Any, state: Any, factor: float = 1.0) -> tuple[Any, Any, Any]:
        scaled = [(np.asarray(g, np.float32) * factor).astype(g.dtype) for g in gradient]
        # The step that training has compiled already.
        new, state, moved, _ = jax.device_get(trial.move(params, state, scaled, np.float32(1), still))
        leaves = [np.asarray(x) for x in jax.tree.leaves(state)]
        return new, moved, [x for x in leaves if jnp.issubdtype(x.dtype, jnp.floating) and x.ndim > 0]

    for at, (params, batch) in enumerate(places):
        params = [np.asarray(p) for p in params]
        gradient = jax.device_get(trial.differentiate(params, batch, case.key)[1])
        fresh = trial.fresh(params)
        outs = [give(params, gradient, fresh, factor) for factor in (1.0, *SMALL)]
        tenth = norm(give(params, gradient, fresh, 0.1)[1])
        state = fresh if at == 0 else course.state
        new, own, _ = give(params, gradient, state)
        rest = give([np.zeros_like(p) for p in params], gradient, state)[1]
        gap = [a - b for a, b in zip(own, rest, strict=True)]
        states = [[norm([x]) for x in found] for _, _, found in outs]
        updates = [[norm([x]) for x in moved] for _, moved, _ in outs]
        found = [clip_scale(*sizes) for sizes in zip(*states, strict=True)] or [
            clip_scale(*sizes) for sizes in zip(*updates, strict=True)
        ]
        linear = [value for value in found if value is not None]
        if linear:
            scales.append(float(np.median(linear)))
        if norm(rest) > 0 and np.isfinite(norm(gap)):
            decays.append(norm(gap) / norm(rest) if cosine(gap, params) < -0.9 else 0.0)
        squared = [1 for a, b, c in zip(*states, strict=True) if b > 0 and c > 0 and round(float(np.log10(b / c))) == 2]
        if squared and tenth > 0 and norm(outs[0][1]) > 0:
            exponents.append(float(np.log10(norm(outs[0][1]) / tenth)))
        radial.append(cosine(gradient, params))
        moving = sum(int((m != 0).sum()) for m in own)
        swallowed = sum(int(((n == p) & (m != 0)).sum()) for n, p, m in zip(new, params, own, strict=True))
        lost.append(swallowed / max(1, moving))
    return {
        "clip_scale": float(np.median(scales)) if scales else None,
        "clip_binding": float(np.mean([s < 0.99 for s in scales])) if scales else None,
        "decay_share": float(np.median(decays)) if decays else None,
        "epsilon_exponent": float(np.median(exponents)) if exponents else None,
        "gradient_radial": float(np.median(radial)),
        "parameters": sum(p.size for p in case.params),
        "updates_lost": float(np.median(lost)),
    }


def norm(leaves: list[Any]) -> float:
    """Returns the norm of all numbers of some arrays."""
    return float(np.sqrt(sum(np.square(np.asarray(x, np.float64)).sum() for x in leaves)))


def cosine(ours: list[Any], theirs: list[Any]) -> float:
    """Returns the cosine between two lists of arrays, 0 where one of them is zero."""
    product = sum(
        (np.asarray(a, np.float64) * np.asarray(b, np.float64)).sum() for a, b in zip(ours, theirs, strict=True)
    )
    return float(product / (norm(ours) * norm(theirs) + 1e-30))


def clip_scale(whole: float, small: float, smaller: float) -> float | None:
    """Returns by how much a gradient was scaled before it came to a number that is linear in it, or quadratic.

    Example:
        >>> clip_scale(0.1, 1e-9, 1e-10), clip_scale(4.0, 4e-18, 4e-20), clip_scale(1.0, 1.0, 1.0)
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
