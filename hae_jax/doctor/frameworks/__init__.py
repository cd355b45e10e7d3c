"""Models of other frameworks as training setups; a framework is imported only when a model of it is given."""

import importlib
from typing import Any

from hae_jax.doctor.inputs.setup import SetupError, TrainingSetup

ADAPTERS = {
    "keras": "hae_jax.doctor.frameworks.keras",
    "torch": "hae_jax.doctor.frameworks.torch",
    "flax.nnx": "hae_jax.doctor.frameworks.nnx",
    "equinox": "hae_jax.doctor.frameworks.equinox",
}
"""Modules with `setup_of(model, *rest, **parts)`, by the package that defines a base class of the model.

Keras precedes the others, since its layers are modules of PyTorch with one backend and of Flax with another."""
UNSUPPORTED = {
    "tf_keras": "a model of Keras 3",
    "tensorflow": "a model of Keras 3 with the backend JAX",
    "flax.linen": "the loss, params, batches and optimizer: examine(loss=..., params=..., batches=...)",
    "haiku": "the loss, params, batches and optimizer: examine(loss=..., params=..., batches=...)",
    "mxnet": "a model of PyTorch or Keras 3",
    "paddle": "a model of PyTorch or Keras 3",
    "sklearn": "a model of PyTorch or Keras 3",
}
"""What to give instead of models of packages that are not supported."""


def to_setup(*given: Any, **parts: Any) -> TrainingSetup:
    """Makes a training setup of a model of Keras, PyTorch, Flax NNX or Equinox.

    Args:
        given: the model, followed by what its adapter takes, as the data.
        parts: further arguments of the adapter.

    Raises:
        SetupError: if the model is of no supported framework, or an argument is wrong.

    Example:
        >>> to_setup(object())
        Traceback (most recent call last):
            ...
        hae_jax.doctor.inputs.setup.SetupError: model must be ... of Keras, ... or Equinox, got object. Give ...
    """
    if not given:
        raise SetupError("patient-fails", "model must be given, got none. Give a setup, or a model and its data.")
    model, *rest = given
    name = framework(model)
    if name is None:
        kind = type(model).__name__
        alternative = next((UNSUPPORTED[each] for each in UNSUPPORTED if defined_by(model, each)), None)
        raise SetupError(
            "patient-fails",
            f"model must be one of Keras, PyTorch, Flax NNX or Equinox, got {kind}. "
            f"Give {alternative or 'a setup with loss, params and batches'}.",
        )
    setup: TrainingSetup = importlib.import_module(ADAPTERS[name]).setup_of(model, *rest, **parts)
    return setup


def framework(model: Any) -> str | None:
    """Returns the key of the adapter that takes a model; None if there is none.

    Example:
        >>> framework([]) is None
        True
    """
    return next((name for name in ADAPTERS if defined_by(model, name)), None)


def defined_by(model: Any, package: str) -> bool:
    """Returns whether a package defines a class of the model, by names alone, so that nothing is imported.

    Example:
        >>> from collections import OrderedDict
        >>> defined_by(OrderedDict(), "collections"), defined_by(OrderedDict(), "collect")
        (True, False)
    """
    kinds = model.__mro__ if isinstance(model, type) else type(model).__mro__
    return any(f"{kind.__module__}.".startswith(f"{package}.") for kind in kinds)
