"""A module of PyTorch while it is traced: other tensors in the place of its own, and all restored afterwards."""

import contextlib
import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import torch

NORMALIZED_BY_BATCH = (torch.nn.modules.batchnorm._BatchNorm,)
"""Layers that stay in training mode in an evaluation, since running statistics are not updated in an examination."""


def set_mode(module: Any, train: bool) -> None:
    """Sets a module to training, parts that the user set to evaluation excepted, or to evaluation."""
    if not train or not module.training:
        module.train(train)
    for each in module.modules():
        if not train and isinstance(each, NORMALIZED_BY_BATCH):
            each.train()


def place(module: Any, tensors: dict[str, Any]) -> None:
    """Puts tensors in the place of a module's parameters and buffers, also where these are shared."""
    owners = {}
    for name, value in itertools.chain(module.named_parameters(), module.named_buffers()):
        owners[id(value)] = tensors.get(name)
    for part in module.modules():
        for kind in (part._parameters, part._buffers):
            for name, value in kind.items():
                if value is not None and owners.get(id(value)) is not None:
                    kind[name] = owners[id(value)]
        if isinstance(part, torch.nn.RNNBase):
            part.__dict__["_flat_weights"] = [getattr(part, name, None) for name in part._flat_weights_names]


def place_copies(module: Any) -> None:
    """Puts copies in the place of a module's parameters and buffers, which a forward pass may write into."""
    values = itertools.chain(module.named_parameters(), module.named_buffers())
    place(module, {name: value.detach().clone().requires_grad_(value.requires_grad) for name, value in values})


@contextlib.contextmanager
def restored(module: Any) -> Iterator[None]:
    """Restores all attributes of a module and its parts: parameters, buffers, states that a forward pass keeps.

    Within it, operations are in the scope of the part that they belong to.
    """
    saved = [(part, dict(part.__dict__), dict(part._parameters), dict(part._buffers)) for part in module.modules()]
    scopes: list[Any] = []
    handles = []
    for name, part in module.named_modules():
        if name:
            handles.append(part.register_forward_pre_hook(entered(scopes, name.rsplit(".", 1)[-1])))
            handles.append(part.register_forward_hook(lambda *_: left(scopes), always_call=True))
    try:
        yield
    finally:
        while scopes:
            left(scopes)
        for handle in handles:
            handle.remove()
        for part, attributes, parameters, buffers in saved:
            part.__dict__.clear()
            part.__dict__.update(attributes)
            part._parameters.clear()
            part._parameters.update(parameters)
            part._buffers.clear()
            part._buffers.update(buffers)


def entered(scopes: list[Any], name: str) -> Callable[..., None]:
    """Returns a hook that enters the scope of a part of the module."""

    def enter(*_: Any) -> None:
        scopes.append(jax.named_scope(name))
        scopes[-1].__enter__()

    return enter


def left(scopes: list[Any]) -> None:
    """Leaves the scope that was entered last."""
    if scopes:
        scopes.pop().__exit__(None, None, None)


@contextlib.contextmanager
def fixed_chance() -> Iterator[list[bool]]:
    """Makes Python's random numbers 0, so that each trace is the same; restores the generators.

    Yields:
        A list that is empty as long as none was drawn.
    """
    drawn: list[bool] = []

    def zero(*shape: Any) -> Any:
        drawn.append(True)
        return np.zeros(shape) if shape else 0.0

    saved = random.random, np.random.random, np.random.rand
    state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    validate = torch.distributions.Distribution._validate_args
    random.random = np.random.random = np.random.rand = zero  # type: ignore[assignment]
    torch.distributions.Distribution.set_default_validate_args(False)
    try:
        yield drawn
    finally:
        random.random, np.random.random, np.random.rand = saved  # type: ignore[assignment]
        random.setstate(state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        torch.distributions.Distribution.set_default_validate_args(validate)
