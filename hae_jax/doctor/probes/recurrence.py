"""Recurrences: gates, growth of states, initial states, and how gradients change through time."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hae_jax.doctor.evidence import Evidence
from hae_jax.doctor.probes.context import ProbeContext, ProbeSkipped
from hae_jax.doctor.probes.curve import ratio, slope
from hae_jax.doctor.tracing.interpreter import FAST_COMPILE
from hae_jax.doctor.tracing.recurrences import Recurrence

MIN_STEPS = 6
"""Least number of steps of a gradient curve."""


def states(context: ProbeContext) -> Evidence:
    """Measures gates and the size of states of every recurrence, and what initial states were copied from."""
    roles, activations = context.traced.roles, context.activations
    recurrences = roles.recurrences
    if not recurrences:
        if roles.unrolled:
            reason = "Python unrolled the loops; written with jax.lax.scan or nn.RNN they can be examined"
            raise ProbeSkipped(reason, {"unrolled": True})
        raise ProbeSkipped("no loop carries a state")
    forget, saturated, driven = (
        {each.name: float(value) for each, value in zip(recurrences, values, strict=True) if np.isfinite(value)}
        for values in (activations.forget, activations.saturated, activations.driven)
    )
    sizes = [
        state_sizes(each, state)
        for each, recorded in zip(recurrences, activations.states, strict=True)
        for state in recorded
    ]
    return {
        "forget_least": min(forget.values(), default=None),
        "forget_gates": forget,
        "saturated_most": max(saturated.values(), default=None),
        "saturated_gates": saturated,
        "driven_most": max(driven.values(), default=None),
        "state_largest": max(0.0, *(float(size.max()) for size in sizes)),
        "state_growth": max(1.0, *map(growth, sizes)),
        "recurrence_steps": max(each.steps for each in recurrences),
        "state_swapped": swapped(context),
        "hidden_bounded": all(each.bounded for each in recurrences),
        "gated": any(each.cells and not each.bounded for each in recurrences),
    }


def state_sizes(recurrence: Recurrence, state: np.ndarray) -> np.ndarray:
    """Returns the largest absolute value of a recorded state at each step, in the order of time."""
    size = np.abs(np.asarray(state, np.float64))
    if recurrence.nested:
        size = size.reshape(-1, *state.shape[-2:])
    size = size.reshape(size.shape[0], -1).max(1)
    return size[::-1] if recurrence.reverse else size


def growth(sizes: np.ndarray) -> float:
    """Returns the size at the last step over that at the middle one; 1 for fewer than four steps."""
    middle = sizes[len(sizes) // 2]
    return float(sizes[-1] / middle) if len(sizes) > 3 and middle > 0 else 1.0


def swapped(context: ProbeContext) -> bool | None:
    """Returns whether an LSTM starts with another one's h as its c, and c as its h; None if no states are copied."""
    activations, copied = context.activations, None
    lstms = [
        (each, states, initial)
        for each, states, initial in zip(
            context.traced.roles.recurrences, activations.states, activations.initial_states, strict=True
        )
        if not each.nested and len(each.carry) == 2 and len(each.cells) == 1
    ]
    for number, (encoder, states, _) in enumerate(lstms):
        c = encoder.carry.index(encoder.cells[0])
        for final in final_states(states, encoder.reverse, context.real):
            if same(final[c], final[1 - c]):
                continue
            for decoder, _, initial in lstms[number + 1 :]:
                own_c = decoder.carry.index(decoder.cells[0])
                if same(initial[own_c], final[1 - c]) and same(initial[1 - own_c], final[c]):
                    return True
                if same(initial[own_c], final[c]) or same(initial[1 - own_c], final[1 - c]):
                    copied = False
    return copied


def final_states(states: list[np.ndarray], reverse: bool, real: np.ndarray | None) -> Iterator[list[np.ndarray]]:
    """Yields the states after the last step, then, if lengths are known, those after each row's last real step."""
    yield [state[0 if reverse else -1] for state in states]
    if real is not None and real.shape[::-1] == np.shape(states[0])[:2] and not reverse:
        last = np.maximum(real.sum(1) - 1, 0)
        yield [np.asarray(state)[last, np.arange(len(real))] for state in states]


def same(a: Any, b: Any) -> bool:
    """Returns whether two states are equal and not zero."""
    return np.shape(a) == np.shape(b) and bool(np.allclose(a, b, atol=1e-6)) and float(np.abs(a).max()) > 1e-6


def gradients(context: ProbeContext) -> Evidence:
    """Measures slope and ratio of the gradient curve of every recurrence that is not nested."""
    recurrences = [
        (each, states)
        for each, states in zip(context.traced.roles.recurrences, context.activations.states, strict=True)
        if not each.nested and each.steps >= MIN_STEPS
    ]
    if not recurrences:
        raise ProbeSkipped("no loop of six steps carries a state")
    slopes, decades = {}, {}
    outer = [each for each in context.traced.roles.recurrences if not each.nested]
    norms_of = {each.name: norms for each, norms in zip(outer, context.gradients.states, strict=True)}
    for recurrence, states in recurrences:
        norms = norms_of[recurrence.name]
        curve, rows = gradient_curve(recurrence, states, norms)
        if len(curve) >= MIN_STEPS and np.isfinite(curve).all():
            fitted = slope_and_ratio(jnp.asarray(curve), jnp.asarray(rows, jnp.float32))
            slopes[recurrence.name], decades[recurrence.name] = map(float, fitted)
    finite = {name: value for name, value in slopes.items() if np.isfinite(value)}
    if not finite:
        raise ProbeSkipped("no recurrence of six steps has a gradient")
    return {
        "slopes": finite,
        "slope_least": min(finite.values()),
        "slope_most": max(finite.values()),
        "decades": decades,
        "decades_least": min(decades.values()),
        "decades_most": max(decades.values()),
    }


def gradient_curve(recurrence: Recurrence, states: list[Any], norms: list[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the gradient curve of a recurrence, and the number of rows at each of its positions.

    The curve holds root mean squares over rows, relative to the largest, by steps before each row's last real one.

    Args:
        recurrence: which.
        states: its states, [step, row, ...].
        norms: norms of their gradients, [step, row].
    """
    total = np.sqrt(sum(np.square(np.asarray(norm, np.float64)) for norm in norms))
    total = total.reshape(len(total), -1)
    real = np.ones_like(total, bool)
    for state in states:
        # A step that leaves the state unchanged is padding; gradients pass it unchanged.
        moved = np.abs(np.diff(np.asarray(state, np.float64), axis=0)).max(-1).reshape(len(total) - 1, -1) > 0
        if moved.shape == real[1:].shape:
            real[1:] &= moved
    order = slice(None) if recurrence.reverse else slice(None, None, -1)
    total, real = total[order], real[order]
    # Rows are aligned at their last real steps, where gradients start.
    rows = [total[real[:, row], row] for row in range(total.shape[1])]
    longest = max(map(len, rows))
    count = np.array([sum(len(row) > at for row in rows) for at in range(longest)])
    squares = sum(np.pad(row**2, (0, longest - len(row))) for row in rows)
    curve = np.sqrt(squares / count)
    return (curve / max(curve.max(), 1e-300)).astype(np.float32), count


@functools.partial(jax.jit, compiler_options=FAST_COMPILE)
def slope_and_ratio(curve: Any, rows: Any) -> tuple[Any, Any]:
    """Returns slope and ratio of a curve whose positions have the given numbers of rows."""
    return slope(curve, rows), ratio(curve)
