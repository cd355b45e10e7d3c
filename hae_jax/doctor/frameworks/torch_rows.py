"""Rows of which only some are real: packed sequences, and what a boolean mask selects.

How many rows a mask selects depends on its values, which a trace does not have. So all rows are kept, marked by the
mask, and a mean over marked rows is that of the real ones.
"""

import sys
from typing import Any

import jax.numpy as jnp
import numpy as np
import torch
from torch.nn.utils.rnn import pack_padded_sequence

from hae_jax.doctor.frameworks.torch_environment import is_traced
from hae_jax.doctor.frameworks.torch_errors import UntracedError


def mark(env: Any, array: Any, real: Any) -> Any:
    """Returns a tensor of rows `[row, ...]`, of which those are real where `real`, `[row]`, is True."""
    tensor = env.wrap(array)
    tensor.real_rows = real
    return tensor


def sort(env: Any, tensor: Any, *args: Any, **kwargs: Any) -> Any:
    """Lowers `sort`; that of `pack_padded_sequence` keeps the order, which a scan with a mask does not depend on.

    Examples so stay at their places from the input to the loss.
    """
    frame = sys._getframe()
    while frame.f_back is not None and frame.f_code is not pack_padded_sequence.__code__:
        frame = frame.f_back
    if frame.f_back is None:
        return env.compute(torch.sort, tensor, *args, **kwargs)
    order = env.wrap(jnp.arange(len(tensor)))
    order.keeps_order = True
    return tensor, order


def index_select(env: Any, tensor: Any, dim: int, index: Any) -> Any:
    """Lowers `index_select`."""
    return tensor if hasattr(index, "keeps_order") else env.compute(torch.Tensor.index_select, tensor, dim, index)


def scatter(env: Any, tensor: Any, dim: int, index: Any, *args: Any, **kwargs: Any) -> Any:
    """Lowers `scatter_`, by which a permutation is inverted."""
    if hasattr(index, "keeps_order"):
        tensor._elem, tensor.keeps_order = index.jax(), True
        return tensor
    return env.compute(torch.Tensor.scatter_, tensor, dim, index, *args, **kwargs)


def pack(env: Any, padded: Any, lengths: Any, batch_first: bool) -> Any:
    """Lowers `_pack_padded_sequence`: rows `[time * batch, ...]`, and how many there are at each step."""
    array, lengths = env.t2j_iso((padded, lengths))
    if batch_first:
        array = jnp.swapaxes(array, 0, 1)
    steps, batch = array.shape[:2]
    sizes = env.constant(np.full(steps, batch, np.int64))
    sizes.lengths = lengths
    return mark(env, array.reshape(-1, *array.shape[2:]), step_mask(steps, lengths).reshape(-1)), sizes


def step_mask(steps: int, lengths: Any) -> Any:
    """Returns which steps are real, bool `[time, batch]`."""
    return jnp.arange(steps)[:, None] < jnp.asarray(lengths)[None]


def unpack_rows(env: Any, rows: Any, sizes: Any) -> tuple[Any, Any]:
    """Returns packed rows as `[time, batch, ...]`, and which steps are real, `[time, batch]`."""
    array, steps = env.t2j_iso(rows), len(sizes)
    array = array.reshape(steps, -1, *array.shape[1:])
    if not hasattr(sizes, "lengths"):
        raise UntracedError("a PackedSequence was not made by pack_padded_sequence in the forward pass")
    return array, step_mask(steps, sizes.lengths)


def pad(env: Any, rows: Any, sizes: Any, batch_first: bool, padding_value: float, total_length: int) -> Any:
    """Lowers `_pad_packed_sequence`: padded sequences, and their lengths."""
    array, real = unpack_rows(env, rows, sizes)
    array = jnp.where(real.reshape(*real.shape, *[1] * (array.ndim - 2)), array, padding_value)
    missing = max(0, total_length - len(array))
    array = jnp.pad(array, [(0, missing), *[(0, 0)] * (array.ndim - 1)], constant_values=padding_value)
    if batch_first:
        array = jnp.swapaxes(array, 0, 1)
    return env.wrap(array), env.wrap(jnp.asarray(sizes.lengths))


def select(env: Any, tensor: Any, index: Any) -> Any:
    """Lowers `tensor[index]`; of a boolean mask, marked rows."""
    if hasattr(index, "keeps_order"):
        return tensor
    if is_traced(index) and index.dtype == torch.bool and index.ndim:
        array, mask = env.t2j_iso((tensor, index))
        return mark(env, array.reshape(-1, *array.shape[mask.ndim :]), mask.reshape(-1))
    if not is_traced(tensor):
        tensor = env.wrap(env.t2j_iso(tensor))
    return env.compute(torch.Tensor.__getitem__, tensor, index)


def masked_select(env: Any, tensor: Any, mask: Any) -> Any:
    """Lowers `masked_select`: marked numbers."""
    array, mask = jnp.broadcast_arrays(*env.t2j_iso((tensor, mask)))
    return mark(env, array.reshape(-1), mask.reshape(-1))


def reduced(env: Any, tensor: Any, reduction: str) -> Any:
    """Returns the mean or the sum over the real rows of a tensor; the tensor itself for any other reduction."""
    if reduction not in ("mean", "sum"):
        return tensor
    array, real = env.t2j_iso(tensor), getattr(tensor, "real_rows", None)
    if real is None:
        return env.wrap(array.mean() if reduction == "mean" else array.sum())
    weights = jnp.broadcast_to(real.reshape(-1, *[1] * (array.ndim - 1)), array.shape)
    total = jnp.where(weights, array, 0).sum()
    return env.wrap(total / jnp.maximum(weights.sum(), 1) if reduction == "mean" else total)


def lowered_reduction(function: Any, reduction: str) -> Any:
    """Returns the lowering of `mean` or `sum`, which differs for marked rows."""

    def lowering(env: Any, tensor: Any, *args: Any, **kwargs: Any) -> Any:
        if getattr(tensor, "real_rows", None) is not None and not args and not set(kwargs) - {"dtype"}:
            return reduced(env, tensor, reduction)
        return env.compute(function, tensor, *args, **kwargs)

    return lowering


LOWERINGS = {
    torch._VF._pack_padded_sequence: pack,  # type: ignore[attr-defined]
    torch._VF._pad_packed_sequence: pad,  # type: ignore[attr-defined]
    torch.sort: sort,
    torch.Tensor.index_select: index_select,
    torch.Tensor.scatter_: scatter,
    torch.Tensor.__getitem__: select,
    torch.Tensor.masked_select: masked_select,
    torch.masked_select: masked_select,
    torch.Tensor.mean: lowered_reduction(torch.Tensor.mean, "mean"),
    torch.mean: lowered_reduction(torch.mean, "mean"),
    torch.Tensor.sum: lowered_reduction(torch.Tensor.sum, "sum"),
    torch.sum: lowered_reduction(torch.sum, "sum"),
}
