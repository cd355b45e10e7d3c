"""The optimizer: what it makes of a gradient, found out by giving it others."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hae_jax.doctor.chart import Chart
from hae_jax.doctor.trial import Course, Trial

SMALL = (1e-6, 1e-7)
"""Gradients so many times smaller pass any clip unchanged."""


def dose(chart: Chart, trial: Trial, course: Course) -> dict[str, Any]:
    """Measures clips, decay and epsilon at the start and after training.

    The first state after a gradient g tells what became of g: Adam's mean is a tenth of what the clip let through.
    Given g and two that are millions of times smaller, whatever grows less than it should has been clipped.
    """
    case = chart.case
    places = [(case.params, case.batches[0])]
    if course.finite and course.params:
        places += [(course.params, batch) for batch in case.batches[1:4]]
    scales, decays, exponents, radial, lost = [], [], [], [], []

    @jax.jit
    def give(params: Any, gradient: Any, state: Any) -> Any:
        outs = [trial.update([g * s for g in gradient], trial.fresh(params), params) for s in (1.0, *SMALL)]
        tenth, _ = trial.update([g * 0.1 for g in gradient], trial.fresh(params), params)
        one = [trial.update(gradient, state, [p * f for p in params])[0] for f in (1.0, 0.0)]
        size = lambda leaves: [jnp.linalg.norm(jnp.asarray(x, jnp.float32)) for x in leaves]  # noqa: E731
        floats = [
            [x for x in jax.tree.leaves(s) if jnp.issubdtype(jnp.asarray(x).dtype, jnp.floating) and jnp.ndim(x) > 0]
            for _, s in outs
        ]
        dot = lambda a, b: sum((x * y).sum() for x, y in zip(a, b, strict=True))  # noqa: E731
        norm = lambda a: jnp.sqrt(dot(a, a))  # noqa: E731
        gap = [a - b for a, b in zip(*one, strict=True)]
        swallowed = [((p + u == p) & (u != 0)).sum() for p, u in zip(params, one[0], strict=True)]
        moving = [(u != 0).sum() for u in one[0]]
        return (
            [size(x) for x in floats], [size(u) for u, _ in outs], norm(outs[0][0]), norm(tenth),
            norm(gap), norm(one[1]), dot(gap, params) / (norm(gap) * norm(params) + 1e-30),
            dot(gradient, params) / (norm(gradient) * norm(params) + 1e-30), sum(swallowed), sum(moving),
        )  # fmt: skip

    for at, (params, batch) in enumerate(places):
        _, gradient = trial.differentiate(params, batch, case.key)
        state = trial.fresh() if at == 0 else course.state
        states, updates, whole, tenth, gap, rest, along, inward, swallowed, moving = jax.device_get(
            give(params, gradient, state)
        )
        found = [clip_scale(*map(float, sizes)) for sizes in zip(*states, strict=True)] or [
            clip_scale(*map(float, sizes)) for sizes in zip(*updates, strict=True)
        ]
        linear = [value for value in found if value is not None]
        if linear:
            scales.append(float(np.median(linear)))
        if rest > 0 and np.isfinite(gap):
            decays.append(float(gap / rest) if along < -0.9 else 0.0)
        squared = [1 for a, b, c in zip(*states, strict=True) if b > 0 and c > 0 and round(float(np.log10(b / c))) == 2]
        if squared and tenth > 0 and whole > 0:
            exponents.append(float(np.log10(whole / tenth)))
        radial.append(float(inward))
        lost.append(float(swallowed / max(1, moving)))
    return {
        "clip_scale": float(np.median(scales)) if scales else None,
        "clip_binding": float(np.mean([s < 0.99 for s in scales])) if scales else None,
        "decay_share": float(np.median(decays)) if decays else None,
        "epsilon_exponent": float(np.median(exponents)) if exponents else None,
        "gradient_radial": float(np.median(radial)),
        "updates_lost": float(np.median(lost)),
    }


def clip_scale(whole: float, small: float, smaller: float) -> float | None:
    """Returns by how much a gradient was scaled before it came to a number that is linear in it, or quadratic.

    Example:
        >>> clip_scale(0.1, 1e-6, 1e-7), clip_scale(4.0, 4e-12, 4e-14), clip_scale(1.0, 1.0, 1.0)
        (0.1, 1.0, None)
    """
    if not (whole > 0 and small > 1e-30 and smaller > 1e-30):
        return None
    power = np.log10(small / smaller)
    if abs(power - 1) < 0.05:
        return round(float(whole / (small / SMALL[0])), 6)
    if abs(power - 2) < 0.05:
        return round(float(np.sqrt(whole / (small / SMALL[0] ** 2))), 6)
    return None
