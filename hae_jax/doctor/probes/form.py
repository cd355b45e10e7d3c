"""The form of a model, from which its kind follows: what it outputs, what it reads, and how goals relate to inputs."""

import numpy as np

from hae_jax.doctor.evidence import Evidence
from hae_jax.doctor.probes.context import ProbeContext, ProbeSkipped
from hae_jax.doctor.probes.goals import output_change, positions
from hae_jax.doctor.probes.leakage import NO_OUTPUT, replace_step, time_shift
from hae_jax.doctor.tracing.dataflow import TRANSPARENT

MIN_DISTINCT = 12
"""Least number of distinct numbers by which those of goals are recognized among those of inputs."""
SAME = 0.8
"""Least share of goals that inputs must hold too, if goals are to be parts of inputs."""


def form(context: ProbeContext) -> Evidence:
    """Describes outputs, inputs and goals.

    The goal is "own" if it is a copy of the only field that is read, "copy" or "next" if it is another field with the
    same contents, or with those of a later step, "pool" if its numbers or rows are those of other inputs, else "other".
    """
    setup, fields, roles = context.setup, context.fields, context.traced.roles
    found: Evidence = {
        "learned_noise": learned_noise(context),
        "normal_noise": bool(roles.noise),
        "decodes_code": setup.original.encode is not None and setup.original.decode_loss is not None,
    }
    if roles.output is None:
        raise ProbeSkipped(NO_OUTPUT, found)
    shape = positions(context.activations.values) or ()
    goal = roles.targets if roles.goal is None else roles.goal
    content = [at for at in (*fields.words, *fields.values) if roles.reads(roles.output, at)]
    found |= {
        "output": "logits" if roles.logits is not None else "binary" if roles.binary else "numbers",
        "output_steps": int(np.prod(shape)) // max(1, fields.batch_size),
        "broadcast": roles.outer is not None,
        "bottleneck": bottleneck(context),
        "classes_are_words": classes_are_words(context),
        "attends": attends(context),
    }
    if goal is None:
        return found
    source = context.goal_source
    targets = [at for at in range(len(setup.batches[0])) if roles.reads(goal, at)]
    origin = source.field if source is not None else next((at for at in targets if at not in content), None)
    others = [at for at in content if at != origin and not is_shifted(context, at, origin)]
    found["reads_goal"] = origin is not None and origin in content
    found["sees_other_whole"] = any(sees_whole(context, at) for at in others)
    if origin is not None:
        found["goal"] = relation(context, origin, content)
    if source is not None and found.get("goal") == "own":
        found["goal_shift"] = shift_of(source.steps, fields.batch_size)
    return found


def shift_of(steps: np.ndarray, batch_size: int) -> int:
    """Returns by how many steps goals lie after the positions that predict them, in most places."""
    axes = [axis for axis, length in enumerate(steps.shape) if length == batch_size][:1]
    rows = np.moveaxis(steps, axes[0], 0) if axes else steps
    rows = rows.reshape(len(rows), -1)
    # Channels of one step have the same goal.
    channels = max(1, int((rows[0] == rows[0][0]).sum()))
    shifts = (rows - np.arange(rows.shape[1]) // channels)[rows >= 0]
    return int(np.median(shifts)) if shifts.size else 0


def attends(context: ProbeContext) -> bool:
    """Returns whether there is a softmax other than that of the logits, as in attention."""
    roles = context.traced.roles
    graph = roles.graph
    softmaxes = [
        op
        for op in context.traced.jaxpr.walk()
        if op.name == "exp"
        and roles.from_both(op.outputs[0])
        and any(each.name == "reduce_sum" for each in graph.consumers[op.outputs[0]])
    ]
    return len(softmaxes) > (roles.logits is not None)


def learned_noise(context: ProbeContext) -> bool:
    """Returns whether normal noise is multiplied by what the model computes of the batch, as in a VAE."""
    roles = context.traced.roles
    graph = roles.graph
    constant = TRANSPARENT | {"mul", "add"}
    return any(
        op.name == "mul" and any(roles.from_both(var) and var not in scaled for var in op.inputs)
        for noise in roles.noise
        for scaled in [{var for var in graph.descendants(noise, constant) if not roles.from_both(var)}]
        for var in scaled
        for op in graph.consumers[var]
    )


def bottleneck(context: ProbeContext) -> bool:
    """Returns whether a code without an axis of time lies between two recurrences that read the batch."""
    traced, time = context.traced, 0
    graph, main = traced.roles.graph, context.fields.main
    if main is not None:
        time = context.setup.batches[0][main].shape[1 - context.setup.original.batch_axis]
    scans = [op for op in context.live if op.body is not None and traced.roles.from_batch(op.outputs[0])]
    if len(scans) < 2 or not traced.roles.code:
        return False
    for var in traced.roles.code:
        shape, axis = graph.shape(var), traced.example_axis(var)
        rest = [length for at, length in enumerate(shape) if at != axis]
        if len(shape) > 2 and any(abs(length - time) <= 1 for length in rest[:-1]):
            return False
    return True


def classes_are_words(context: ProbeContext) -> bool:
    """Returns whether there are as many classes as rows in a table of embeddings that is read."""
    roles = context.traced.roles
    if roles.logits is None:
        return False
    tables = {roles.graph.shape(roles.graph.producer[var].inputs[0])[0] for var in roles.embeddings}
    return roles.graph.shape(roles.logits)[-1] in tables


def is_shifted(context: ProbeContext, at: int, origin: int | None) -> bool:
    """Returns whether a field holds the same contents as the goal's, at most a few steps earlier or later."""
    batch = context.setup.batches[0]
    if origin is None or batch[at].dtype.kind != batch[origin].dtype.kind:
        return False
    return time_shift(batch[at], batch[origin], context.setup.original.batch_axis) is not None


def sees_whole(context: ProbeContext, at: int) -> bool:
    """Returns whether the first positions of the output change with the last step of a field."""
    batch, axis = context.setup.batches[0], context.setup.original.batch_axis
    field, size = batch[at], context.fields.batch_size
    if field.ndim < 2:
        return False
    unchanged, last = context.activations, field.shape[1 - axis] - 1
    if at in context.fields.words and axis == 0:
        last = int(np.prod(field.shape[1:])) - 1
    for step in (last, last // 2):
        changed = context.traced.run(context.setup.params, replace_step(context, batch, at, step))
        change = output_change(changed.values, unchanged.values)
        if change is None or change.size < 2 * size or not change.any():
            continue
        axes = [number for number, length in enumerate(change.shape) if length == size]
        rows = np.moveaxis(change, axes[0], 0) if axes else change
        return bool(rows.reshape(len(rows), -1)[:, 0].any())
    return False


def relation(context: ProbeContext, origin: int, content: list[int]) -> str:
    """Returns how the field that goals are taken from relates to the fields that are read."""
    batches, axis = context.setup.batches[:8], context.setup.original.batch_axis
    if content == [origin]:
        return "own"
    goal = batches[0][origin]
    for at in (each for each in content if each != origin):
        field = batches[0][at]
        if field.dtype.kind != goal.dtype.kind:
            continue
        shift = time_shift(goal, field, axis)
        if shift is not None:
            return "copy" if shift == 0 else "next"
        if field.shape == goal.shape and axis == 0 and np.isclose(field[:, ::-1], goal).mean() > SAME:
            return "copy"
        if field.shape == goal.shape and axis == 0 and rows_shared(field, goal):
            return "copy"
        inputs = np.unique(np.concatenate([batch[at].ravel() for batch in batches]))
        goals = np.concatenate([batch[origin].ravel() for batch in batches])
        real = goal.dtype.kind == "f" and len(np.unique(goals)) >= MIN_DISTINCT
        if real and np.isin(goals, inputs).mean() > SAME:
            return "pool"
    return "other"


def rows_shared(field: np.ndarray, goal: np.ndarray) -> bool:
    """Returns whether the goals of examples are the inputs of others."""
    ours, theirs = (np.asarray(x, float).reshape(len(x), -1) for x in (field, goal))
    return bool(np.isclose(ours[:, None], theirs[None]).all(-1).any(0).mean() > SAME)
