"""Training of a setup without the doctor: whether a healthy model really learns."""

import inspect
from typing import Any

import jax
import numpy as np
import optax

STEPS = 300
"""Steps within which the loss of a healthy model is below its goal."""
AVERAGED = 8
"""Last steps whose losses are averaged."""


def losses(setup: dict[str, Any], steps: int = STEPS) -> np.ndarray:
    """Returns the loss before each step of a training of the setup with its own optimizer, `[steps]`."""
    optimizer, params, function = setup["optimizer"], setup["params"], setup["loss"]
    # A key may be left out.
    taken = len(inspect.signature(function).parameters)

    def value(*given: Any) -> Any:
        result = function(*given[:taken])
        return result[0] if isinstance(result, tuple) else result

    @jax.jit
    def step(params: Any, state: Any, batch: Any, key: Any) -> Any:
        loss, gradient = jax.value_and_grad(value)(params, batch, key)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, loss

    state, curve = optimizer.init(params), []
    for number in range(steps):
        batch = setup["batches"][number % len(setup["batches"])]
        params, state, loss = step(params, state, batch, jax.random.key(number))
        curve.append(float(loss))
    return np.array(curve)


def final(curve: np.ndarray) -> float:
    """Returns the mean of the last losses."""
    return float(curve[-AVERAGED:].mean())
