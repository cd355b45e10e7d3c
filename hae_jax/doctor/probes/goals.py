"""Goals of a loss: targets of logits or of predictions, and which step of which field of a batch each is a copy of."""

from typing import Any, NamedTuple

import numpy as np

from hae_jax.doctor.inputs.fields import Fields
from hae_jax.doctor.inputs.normalize import NormalizedSetup
from hae_jax.doctor.tracing.traced_loss import TracedLoss

MIN_COPIED = 0.6
"""Least share of positions that must be copies of a field."""


class GoalSource(NamedTuple):
    """Where the goals come from.

    Attributes:
        field: number of the field of the batch that they are copied from.
        steps: for each position of the output, the step of the field; -1 where the goal is no copy.
        examples: for each position, the example that the goal belongs to; -1 where the goal is no copy.
    """

    field: int
    steps: np.ndarray
    examples: np.ndarray


def target_ids(values: dict[str, Any]) -> np.ndarray | None:
    """Returns recorded targets as ids in the shape of the logits' positions; None if there are none."""
    if "logits" not in values or "targets" not in values:
        return None
    logits, targets = values["logits"], np.asarray(values["targets"])
    shape = logits.shape[:-1]
    if np.issubdtype(targets.dtype, np.floating) and targets.shape == logits.shape:
        return targets.argmax(-1)
    if targets.size == np.prod(shape):
        return targets.reshape(shape)
    if targets.ndim and targets[..., -1].size == np.prod(shape):
        # Indices into all axes; the last one is that of the vocabulary.
        return targets[..., -1].reshape(shape)
    return None


def goals(values: dict[str, Any]) -> np.ndarray | None:
    """Returns recorded goals, one for each position of the output; of one-hot targets their first elements."""
    if "logits" not in values:
        return np.asarray(values["goal"]) if "goal" in values else None
    targets = np.asarray(values["targets"]) if "targets" in values else None
    if targets is not None and targets.shape == values["logits"].shape:
        return targets[..., 0]
    return target_ids(values)


def positions(values: dict[str, Any]) -> tuple[int, ...] | None:
    """Returns the shape of the positions of recorded outputs: without the axis of classes, if there is one."""
    if "logits" in values:
        return tuple(np.shape(values["logits"])[:-1])
    return tuple(np.shape(values["prediction"])) if "prediction" in values else None


def output_change(new: dict[str, Any], old: dict[str, Any]) -> np.ndarray | None:
    """Returns the absolute change of recorded outputs at each of their positions."""
    if "logits" in old:
        return np.abs(np.asarray(new["logits"], np.float64) - old["logits"]).max(-1)
    if "prediction" in old:
        return np.abs(np.asarray(new["prediction"], np.float64) - old["prediction"])
    return None


def find_source(
    traced: TracedLoss, setup: NormalizedSetup, fields: Fields, unchanged: dict[str, Any]
) -> GoalSource | None:
    """Returns the field that goals are copies of: with the index of each element in its place, goals are indices.

    Args:
        traced: the traced loss.
        setup: the setup.
        fields: roles of the fields.
        unchanged: recorded values on the first batch.
    """
    batch, actual, shape = setup.batches[0], goals(unchanged), positions(unchanged)
    if actual is None or actual.shape != shape:
        return None
    known = (*fields.words, *fields.values)
    others = [at for at in range(len(batch)) if at not in (*known, *fields.masks, *fields.lengths)]
    for field in (*known, *others):
        content = batch[field]
        if content.ndim <= setup.original.batch_axis or content.dtype.kind not in "iuf":
            continue
        indices = np.arange(content.size).reshape(content.shape)
        indexed = [indices.astype(leaf.dtype) if at == field else leaf for at, leaf in enumerate(batch)]
        found = goals(traced.run(setup.params, indexed).values)
        if found is None or found.shape != shape:
            continue
        inside = (found >= 0) & (found < content.size)
        index = np.where(inside, found, 0).astype(np.int64)
        # Where the content at the index is the actual goal, the goal is a copy of the field.
        copied = content.ravel()[index].astype(float)
        right = inside & np.isclose(copied, actual.astype(float), rtol=1e-4, atol=1e-4)
        if right.mean() >= MIN_COPIED and len(np.unique(index)) >= 4:
            steps = step_of(index, content.shape, field in fields.words, setup.original.batch_axis)
            examples = np.unravel_index(index, content.shape)[setup.original.batch_axis]
            return GoalSource(field, np.where(right, steps, -1), np.where(right, examples, -1))
    return None


def step_of(index: np.ndarray, shape: tuple[int, ...], is_ids: bool, batch_axis: int) -> np.ndarray:
    """Returns the steps that flat indices of a field lie at; those of documents are counted through sentences.

    Example:
        >>> step_of(np.array([0, 5, 11]), (2, 3, 2), False, 0)
        array([0, 2, 2])
    """
    if len(shape) == 1:
        return np.zeros_like(index)
    if is_ids and batch_axis == 0:
        return index % int(np.prod(shape[1:]))
    return np.unravel_index(index, shape)[1 - batch_axis]
