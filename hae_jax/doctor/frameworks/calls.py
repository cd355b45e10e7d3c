"""Calls of loss functions that take a model, with a batch in one argument or in several."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from hae_jax.doctor.inputs.setup import SetupError
from hae_jax.doctor.inputs.signatures import KEY_NAMES, SWITCHES, adapt, train_switch


def check_loss(loss_fn: Any) -> None:
    """Checks that a loss is a function.

    Raises:
        SetupError: if it is not.
    """
    if not callable(loss_fn):
        raise SetupError(
            "loss-fails", f"loss_fn must be a function, got {type(loss_fn).__name__}. Give loss_fn(model, batch)."
        )


def call(function: Callable[..., Any], before: tuple[Any, ...], batch: Any, key: Any, train: bool) -> Any:
    """Calls a function of a model and a batch, with a key if it takes one.

    Args:
        function: takes what precedes the batch, and then the batch, or its parts one by one.
        before: the model, and what else precedes the batch.
        batch: a tuple, a dict, or an array.
        key: a random key.
        train: value of a switch between training and evaluation, if there is one.

    Example:
        >>> call(lambda model, x, y: model + x + y, (1,), (2, 3), None, True)
        6
    """
    parts = count_parts(function, len(before))
    whole: tuple[Any, ...] = (batch,)
    if parts > 1 and isinstance(batch, Mapping | tuple | list) and len(batch) >= parts:
        whole = tuple(batch.values() if isinstance(batch, Mapping) else batch)[:parts]
    return adapt(function, len(before) + len(whole) + 1, **train_switch(function, train))(*before, *whole, key)


def count_parts(function: Callable[..., Any], before: int) -> int:
    """Returns how many arguments of a function are parts of a batch: those that it needs, key and model aside."""
    try:
        parameters = list(inspect.signature(function).parameters.values())[before:]
    except (TypeError, ValueError):
        return 1
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(
        each.kind in positional and each.default is each.empty and each.name not in (*KEY_NAMES, *SWITCHES)
        for each in parameters
    )
