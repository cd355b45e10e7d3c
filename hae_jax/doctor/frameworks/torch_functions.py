"""Functions of PyTorch as the tracing expects them: linear layers, lookups, batch normalization, dropout, and numbers.

The form matters: features are normalized along the last axis, and rows remember the axes that they were flattened from.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import torch
import torch.nn.functional as F

from hae_jax.doctor.frameworks.torch_environment import Tensor, decide, no_backward, value_of


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


def linear(env: Any, tensor: Any, weight: Any, bias: Any = None) -> Any:
    """Lowers a linear layer."""
    array, weight, bias = env.t2j_iso((tensor, weight, bias))
    return env.wrap(array @ weight.T if bias is None else array @ weight.T + bias)


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


def batch_norm(
    env: Any,
    tensor: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Lowers batch normalization of `[batch, feature, ...]`; running statistics stay as they are."""
    array, mean, variance, weight, bias = env.t2j_iso((tensor, running_mean, running_var, weight, bias))
    array = jnp.moveaxis(array, 1, -1)
    if training or mean is None:
        axes = tuple(range(array.ndim - 1))
        mean, variance = array.mean(axes), array.var(axes)
    array = (array - mean) * jax.lax.rsqrt(variance + eps)
    array = array if weight is None else array * weight
    return env.wrap(jnp.moveaxis(array if bias is None else array + bias, -1, 1))


def reshaped(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the lowering of `view` or `reshape`, whose rows remember the axes that they were flattened from."""

    def lowering(env: Any, tensor: Any, *args: Any, **kwargs: Any) -> Any:
        return remembered(env.compute(function, tensor, *args, **kwargs), tensor)

    return lowering


def remembered(rows: Any, tensor: Any) -> Any:
    """Returns rows, with the tensor that they were flattened from."""
    if rows.ndim == 2 and tensor.ndim > 2 and rows.shape[-1] == tensor.shape[-1]:
        rows.unflattened = tensor
    return rows


_flatten = Tensor.flatten
# A method of torchax's own class, which no lowering replaces.
Tensor.flatten = lambda self, start_dim=0, end_dim=-1: remembered(_flatten(self, start_dim, end_dim), self)


LOWERINGS: dict[Any, Any] = {
    F.linear: linear,
    F.embedding: embedding,
    F.batch_norm: batch_norm,
    **{each: reshaped(each) for each in (torch.Tensor.view, torch.Tensor.reshape, torch.reshape)},
    **dict.fromkeys((F.dropout, torch.dropout, F.alpha_dropout), dropout),
    **dict.fromkeys((F.dropout1d, F.dropout2d, F.dropout3d), channel_dropout),
    torch.Tensor.item: lambda env, tensor: value_of(tensor),
    torch.Tensor.__float__: lambda env, tensor: value_of(tensor),
    torch.Tensor.__int__: lambda env, tensor: decide(tensor),
    torch.Tensor.__index__: lambda env, tensor: decide(tensor),
    torch.Tensor.__bool__: lambda env, tensor: decide(tensor),
    torch.Tensor.backward: lambda env, *args, **kwargs: no_backward(),
}
