"""A Keras optimizer as an optax gradient transformation."""

from typing import Any

import jax.numpy as jnp
import keras
import numpy as np
import optax

STEPS_WITHOUT_WEIGHTS = (
    "SGD", "RMSprop", "Adam", "AdamW", "Adadelta", "Adagrad", "Adamax", "Nadam", "Lion",
)  # fmt: skip
"""Optimizers of Keras whose steps, weight decay aside, do not depend on the weights."""


def transformation(optimizer: Any, variables: dict[str, Any], constants: dict[str, Any]) -> Any:
    """Returns an optimizer of Keras, with its clipping, schedule, weight decay and constraints, as one of optax.

    Args:
        optimizer: the Keras optimizer, built for these variables.
        variables: trainable variables by name.
        constants: variables by name that are not trained; their updates are 0.

    Returns:
        A `GradientTransformation` of dictionaries of arrays. Its state is the values of the optimizer's variables.
    """
    trained = list(variables.values())
    # Copies, since Keras donates the arrays of its variables to the next training step.
    initial = [np.array(each.value) for each in optimizer.variables]
    exact = type(optimizer) in [getattr(keras.optimizers, name) for name in STEPS_WITHOUT_WEIGHTS]
    exact = exact and not optimizer.ema_overwrite_frequency and all(each.constraint is None for each in trained)

    def init(params: dict[str, Any]) -> Any:
        return [jnp.array(value) for value in initial]

    def update(gradients: dict[str, Any], state: Any, params: dict[str, Any]) -> Any:
        scale = loss_scale(optimizer, state)
        gradient = [gradients[name] if scale is None else gradients[name] * scale for name in variables]
        weights = [params[name] for name in variables]
        # Small updates would be rounded in the difference of weights.
        start = [jnp.zeros_like(each) for each in weights] if exact else weights
        new, state = optimizer.stateless_apply(state, gradient, start)
        updates = {name: after - before for name, after, before in zip(variables, new, start, strict=True)}
        if exact:
            decayed = decay(optimizer, variables, state, params)
            updates = {name: value - decayed[name] for name, value in updates.items()}
        return updates | {name: jnp.zeros_like(params[name]) for name in constants}, state

    return optax.GradientTransformation(init, update)


def decay(optimizer: Any, variables: dict[str, Any], state: Any, params: dict[str, Any]) -> dict[str, Any]:
    """Returns what weight decay subtracts from each parameter."""
    if optimizer.weight_decay is None:
        return dict.fromkeys(variables, 0.0)
    mapping = zip(optimizer.variables, state, strict=True)
    with keras.StatelessScope(state_mapping=list(mapping)):
        rate = jnp.asarray(optimizer.learning_rate)
    excluded = [name for name, each in variables.items() if not optimizer._use_weight_decay(each)]
    return {name: 0.0 if name in excluded else params[name] * optimizer.weight_decay * rate for name in variables}


def loss_scale(optimizer: Any, state: Any) -> Any:
    """Returns the factor by which an optimizer expects gradients to be scaled; None if it expects none."""
    one = jnp.ones(())
    with keras.StatelessScope(state_mapping=list(zip(optimizer.variables, state, strict=True))):
        scale = optimizer.scale_loss(one)
    return None if scale is one else jnp.asarray(scale)
