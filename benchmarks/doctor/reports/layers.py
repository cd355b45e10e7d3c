"""Layers as trees of arrays, for models that are written by hand."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def dense(rng: np.random.Generator, inputs: int, outputs: int) -> dict[str, Any]:
    """Returns the weights of an affine map."""
    return {
        "w": jnp.asarray(rng.normal(size=(inputs, outputs)) / np.sqrt(inputs), jnp.float32),
        "b": jnp.zeros(outputs),
    }


def affine(p: dict[str, Any], x: Any) -> Any:
    """Returns the affine map of the last axis."""
    return x @ p["w"] + p["b"]


def lstm(rng: np.random.Generator, inputs: int, units: int) -> dict[str, Any]:
    """Returns the weights of an LSTM with forget biases of 1."""
    made = dense(rng, inputs + units, 4 * units)
    return made | {"b": made["b"].at[units : 2 * units].set(1.0)}


def zero_state(rows: int, units: int) -> Any:
    """Returns the state (c, h) before the first step."""
    return (jnp.zeros((rows, units)), jnp.zeros((rows, units)))


def run_lstm(p: dict[str, Any], x: Any, state: Any = None, real: Any = None, reverse: bool = False) -> Any:
    """Returns the last state (c, h), and the outputs `[batch, time, units]`.

    Args:
        p: weights of `lstm`.
        x: inputs `[batch, time, features]`.
        state: state before the first step; zeros if None.
        real: steps at which the state changes, `[batch, time]`; all if None.
        reverse: whether to read from the end.
    """
    units = p["b"].shape[0] // 4
    state = zero_state(x.shape[0], units) if state is None else state
    real = jnp.ones(x.shape[:2], bool) if real is None else real

    def step(state: Any, now: Any) -> Any:
        c, h = state
        x, keep = now
        i, f, g, o = jnp.split(affine(p, jnp.concatenate([x, h], -1)), 4, -1)
        new_c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        new = (new_c, jax.nn.sigmoid(o) * jnp.tanh(new_c))
        new = jax.tree.map(lambda a, b: jnp.where(keep[:, None], a, b), new, state)
        return new, new[1]

    state, y = jax.lax.scan(step, state, (jnp.swapaxes(x, 0, 1), real.T), reverse=reverse)
    return state, jnp.swapaxes(y, 0, 1)
