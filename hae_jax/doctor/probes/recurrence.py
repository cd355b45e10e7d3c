"""Recurrences from within: gates, how states grow, and how far gradients reach."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hae_jax.doctor.probes.context import ProbeContext, ProbeSkipped
from hae_jax.doctor.probes.curve import ratio, slope
from hae_jax.doctor.tracing.interpreter import ONCE


def states(chart: ProbeContext) -> dict[str, Any]:
    """Measures gates and the size of states of every recurrence, and what initial states were copied from."""
    look, heard = chart.inside, chart.heard
    found = look.anatomy.recurrences
    if not found:
        if look.anatomy.unrolled:
            chart.evidence["unrolled"] = True
            raise ProbeSkipped(
                "Python unrolled the loops; write them with jax.lax.scan or nn.RNN, and they can be told"
            )
        raise ProbeSkipped("no loop carries a state")
    forget = {r.name: float(f) for r, f in zip(found, heard.forget, strict=True) if np.isfinite(f)}
    ends = {r.name: float(s) for r, s in zip(found, heard.saturated, strict=True) if np.isfinite(s)}
    largest, growth = 0.0, 1.0
    for r, group in zip(found, heard.states, strict=True):
        for state in group:
            size = (
                np.abs(np.asarray(state, np.float64)).reshape(-1, *state.shape[-2:])
                if r.nested
                else np.abs(np.asarray(state, np.float64))
            )
            steps = size.reshape(size.shape[0], -1).max(1)
            steps = steps[::-1] if r.op.equation.params["reverse"] else steps
            largest = max(largest, float(steps.max()))
            if len(steps) > 3 and steps[len(steps) // 2] > 0:
                growth = max(growth, float(steps[-1] / steps[len(steps) // 2]))
    return {
        "forget_least": min(forget.values(), default=None),
        "forget_gates": forget,
        "saturated_most": max(ends.values(), default=None),
        "saturated_gates": ends,
        "state_largest": largest,
        "state_growth": growth,
        "recurrence_steps": max(r.steps for r in found),
        "state_swapped": swapped(chart),
        "hidden_bounded": all(r.squashed for r in found),
        "gated": any(r.cells and not r.squashed for r in found),
    }


@functools.partial(jax.jit, compiler_options=ONCE)
def steepness(curve: Any, count: Any) -> tuple[Any, Any]:
    """Returns the slope of a curve, and the decades between its ends."""
    return slope(curve, count), ratio(curve)


def swapped(chart: ProbeContext) -> bool | None:
    """Says whether a recurrence begins with another one's h for its c, and its c for its h; None without copies."""
    look, heard, known = chart.inside, chart.heard, None
    plain = [
        (r, s, b) for r, s, b in zip(look.anatomy.recurrences, heard.states, heard.starts, strict=True) if not r.nested
    ]
    lstm = [(r, s, b) for r, s, b in plain if len(r.carry) == 2 and len(r.cells) == 1]
    for i, (theirs, states, _) in enumerate(lstm):
        cell = theirs.carry.index(theirs.cells[0])
        for last in _ends(states, theirs.op.equation.params["reverse"], chart.real):
            if _same(last[cell], last[1 - cell]):
                continue
            for ours, _, begins in lstm[i + 1 :]:
                own = ours.carry.index(ours.cells[0])
                if _same(begins[own], last[1 - cell]) and _same(begins[1 - own], last[cell]):
                    return True
                if _same(begins[own], last[cell]) or _same(begins[1 - own], last[1 - cell]):
                    known = False
    return known


def _ends(states: list[np.ndarray], reverse: bool, real: np.ndarray | None) -> Iterator[list[np.ndarray]]:
    """Yields the carries of the last step, then, where rows are known to be shorter, those of each row's own last."""
    yield [state[0 if reverse else -1] for state in states]
    if real is not None and real.shape[::-1] == np.shape(states[0])[:2] and not reverse:
        rows = len(real)
        own = np.maximum(real.sum(1) - 1, 0)
        yield [np.asarray(state)[own, np.arange(rows)] for state in states]


def _same(a: Any, b: Any) -> bool:
    return np.shape(a) == np.shape(b) and bool(np.allclose(a, b, atol=1e-6)) and float(np.abs(a).max()) > 1e-6


def gradients(chart: ProbeContext) -> dict[str, Any]:
    """Measures how gradients change on their way back through every recurrence that gets them at its end only."""
    look = chart.inside
    watched = [(r, s) for r, s in zip(look.anatomy.recurrences, chart.heard.states, strict=True) if not r.nested]
    if not watched:
        raise ProbeSkipped("no loop carries a state")
    slopes, decades = {}, {}
    for (r, values), group in zip(watched, chart.felt.states, strict=True):
        norms = np.sqrt(sum(np.square(np.asarray(g, np.float64)) for g in group))
        norms = norms.reshape(len(norms), -1)
        active = np.ones_like(norms, bool)
        for value in values:
            # A step that leaves the state as it was is padding; gradients pass it unchanged.
            moved = np.abs(np.diff(np.asarray(value, np.float64), axis=0)).max(-1).reshape(len(norms) - 1, -1) > 0
            if moved.shape == active[1:].shape:
                active[1:] &= moved
        order = slice(None) if r.op.equation.params["reverse"] else slice(None, None, -1)
        norms, active = norms[order], active[order]
        # Rows are aligned at their last real steps, where gradients begin.
        real = [norms[active[:, row], row] for row in range(norms.shape[1])]
        longest = max(map(len, real))
        count = np.array([sum(len(row) > at for row in real) for at in range(longest)])
        total = sum(np.pad(row**2, (0, longest - len(row))) for row in real)
        curve = jnp.asarray(np.sqrt(total / count) / max(np.sqrt(total / count).max(), 1e-300), jnp.float32)
        if longest < 6 or not bool(jnp.isfinite(curve).all()):
            continue
        slopes[r.name], decades[r.name] = map(float, steepness(curve, jnp.asarray(count, jnp.float32)))
    good = {name: value for name, value in slopes.items() if np.isfinite(value)}
    if not good:
        raise ProbeSkipped("no recurrence of six steps has a gradient")
    return {
        "slopes": good,
        "slope_least": min(good.values()),
        "slope_most": max(good.values()),
        "decades": decades,
        "decades_least": min(decades.values()),
        "decades_most": max(decades.values()),
    }
