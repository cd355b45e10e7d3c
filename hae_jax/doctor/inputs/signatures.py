"""Calls users' functions by their signatures: with or without a key, with a switch between training and evaluation."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

SWITCHES = {"train": True, "training": True, "is_training": True, "deterministic": False, "inference": False}
"""Keywords that switch between training and evaluation, with their values for training."""
KEY_NAMES = ("key", "rng", "rngs", "rng_key")
"""Keyword-only parameters that take the random key."""


def adapt(function: Callable[..., Any], count: int, **switch: Any) -> Callable[..., Any]:
    """Returns a function of `count` positional arguments that passes on those which the given one takes.

    Args:
        function: the user's function, which may take fewer arguments, or the last one, the key, by keyword.
        count: how many arguments it is called with.
        switch: keyword arguments to call it with.

    Example:
        >>> adapt(lambda params, batch: params + batch, 3)(1, 2, "key")
        3
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return functools.partial(function, **switch)
    if any(each.kind is each.VAR_POSITIONAL for each in parameters):
        return functools.partial(function, **switch)
    positional = [
        each.name
        for each in parameters
        if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD) and each.name not in SWITCHES
    ]
    key_name = next(
        (each.name for each in parameters if each.kind is each.KEYWORD_ONLY and each.name in KEY_NAMES), None
    )

    def call(*args: Any) -> Any:
        keywords = dict(switch)
        if key_name is not None and len(positional) < count:
            keywords[key_name] = args[-1]
        return function(*args[: len(positional)], **keywords)

    return call


def train_switch(function: Callable[..., Any], train: bool = True) -> dict[str, bool]:
    """Returns the keyword argument that switches a function to training or evaluation; empty if it has none.

    Example:
        >>> train_switch(lambda params, batch, deterministic: 0)
        {'deterministic': False}
    """
    try:
        names = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}
    return next(({name: SWITCHES[name] == train} for name in names if name in SWITCHES), {})


def loss_value(result: Any) -> Any:
    """Returns the loss from what a loss function returned: a number, or a tuple or mapping with it."""
    if isinstance(result, Mapping) and "loss" in result:
        result = result["loss"]
    while isinstance(result, (tuple, list)):
        result = result[0]
    return result
