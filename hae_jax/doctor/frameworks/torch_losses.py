"""Losses and softmax of PyTorch, in a form in which the tracing recognizes logits and targets."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import torch
import torch.nn.functional as F

from hae_jax.doctor.frameworks.torch_rows import reduced


def on_last_axis(function: Callable[[Any], Any]) -> Callable[..., Any]:
    """Returns the lowering of a function of one axis, which is moved to the end and back."""

    def lowering(
        env: Any, tensor: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None, **kwargs: Any
    ) -> Any:
        array = env.t2j_iso(tensor)
        if isinstance(_stacklevel, torch.dtype) or dtype is not None:
            array = array.astype(jnp.float32)
        axis = dim if dim is not None else (0 if array.ndim in (0, 1, 3) else 1)
        if axis in (-1, array.ndim - 1) and hasattr(tensor, "unflattened"):
            whole = env.wrap(function(env.t2j_iso(tensor.unflattened)))
            result = env.wrap(whole.jax().reshape(array.shape))
            result.unflattened = whole
            return result
        return env.wrap(jnp.moveaxis(function(jnp.moveaxis(array, axis, -1)), -1, axis))

    return lowering


def log_softmax(array: Any) -> Any:
    return jax.nn.log_softmax(array, -1)


def softmax(array: Any) -> Any:
    return jax.nn.softmax(array, -1)


def cross_entropy(
    env: Any,
    logits: Any,
    target: Any,
    weight: Any = None,
    size_average: Any = None,
    ignore_index: int = -100,
    reduce: Any = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """Lowers the cross-entropy of logits; classes are the second axis, as in PyTorch."""
    log_probabilities = log_softmax(classes_last(env, logits))
    return picked(env, log_probabilities, logits, target, weight, ignore_index, reduction, label_smoothing)


def nll_loss(
    env: Any,
    log_probabilities: Any,
    target: Any,
    weight: Any = None,
    size_average: Any = None,
    ignore_index: int = -100,
    reduce: Any = None,
    reduction: str = "mean",
) -> Any:
    """Lowers the negative log-likelihood of log-probabilities; classes are the second axis."""
    array = classes_last(env, log_probabilities)
    return picked(env, array, log_probabilities, target, weight, ignore_index, reduction, 0.0)


def classes_last(env: Any, tensor: Any) -> Any:
    """Returns an array whose last axis is that of the classes.

    Of rows that a model flattened from batch and time, these axes, since rows do not tell which is which.
    """
    if hasattr(tensor, "unflattened") and not hasattr(tensor, "real_rows"):
        return env.t2j_iso(tensor.unflattened)
    array = env.t2j_iso(tensor)
    return jnp.moveaxis(array, 1 if array.ndim > 1 else 0, -1)


def picked(
    env: Any,
    log_probabilities: Any,
    logits: Any,
    target: Any,
    weight: Any,
    ignore_index: int,
    reduction: str,
    smoothing: float,
) -> Any:
    """Returns the weighted negative log-likelihood of targets: ids `[...]`, or probabilities with classes second."""
    rows = next((each.real_rows for each in (logits, target) if hasattr(each, "real_rows")), None)
    goal, classes = env.t2j_iso(target), log_probabilities.shape[-1]
    weights = jnp.ones(classes) if weight is None else env.t2j_iso(weight)
    if jnp.issubdtype(goal.dtype, jnp.floating):
        shares = jnp.moveaxis(goal, 1 if goal.ndim > 1 else 0, -1).reshape(log_probabilities.shape)
        shares = shares if not smoothing else shares * (1 - smoothing) + smoothing / classes
        losses = -(log_probabilities * shares * weights).sum(-1)
        result = env.wrap(losses)
        if rows is not None:
            result.real_rows = rows
        return reduced(env, result, reduction)
    shape, goal = goal.shape, goal.reshape(log_probabilities.shape[:-1])
    keep = goal != ignore_index
    if rows is not None:
        keep = keep & rows.reshape(-1, *[1] * (goal.ndim - 1))
    ids = jnp.where(keep, goal, 0)
    losses = -jnp.take_along_axis(log_probabilities, ids[..., None], -1)[..., 0]
    counts = keep.astype(losses.dtype)
    if weight is not None:
        counts = counts * weights[ids]
    losses = losses * counts
    if smoothing:
        uniform = -(log_probabilities * weights).sum(-1) * keep
        losses = (1 - smoothing) * losses + smoothing / classes * uniform
    if reduction == "none":
        return env.wrap(losses.reshape(shape))
    return env.wrap(losses.sum() if reduction == "sum" else losses.sum() / counts.sum())


def marked_reduction(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the lowering of a loss whose mean is that of the real rows."""

    def lowering(env: Any, prediction: Any, target: Any, *args: Any, reduction: str = "mean", **kwargs: Any) -> Any:
        rows = next((each.real_rows for each in (prediction, target) if hasattr(each, "real_rows")), None)
        if rows is None or args:
            return env.compute(function, prediction, target, *args, reduction=reduction, **kwargs)
        losses = env.compute(function, prediction, target, reduction="none", **kwargs)
        losses.real_rows = rows
        return reduced(env, losses, reduction)

    return lowering


MARKED: tuple[Any, ...] = (
    F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss, F.binary_cross_entropy, F.binary_cross_entropy_with_logits
)  # fmt: skip
"""Losses whose mean over marked rows is that of the real ones."""
LOWERINGS = {
    **dict.fromkeys((F.log_softmax, torch.log_softmax, torch.Tensor.log_softmax), on_last_axis(log_softmax)),
    **dict.fromkeys((F.softmax, torch.softmax, torch.Tensor.softmax), on_last_axis(softmax)),
    F.cross_entropy: cross_entropy,
    F.nll_loss: nll_loss,
    **{each: marked_reduction(each) for each in MARKED},
}
