"""Defects that the traced program or its parameters contain: degenerate softmaxes, constant kernels, random states."""

import numpy as np

from hae_jax.doctor.evidence import Evidence
from hae_jax.doctor.inputs.arrays import Arrays
from hae_jax.doctor.probes.context import ProbeContext, ProbeSkipped
from hae_jax.doctor.tracing.interpreter import Op
from hae_jax.doctor.tracing.outputs import TO_LOSS
from hae_jax.doctor.tracing.variables import KEY, RANDOM

HUGE = 1e30
"""A larger number counts as overflow."""


def static(context: ProbeContext) -> Evidence:
    """Finds softmaxes of one number or over examples, kernels of equal numbers, and random initial states."""
    roles, size = context.traced.roles, context.fields.batch_size
    lengths = [softmax_lengths(context, op) for op in context.traced.jaxpr.walk() if op.name == "exp"]
    params, names = context.setup.params, context.setup.structure.names
    constant = [
        name
        for name, param in zip(names, params, strict=True)
        if param.ndim > 1 and param.size > 1 and float(np.ptp(np.asarray(param, np.float32))) == 0
    ]
    random = [
        each.name
        for each in roles.recurrences
        if not each.nested and any(is_random(context, var) for var in each.initial_states)
    ]
    return {
        "softmax_of_one": any(length == 1 for length in lengths),
        "softmax_over_batch": size > 1 and any(length == -size for length in lengths),
        "constant_kernels": constant[:8],
        "log_missing": log_missing(context),
        **lookups(context),
        "random_states": random,
    }


def lookups(context: ProbeContext) -> Evidence:
    """Measures the share of ids beyond the table that they are looked up in; JAX reads another row for them, or NaN."""
    traced, setup = context.traced, context.setup
    if not traced.lookups:
        return {}
    graph, shares = traced.roles.graph, []
    for batch in setup.batches[:4]:
        for var, ids in zip(traced.lookups, traced.lookup_ids(setup.params, batch), strict=True):
            rows = graph.shape(graph.producer[var].inputs[0])[0]
            shares.append(float(((np.asarray(ids) < 0) | (np.asarray(ids) >= rows)).mean()))
    return {"ids_beyond": max(shares)}


def log_missing(context: ProbeContext) -> bool:
    """Returns whether probabilities of a softmax at the labels are the loss, without a logarithm."""
    roles, graph = context.traced.roles, context.traced.roles.graph
    if roles.output is not None:
        return False
    for op in context.live:
        if op.name == "exp" and softmax_lengths(context, op):
            reached = graph.descendants(op.outputs[0], TO_LOSS - {"log"})
            uses = [each for var in reached for each in graph.consumers[var] if each.name in ("gather", "mul")]
            labelled = any(roles.is_data(var) for each in uses for var in each.inputs)
            if labelled and context.traced.jaxpr.outputs[0] in reached:
                return True
    return False


def softmax_lengths(context: ProbeContext, op: Op) -> int:
    """Returns the length of a softmax's axis, negative if it is the first of several; 0 if it is no softmax."""
    roles = context.traced.roles
    graph, result = roles.graph, op.outputs[0]
    shape = graph.shape(result)
    if not roles.from_both(result) or not shape:
        return 0
    for each in graph.consumers[result]:
        if each.name == "reduce_sum" and len(each.equation.params["axes"]) == 1:
            # The exponentials are divided by their sum, or the logarithm of the sum is taken.
            (axis,) = each.equation.params["axes"]
            return -shape[axis] if axis == 0 and len(shape) > 1 else shape[axis]
    return 0


def is_random(context: ProbeContext, var: int) -> bool:
    """Returns whether a state is random and does not depend on what is computed of the batch."""
    roles = context.traced.roles
    return bool(roles.taint[var] & (RANDOM | KEY)) and not roles.from_batch(var) and roles.graph.is_float(var)


def overflow(context: ProbeContext) -> Evidence:
    """Finds the first operation whose result is not finite, or huge, although its operands are, in a broken batch."""
    if not context.evidence.get("broken_batches"):
        return {"first_broken": None}
    return first_broken(context, context.setup.params, context.setup.batches[:12])


def overflow_in_training(context: ProbeContext) -> Evidence:
    """Finds the same at the step at which training ended, if it ended at a value that is not finite."""
    curve, batches = context.curve, context.setup.batches
    if curve.finite or not curve.loss:
        return {}
    found = first_broken(context, curve.params, [batches[(len(curve.loss) - 1) % len(batches)]])
    return {"broken_in_training": found["first_broken"]}


def first_broken(context: ProbeContext, params: Arrays, batches: list[Arrays]) -> Evidence:
    """Returns the first operation whose result is not finite, or huge, and its operand there.

    Raises:
        ProbeSkipped: if only gradients are not finite, or if it lies within a loop.
    """
    setup, traced = context.setup, context.traced
    ops = [op for op in context.live if op.body is None]
    record = {var for op in ops for var in (*op.inputs, *op.outputs) if traced.roles.graph.is_float(var)}
    inputs = set(traced.jaxpr.inputs)
    for batch in batches:
        loss, _ = context.trainer.value_and_grad(params, batch, setup.key)
        if np.isfinite(loss) and abs(loss) < HUGE:
            continue
        recorded = traced.record(params, batch, record - inputs)
        for op in ops:
            values = [recorded[var] for var in op.outputs if var in recorded]
            if all(is_sound(value) for value in values):
                continue
            operands = [recorded[var] for var in op.inputs if var in recorded]
            if not all(is_sound(operand) for operand in operands):
                raise ProbeSkipped("the first result that is not finite lies within a loop")
            argument = operands[0] if operands and np.shape(operands[0]) == np.shape(values[0]) else None
            worst = None if argument is None else np.asarray(argument, float)[~sound(values[0])]
            return {
                "first_broken": op.name,
                "broken_argument": float(worst.ravel()[0]) if worst is not None and worst.size else None,
            }
    raise ProbeSkipped("only gradients are not finite")


def sound(value: np.ndarray) -> np.ndarray:
    """Returns where a value is finite and not huge."""
    value = np.asarray(value, np.float64)
    return np.isfinite(value) & (np.abs(value) < HUGE)


def is_sound(value: np.ndarray) -> bool:
    """Returns whether a value is finite and not huge everywhere."""
    return bool(sound(value).all())
