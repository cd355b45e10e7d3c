"""Leakage: whether examples depend on each other, and whether a word's logits depend on the word itself."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from hae_jax.doctor.evidence import Evidence
from hae_jax.doctor.inputs.arrays import Arrays
from hae_jax.doctor.probes.context import ProbeContext, ProbeSkipped
from hae_jax.doctor.probes.goals import output_change

NO_OUTPUT = "neither logits nor predictions were found"
OUTPUTS = ("logits", "prediction")
ROUNDING = 1e-6
"""Smaller relative changes are rounding."""


def mixed(context: ProbeContext) -> Evidence:
    """Measures whether changing one example changes the outputs of others: the changed sets must be disjoint."""
    setup, size = context.setup, context.fields.batch_size
    batch, other = setup.batches[0], setup.batches[min(1, len(setup.batches) - 1)]
    if size < 3:
        raise ProbeSkipped("fewer than three examples in a batch")
    axis, traced = setup.original.batch_axis, context.traced

    def output(fields: Arrays) -> np.ndarray:
        values = traced.run(setup.params, fields).values
        return np.asarray(values["logits"] if "logits" in values else values["prediction"], np.float64)

    def changed_by_example(function: Callable[[Arrays], np.ndarray]) -> list[np.ndarray]:
        before, changed = function(batch), []
        for row in (0, size // 2, size - 1):
            fields = [exchange(a, b, row, (row + 1) % size, size, axis) for a, b in zip(batch, other, strict=True)]
            changed.append(np.abs(function(fields) - before) > ROUNDING * np.abs(before).max())
        return changed

    if traced.roles.output is None:
        raise ProbeSkipped(NO_OUTPUT)
    changed = changed_by_example(output)
    encode = setup.user_function("encode")
    if not all(each.any() for each in changed) and encode is not None:
        # A loss may leave out examples at random; their codes still depend on them.
        changed = changed_by_example(lambda fields: code_rows(encode(setup.params, fields, setup.key), size))
    counts = [each.sum() for each in changed]
    if min(counts) == 0:
        raise ProbeSkipped("the output does not depend on some example")
    shared = max((changed[i] & changed[j]).sum() / min(counts[i], counts[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    found: Evidence = {}
    source = context.goal_source
    if source is not None:
        # Outputs that an example changes are compared with the goals of the same one.
        places = [each.any(-1) if each.ndim > source.examples.ndim else each for each in changed]
        own = [
            float((goals == row)[goals >= 0].mean())
            for place, row in zip(places, (0, size // 2, size - 1), strict=True)
            if place.shape == source.examples.shape and ((goals := source.examples[place]) >= 0).any()
        ]
        found["goals_own"] = float(np.median(own)) if own else None
    return found | {"mixed_share": float(shared), "mixed_reach": float(np.mean(counts) / changed[0].size * size)}


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
    `leak_earlier` that of earlier ones; `reach_back` is the largest change of earlier ones with the code not
    held, and `reads_own_target` the change of the step itself.

    Raises:
        ProbeSkipped: if outputs cannot be aligned with the steps of a field.
    """
    traced, setup, fields = context.traced, context.setup, context.fields
    batch, axis = setup.batches[0], setup.original.batch_axis
    unchanged, source = context.activations, context.goal_source
    if source is None:
        raise ProbeSkipped("outputs cannot be aligned with the steps of the inputs")
    output_size = max(float(np.abs(unchanged.values[name]).max()) for name in OUTPUTS if name in unchanged.values)
    found: Evidence = {}
    for at in (*fields.words, *fields.values)[:4]:
        field = batch[at]
        time = int(np.prod(field.shape[1:])) if at in fields.words and axis == 0 else field.shape[1 - axis]
        shift = 0 if source.field == at else time_shift(field, batch[source.field], axis)
        if shift is None:
            continue
        predicted = np.where(source.steps >= 0, source.steps - shift, -1)
        for number, step in enumerate(dict.fromkeys((time // 2, time // 3, 2 * time // 3))):
            if not 2 <= step < time - 1:
                continue
            changed = replace_step(context, batch, at, step)
            held = traced.run(setup.params, changed, traced.interventions(code=unchanged.code))
            change = output_change(held.values, unchanged.values)
            free_change = output_change(traced.run(setup.params, changed).values, unchanged.values)
            if change is None or free_change is None or not free_change.any():
                # The model does not read this field.
                continue
            reach_back = float(free_change[(predicted >= 0) & (predicted < step)].max(initial=0))
            found["reach_back"] = max(found.get("reach_back", 0.0), reach_back)
            own = free_change[predicted == step]
            reads_own = float(own.mean() / max(free_change.max(), 1e-30)) if own.size else 0.0
            found["reads_own_target"] = max(found.get("reads_own_target", 0.0), reads_own)
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
                    "leak_size": float(size / max(output_size, 1e-30)),
                }
    if not found:
        raise ProbeSkipped("outputs cannot be aligned with the steps of the inputs")
    return found


def time_shift(field: np.ndarray, other: np.ndarray, axis: int) -> int | None:
    """Returns by how many steps a field lags behind another one with the same contents; None if it has others."""
    # Numbers with and without an axis of one channel hold the same.
    field, other = (x[..., 0] if x.ndim == 3 and x.shape[-1] == 1 else x for x in (field, other))
    if field.ndim < 2 or field.shape != other.shape:
        if field.ndim < 2 or field.ndim != other.ndim or field.shape[0] != other.shape[0]:
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
