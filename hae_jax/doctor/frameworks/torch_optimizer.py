"""Optimizers of PyTorch as optax optimizers that take the same steps."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
import torch

from hae_jax.doctor.inputs.setup import SetupError

FROZEN = "frozen"
"""Label of parameters that no group of the optimizer holds."""


def sgd(group: Mapping[str, Any]) -> list[Any]:
    if not group["momentum"]:
        return []
    # PyTorch's first momentum is the whole gradient, whatever the dampening.
    damped = [] if not group["dampening"] else [damp_after_first(1 - group["dampening"])]
    return [*damped, optax.trace(group["momentum"], group["nesterov"])]


def adam(group: Mapping[str, Any]) -> list[Any]:
    scale = scale_by_largest if group["amsgrad"] else optax.scale_by_adam
    first, second = map(float, group["betas"])
    return [scale(first, second, group["eps"])]


def rmsprop(group: Mapping[str, Any]) -> list[Any]:
    scale = optax.scale_by_stddev if group["centered"] else optax.scale_by_rms
    scaled = scale(group["alpha"], group["eps"], eps_in_sqrt=False)
    return [scaled, *([optax.trace(group["momentum"])] if group["momentum"] else [])]


def adagrad(group: Mapping[str, Any]) -> list[Any]:
    return [scale_by_sum_of_squares(group["initial_accumulator_value"], group["eps"])]


def nadam(group: Mapping[str, Any]) -> list[Any]:
    return [optax.scale_by_adam(*map(float, group["betas"]), group["eps"], nesterov=True)]


def radam(group: Mapping[str, Any]) -> list[Any]:
    return [optax.scale_by_radam(*map(float, group["betas"]), group["eps"])]


def adamax(group: Mapping[str, Any]) -> list[Any]:
    return [optax.scale_by_adamax(*map(float, group["betas"]), group["eps"])]


RULES: dict[type, Callable[[Mapping[str, Any]], list[Any]]] = {
    torch.optim.SGD: sgd,
    torch.optim.AdamW: adam,
    torch.optim.Adam: adam,
    torch.optim.RMSprop: rmsprop,
    torch.optim.Adagrad: adagrad,
    torch.optim.NAdam: nadam,
    torch.optim.RAdam: radam,
    torch.optim.Adamax: adamax,
}
"""What each optimizer does to a gradient before it is multiplied by the learning rate."""
APPROXIMATE = (torch.optim.NAdam, torch.optim.RAdam, torch.optim.Adamax)
"""Optimizers whose first steps differ a little from those of optax."""


def to_optax(
    optimizer: Any, names: Mapping[int, str], trained: Mapping[str, Any], clip_norm: float | None
) -> tuple[Any, list[str]]:
    """Returns the optax twin of an optimizer of PyTorch, and remarks.

    Args:
        optimizer: a `torch.optim.Optimizer`, an optax optimizer, or None.
        names: names of the module's parameters by their identity.
        trained: the parameters that the twin is for, by name.
        clip_norm: largest global norm of the gradient, as of `clip_grad_norm_`; None without.

    Raises:
        SetupError: if there is no twin.
    """
    clip = [] if clip_norm is None else [clip_global_norm(clip_norm)]
    if optimizer is None or hasattr(optimizer, "update"):
        notes = [] if optimizer is not None or not clip else ["no optimizer was given; Adam of rate 1e-3 is used"]
        if optimizer is None and clip:
            optimizer = optax.adam(1e-3)
        return (optax.chain(*clip, optimizer) if clip else optimizer), notes
    rule = next((RULES[kind] for kind in RULES if type(optimizer) is kind), None)
    if rule is None and isinstance(optimizer, torch.optim.Optimizer):
        rule = next((RULES[kind] for kind in RULES if isinstance(optimizer, kind)), None)
    if rule is None:
        known = ", ".join(kind.__name__ for kind in RULES)
        raise SetupError(
            "optimizer-fails",
            f"optimizer must be one of {known}, got {type(optimizer).__name__}. Give an optax optimizer in its place.",
        )
    twins: dict[str, Any] = {}
    labels = dict.fromkeys(trained, FROZEN)
    for number, group in enumerate(optimizer.param_groups):
        twins[str(number)] = of_group(rule, group, decoupled=decoupled(optimizer, group))
        held = [names.get(id(each)) for each in group["params"] if each.requires_grad]
        labels |= {name: str(number) for name in held if name in labels}
    if set(labels.values()) == {FROZEN}:
        raise SetupError(
            "optimizer-fails",
            "optimizer must hold parameters of the module, got none of them. Make it from module.parameters().",
        )
    twins[FROZEN] = optax.set_to_zero()
    notes = [f"{type(optimizer).__name__} is approximated"] if isinstance(optimizer, APPROXIMATE) else []
    if optimizer.state:
        notes.append("moments of the optimizer start at 0 in the examination")
    chain = twins["0"] if set(labels.values()) == {"0"} else optax.multi_transform(twins, labels)
    return optax.chain(*clip, chain) if clip else chain, notes


def decoupled(optimizer: Any, group: Mapping[str, Any]) -> bool:
    """Returns whether the weight decay acts on weights and not on gradients."""
    return isinstance(optimizer, torch.optim.AdamW) or bool(group.get("decoupled_weight_decay"))


def of_group(rule: Callable[[Mapping[str, Any]], list[Any]], group: Mapping[str, Any], decoupled: bool) -> Any:
    """Returns the twin of one group of parameters."""
    decay, rate = group.get("weight_decay", 0), float(group["lr"])
    parts = [optax.scale(-1.0)] if group.get("maximize") else []
    decays = [optax.add_decayed_weights(float(decay))] if decay else []
    parts += [] if decoupled else decays
    parts += rule(group)
    parts += decays if decoupled else []
    if lr_decay := group.get("lr_decay"):
        parts.append(optax.scale_by_schedule(lambda count: 1 / (1 + count * lr_decay)))
    return optax.chain(*parts, optax.scale(-rate))


def clip_global_norm(norm: float) -> Any:
    """Returns the clip of `torch.nn.utils.clip_grad_norm_`, whose quotient has an epsilon of 1e-6."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        scale = jnp.minimum(1.0, norm / (optax.tree.norm(updates) + 1e-6))
        return optax.tree.scale(scale, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def damp_after_first(factor: float) -> Any:
    """Returns a transformation that multiplies all gradients but the first by a factor."""

    def update(updates: Any, count: Any, params: Any = None) -> tuple[Any, Any]:
        return optax.tree.scale(jnp.where(count > 0, factor, 1.0), updates), count + 1

    return optax.GradientTransformation(lambda params: jnp.zeros((), jnp.int32), update)


def scale_by_sum_of_squares(initial: float, epsilon: float) -> Any:
    """Returns Adagrad's division by the root of the sum of squares, with its epsilon outside of the root."""

    def update(updates: Any, sums: Any, params: Any = None) -> tuple[Any, Any]:
        sums = jax.tree.map(lambda total, g: total + g * g, sums, updates)
        return jax.tree.map(lambda g, total: g / (jnp.sqrt(total) + epsilon), updates, sums), sums

    return optax.GradientTransformation(
        lambda params: jax.tree.map(lambda x: jnp.full_like(x, initial), params), update
    )


def scale_by_largest(first: float, second: float, epsilon: float) -> Any:
    """Returns the AMSGrad of PyTorch, which takes the largest second moment before its bias is corrected."""

    def init(params: Any) -> Any:
        return jnp.zeros((), jnp.int32), *(optax.tree.zeros_like(params) for _ in range(3))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        count, mean, square, largest = state
        count = count + 1
        mean = jax.tree.map(lambda m, g: first * m + (1 - first) * g, mean, updates)
        square = jax.tree.map(lambda v, g: second * v + (1 - second) * g * g, square, updates)
        largest = jax.tree.map(jnp.maximum, largest, square)
        scaled = jax.tree.map(
            lambda m, v: m / (1 - first**count) / (jnp.sqrt(v / (1 - second**count)) + epsilon), mean, largest
        )
        return scaled, (count, mean, square, largest)

    return optax.GradientTransformation(init, update)
