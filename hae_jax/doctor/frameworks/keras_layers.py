"""Layers of Keras that are opaque in a trace, computed otherwise while the model is traced."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax.numpy as jnp
import keras


@contextlib.contextmanager
def traceable(model: Any) -> Iterator[None]:
    """Lets the layers of a model compute the same with fewer and plainer operations.

    A `TimeDistributed` layer is applied to all steps at once, where Keras repeats it for each; recurrences are scans,
    also with `unroll=True`, and of plain operations, also where cuDNN would compute them.
    """
    changed = []
    for layer in model._flatten_layers():
        attributes: dict[str, Any] = {}
        if isinstance(layer, keras.layers.TimeDistributed) and is_stateless(layer.layer):
            attributes["call"] = all_steps_at_once(layer.layer)
        if isinstance(layer, keras.layers.RNN):
            attributes |= {name: False for name in ("unroll", "use_cudnn") if hasattr(layer, name)}
        changed.append((vars(layer), dict(vars(layer)), attributes))
        vars(layer).update(attributes)
    try:
        yield
    finally:
        for current, before, attributes in changed:
            for name in attributes:
                del current[name]
            current.update({name: before[name] for name in attributes if name in before})


def is_stateless(layer: Any) -> bool:
    """Returns whether a layer changes none of its variables but random seeds; batch normalization does."""
    return not any(each._non_trainable_variables for each in layer._flatten_layers())


def is_seed(variable: Any) -> bool:
    """Returns whether a variable is the state of a random generator."""
    return str(variable.path).rsplit("/", 1)[-1] == "seed_generator_state"


def all_steps_at_once(layer: Any) -> Callable[..., Any]:
    """Returns the call of a `TimeDistributed` layer, with the steps of all examples as one batch.

    Args:
        layer: the wrapped layer.
    """

    def call(inputs: Any, training: Any = None, mask: Any = None) -> Any:
        batch, steps = inputs.shape[:2]
        options: dict[str, Any] = {}
        if layer._call_has_mask_arg and mask is not None:
            options["mask"] = jnp.reshape(mask, (batch * steps, *mask.shape[2:]))
        if layer._call_has_training_arg:
            options["training"] = training
        output = layer.call(jnp.reshape(inputs, (batch * steps, *inputs.shape[2:])), **options)
        return jnp.reshape(output, (batch, steps, *output.shape[1:]))

    return call
