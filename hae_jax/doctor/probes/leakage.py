"""Leakage: whether examples depend on each other, and whether a word's logits depend on the word itself."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from hae_jax.doctor.evidence import Evidence
from hae_jax.doctor.inputs.arrays import Arrays
from hae_jax.doctor.probes.context import ProbeContext, ProbeSkipped
from hae_jax.doctor.probes.initial_loss import target_ids
from hae_jax.doctor.tracing.traced_loss import Activations

ROUNDING = 1e-6
"""Smaller relative changes are rounding."""


def output(activations: Activations) -> np.ndarray:
    """Returns logits or prediction.

    Raises:
        ProbeSkipped: if there are neither.
    """
    for name in ("logits", "prediction"):
        if name in activations.values:
            return np.asarray(activations.values[name], np.float64)
    raise ProbeSkipped("neither logits nor predictions were found")


def mixed(context: ProbeContext) -> Evidence:
    """Measures whether changing one example changes the outputs of others: the changed sets must be disjoint."""
    setup, size = context.setup, context.fields.batch_size
    batch, other = setup.batches[0], setup.batches[min(1, len(setup.batches) - 1)]
    if size < 3:
        raise ProbeSkipped("fewer than three examples in a batch")
    axis, traced = setup.original.batch_axis, context.traced

    def changed_by_example(function: Callable[[Arrays], np.ndarray]) -> list[np.ndarray]:
        before, changed = function(batch), []
        for row in (0, size // 2, size - 1):
            fields = [exchange(a, b, row, (row + 1) % size, size, axis) for a, b in zip(batch, other, strict=True)]
            changed.append(np.abs(function(fields) - before).max(-1) > ROUNDING * np.abs(before).max())
        return changed

    changed = changed_by_example(lambda fields: output(traced.run(setup.params, fields)))
    encode = setup.user_function("encode")
    if not all(each.any() for each in changed) and encode is not None:
        # A loss may leave out examples at random; their codes still depend on them.
        changed = changed_by_example(lambda fields: code_rows(encode(setup.params, fields, setup.key), size))
    counts = [each.sum() for each in changed]
    if min(counts) == 0:
        raise ProbeSkipped("the output does not depend on some example")
    shared = max((changed[i] & changed[j]).sum() / min(counts[i], counts[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    return {"mixed_share": float(shared), "mixed_reach": float(np.mean(counts) / changed[0].size * size)}


def code_rows(code: Any, size: int) -> np.ndarray:
    """Returns all numbers of a code, one row for each example."""
    leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(code)]
    return np.concatenate([leaf.reshape(size, -1) for leaf in leaves if len(leaf) == size], 1)


def exchange(field: np.ndarray, other: np.ndarray, row: int, source: int, size: int, axis: int) -> np.ndarray:
    """Returns a field in which example `row` is replaced by example `source` of another batch's field."""
    if field.ndim <= axis or field.shape[axis] != size:
        return field
    new = np.array(field)
    np.moveaxis(new, axis, 0)[row] = np.moveaxis(other, axis, 0)[source]
    return new


def causal(context: ProbeContext) -> Evidence:
    """Measures whether the logits that predict a word depend on it other than through the code.

    One step of an input field is changed while the code is held fixed, and the change of the output is averaged over
    the positions that predict each step. `leak_now` is that of the changed step itself relative to the largest,
    `leak_earlier` that of earlier ones; `reach_back` is the largest change of earlier ones with the code not held.

    Raises:
        ProbeSkipped: if outputs cannot be aligned with the steps of a field.
    """
    traced, setup, fields = context.traced, context.setup, context.fields
    batch, axis = setup.batches[0], setup.original.batch_axis
    unchanged = context.activations
    before = output(unchanged)
    inputs = fields.words if "logits" in unchanged.values else fields.values
    found: Evidence = {}
    for at in inputs[:3]:
        field = batch[at]
        time = field.shape[1 - axis] if field.ndim == 2 or at in fields.values else int(np.prod(field.shape[1:]))
        predicted = predicted_steps(context, at, before.shape[:-1], inputs, time)
        if predicted is None:
            continue
        for number, step in enumerate(dict.fromkeys((time // 2, time // 3, 2 * time // 3))):
            if not 2 <= step < time - 1:
                continue
            changed = replace_step(context, batch, at, step)
            held = traced.run(setup.params, changed, traced.interventions(code=unchanged.code))
            change = np.abs(output(held) - before).max(-1)
            free_change = np.abs(output(traced.run(setup.params, changed)) - before).max(-1)
            if not free_change.any():
                # The model does not read this field.
                continue
            reach_back = float(free_change[(predicted >= 0) & (predicted < step)].max(initial=0))
            found["reach_back"] = max(found.get("reach_back", 0.0), reach_back)
            at_step = (change[predicted == s] for s in range(time))
            profile = np.array([each.mean() if each.size else np.nan for each in at_step])
            now = profile[step]
            earlier = np.nanmedian(profile[max(0, step - 6) : step - 1]) if step > 2 else profile[0]
            later = np.nanmax(profile[step + 1 :])
            if not np.isfinite(now) or not np.isfinite(earlier):
                continue
            size = max(later, now)
            if number == 0 or now / max(size, 1e-30) > found.get("leak_now", 0):
                found |= {
                    "leak_now": float(now / max(size, 1e-30)),
                    "leak_earlier": float(earlier / max(size, 1e-30)),
                    "leak_size": float(size / max(np.abs(before).max(), 1e-30)),
                }
    if not found:
        raise ProbeSkipped("outputs cannot be aligned with the steps of the inputs")
    return found


def predicted_steps(
    context: ProbeContext, at: int, shape: tuple[int, ...], inputs: tuple[int, ...], time: int
) -> np.ndarray | None:
    """Returns which step of a field each position of the output predicts, -1 if none; None if it cannot be found.

    The loss is run on a batch whose ids are replaced by their own indices, so that the targets it computes contain the
    place that they were read from.
    """
    setup, fields = context.setup, context.fields
    batch, axis = setup.batches[0], setup.original.batch_axis
    for source in inputs:
        field = batch[source]
        indices = np.arange(field.size).reshape(field.shape)
        if field.ndim == 3 and source in fields.values:
            indices = np.broadcast_to(np.arange(field[..., 0].size).reshape(field.shape[:2])[..., None], field.shape)
        indexed = [indices.astype(leaf.dtype) if i == source else leaf for i, leaf in enumerate(batch)]
        activations, unchanged = context.traced.run(setup.params, indexed), context.activations
        if "logits" in activations.values:
            found, actual, content = target_ids(activations.values), target_ids(unchanged.values), field
        else:
            found, actual = activations.values["goal"], unchanged.values["goal"]
            if found.shape[:-1] != shape:
                return None
            found, actual, content = found[..., 0], actual[..., 0], field[..., 0] if field.ndim == 3 else field
        if found is None or actual is None or found.shape != shape:
            continue
        inside = (found >= 0) & (found < content.size)
        index = np.where(inside, found, 0).astype(int)
        # Where the content at the index is the actual target, the target is a copy of the field.
        copied = content.ravel()[index].astype(float)
        right = inside & np.isclose(copied, actual.astype(float), rtol=1e-4, atol=1e-4)
        if right.mean() < 0.6 or len(np.unique(index)) < 4:
            continue
        step = index // batch[source].shape[1] if axis == 1 else index % time
        shift = 0 if source == at else time_shift(batch[at], batch[source], axis)
        if shift is not None:
            return np.where(right, step - shift, -1)
    return None


def time_shift(field: np.ndarray, other: np.ndarray, axis: int) -> int | None:
    """Returns by how many steps a field lags behind another one with the same contents; None if it has others."""
    if field.shape != other.shape:
        if field.ndim != other.ndim or field.shape[0] != other.shape[0]:
            return None
        steps = min(field.shape[1], other.shape[1])
        field, other = field[:, :steps], other[:, :steps]
    time = 1 - axis
    best, most = None, 0.8
    for shift in (0, -1, 1, -2, 2):
        ours, theirs = (
            np.take(x, range(max(0, offset), field.shape[time] + min(0, offset)), axis=time)
            for x, offset in ((field, -shift), (other, shift))
        )
        equal = float(np.isclose(ours, theirs).mean())
        if equal > most:
            best, most = shift, equal
    return best


def replace_step(context: ProbeContext, batch: Arrays, at: int, step: int) -> Arrays:
    """Returns a batch in which one step of a field is changed in every example: another id, or a shifted number."""
    field, axis, pad = np.array(batch[at]), context.setup.original.batch_axis, context.fields.pad
    if at in context.fields.words:
        view = field.reshape(len(field), -1) if axis == 0 else field.T
        old = view[:, step]
        ids = np.unique(np.concatenate([each[at].ravel() for each in context.setup.batches[:4]]))
        ids = ids if pad is None else ids[ids != pad]
        new = ids[(np.searchsorted(ids, old).clip(0, len(ids) - 1) + 1 + len(ids) // 3) % len(ids)]
        view[:, step] = new if pad is None else np.where(old == pad, old, new)
    else:
        index: list[Any] = [slice(None)] * field.ndim
        index[1 - axis] = step
        field[tuple(index)] += field.std() or 1.0
    return [field if i == at else leaf for i, leaf in enumerate(batch)]
