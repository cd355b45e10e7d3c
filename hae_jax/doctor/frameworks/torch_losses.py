"""Losses, softmax and dropout of PyTorch, in a form in which the tracing recognizes logits, targets and masks."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import torch
import torch.nn.functional as F

from hae_jax.doctor.frameworks.torch_environment import decide, no_backward, value_of
from hae_jax.doctor.frameworks.torch_rows import reduced


def dropped(env: Any, array: Any, rate: float, shape: tuple[int, ...] | None = None) -> Any:
    """Returns an array of which a share is set to 0, and the rest is divided by the share that is kept."""
    if rate >= 1:
        return jnp.zeros_like(array)
    kept = jax.random.bernoulli(env.next_key(), 1 - rate, shape or array.shape)
    return jnp.where(kept, array / (1 - rate), 0)


def dropout(env: Any, tensor: Any, p: float = 0.5, training: bool = True, inplace: bool = False, **kwargs: Any) -> Any:
    """Lowers dropout."""
    if not kwargs.get("train", training) or not p:
        return tensor
    result = dropped(env, env.t2j_iso(tensor), p)
    return write(env, tensor, result, inplace)


def channel_dropout(env: Any, tensor: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Lowers dropout of whole channels `[batch, channel, ...]`."""
    if not training or not p:
        return tensor
    array = env.t2j_iso(tensor)
    result = dropped(env, array, p, (*array.shape[:2], *[1] * (array.ndim - 2)))
    return write(env, tensor, result, inplace)


def write(env: Any, tensor: Any, result: Any, inplace: bool) -> Any:
    """Returns a result as a tensor, which is the operand if it is to be overwritten."""
    if inplace and hasattr(tensor, "_elem"):
        tensor._elem = result
        return tensor
    return env.wrap(result)


def embedding(
    env: Any, ids: Any, weight: Any, padding_idx: int | None = None, max_norm: float | None = None, *_: Any, **__: Any
) -> Any:
    """Lowers the lookup of ids; the vector of padding gets no gradient."""
    table, at = env.t2j_iso((weight, ids))
    vectors = jnp.take(table, at, axis=0)
    if max_norm is not None:
        norms = jnp.linalg.norm(jax.lax.stop_gradient(vectors), axis=-1, keepdims=True)
        vectors = vectors * jnp.minimum(1.0, max_norm / (norms + 1e-7))
    if padding_idx is not None:
        padding_idx %= len(table)
        vectors = jnp.where((at == padding_idx)[..., None], jax.lax.stop_gradient(vectors), vectors)
    return env.wrap(vectors)


def on_last_axis(function: Callable[[Any], Any]) -> Callable[..., Any]:
    """Returns the lowering of a function of one axis, which is moved to the end and back."""

    def lowering(
        env: Any, tensor: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None, **kwargs: Any
    ) -> Any:
        array = env.t2j_iso(tensor)
        if isinstance(_stacklevel, torch.dtype) or dtype is not None:
            array = array.astype(jnp.float32)
        axis = dim if dim is not None else (0 if array.ndim in (0, 1, 3) else 1)
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
    array = env.t2j_iso(logits)
    log_probabilities = log_softmax(jnp.moveaxis(array, 1 if array.ndim > 1 else 0, -1))
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
    array = env.t2j_iso(log_probabilities)
    array = jnp.moveaxis(array, 1 if array.ndim > 1 else 0, -1)
    return picked(env, array, log_probabilities, target, weight, ignore_index, reduction, 0.0)


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
        shares = jnp.moveaxis(goal, 1 if goal.ndim > 1 else 0, -1)
        shares = shares if not smoothing else shares * (1 - smoothing) + smoothing / classes
        losses = -(log_probabilities * shares * weights).sum(-1)
        result = env.wrap(losses)
        if rows is not None:
            result.real_rows = rows
        return reduced(env, result, reduction)
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
        return env.wrap(losses)
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


VF: Any = torch._VF
MARKED: tuple[Any, ...] = (
    F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss, F.binary_cross_entropy, F.binary_cross_entropy_with_logits
)  # fmt: skip
"""Losses whose mean over marked rows is that of the real ones."""
LOWERINGS = {
    F.dropout: dropout,
    VF.dropout: dropout,
    F.alpha_dropout: dropout,
    **dict.fromkeys((F.dropout1d, F.dropout2d, F.dropout3d), channel_dropout),
    **dict.fromkeys((F.log_softmax, torch.log_softmax, torch.Tensor.log_softmax), on_last_axis(log_softmax)),
    **dict.fromkeys((F.softmax, torch.softmax, torch.Tensor.softmax), on_last_axis(softmax)),
    F.embedding: embedding,
    F.cross_entropy: cross_entropy,
    F.nll_loss: nll_loss,
    **{each: marked_reduction(each) for each in MARKED},
    torch.Tensor.item: lambda env, tensor: value_of(tensor),
    torch.Tensor.__float__: lambda env, tensor: value_of(tensor),
    torch.Tensor.__int__: lambda env, tensor: decide(tensor),
    torch.Tensor.__index__: lambda env, tensor: decide(tensor),
    torch.Tensor.__bool__: lambda env, tensor: decide(tensor),
    torch.Tensor.backward: lambda env, *args, **kwargs: no_backward(),
}
