"""How a user's loss function is called: with the module and a batch, or with output and target."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch

from hae_jax.doctor.frameworks.torch_module import fixed_chance, place_copies, restored
from hae_jax.doctor.inputs.setup import SetupError, format_error
from hae_jax.doctor.inputs.signatures import loss_value

LossCall = Callable[[Any, Any], Any]
OUTPUT_NAMES = ("output", "outputs", "pred", "preds", "prediction", "predictions", "logits", "y_hat", "y_pred", "out")


def understand(module: Any, loss_fn: Any, batch: Any) -> tuple[LossCall, list[str]]:
    """Finds out how a loss function is called, by its signature and by a trial in PyTorch.

    Args:
        module: the module.
        loss_fn: the user's function.
        batch: the first batch.

    Returns:
        A function of module and batch, and what was understood, for the report.

    Raises:
        SetupError: if no way to call it returns a number.
    """
    errors = []
    for call, description in ways(loss_fn):
        try:
            number_of(call, module, batch)
        except Exception as error:
            errors.append(f"{format_error(error, 160)}, called as {description}")
            continue
        return call, [f"the loss was understood as {description}"]
    raise SetupError("loss-fails", f"loss_fn must return a number, got {errors[0]}. Give loss_fn(module, batch).")


def number_of(call: LossCall, module: Any, batch: Any) -> float:
    """Returns the loss of a batch in PyTorch.

    Raises:
        ValueError: if it is not a single number.
    """
    with restored(module), fixed_chance(), torch.random.fork_rng(devices=[]), torch.enable_grad():
        place_copies(module)
        value = loss_value(call(module, batch))
    if not isinstance(value, torch.Tensor):
        raise ValueError(f"a {type(value).__name__} is not a tensor; leave backward() and item() out of the loss")
    if value.numel() != 1:
        raise ValueError(f"loss must be a single number, got shape {tuple(value.shape)}")
    return float(value.detach())


def ways(loss_fn: Any) -> list[tuple[LossCall, str]]:
    """Returns the ways to call a loss function, the most probable first, with their descriptions."""
    name = getattr(loss_fn, "__name__", type(loss_fn).__name__)
    custom = [(lambda module, batch: loss_fn(module, batch), f"{name}(module, batch)")]
    criterion = criteria(loss_fn, name)
    if isinstance(loss_fn, torch.nn.Module) or str(getattr(loss_fn, "__module__", "")).startswith("torch."):
        return criterion
    if takes_batch_only(loss_fn):
        return [(lambda module, batch: loss_fn(batch), f"{name}(batch)")]
    names = required_names(loss_fn)
    return criterion + custom if names and names[0].lower() in OUTPUT_NAMES else custom + criterion


def required_names(function: Any) -> list[str]:
    """Returns the names of the arguments that a function needs; none if it has no signature."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [each.name for each in parameters if each.default is each.empty and each.kind in kinds]


def takes_batch_only(loss_fn: Any) -> bool:
    """Returns whether a loss function takes a batch, and holds the module itself."""
    return not isinstance(loss_fn, torch.nn.Module) and len(required_names(loss_fn)) == 1


def criteria(loss_fn: Any, name: str) -> list[tuple[LossCall, str]]:
    """Returns the ways to call a criterion of output and target; the target of an autoencoder is its input."""

    def plain(module: Any, batch: Any) -> Any:
        inputs, target = input_and_target(batch)
        return loss_fn(first_tensor(module(*inputs)), target)

    def flat(module: Any, batch: Any) -> Any:
        inputs, target = input_and_target(batch)
        output = first_tensor(module(*inputs))
        return loss_fn(output.reshape(-1, output.shape[-1]), target.reshape(-1))

    return [
        (plain, f"{name}(module(input), target)"),
        (flat, f"{name}(module(input).flatten(0, -2), target.flatten())"),
    ]


def input_and_target(batch: Any) -> tuple[list[Any], Any]:
    """Returns the arguments of the module, and the target, of a batch: (input, ..., target), a dict, or a tensor."""
    if isinstance(batch, Mapping):
        batch = list(batch.values())
    if isinstance(batch, torch.Tensor) or not isinstance(batch, tuple | list):
        return [batch], batch
    if len(batch) == 1:
        return [batch[0]], batch[0]
    return list(batch[:-1]), batch[-1]


def first_tensor(output: Any) -> Any:
    """Returns the output of a module that may return its states or further outputs as well."""
    while isinstance(output, tuple | list) and not hasattr(output, "batch_sizes"):
        output = output[0]
    return output
