"""Finds the roles of a traced loss's variables: logits, targets, predictions, states, gates, the code.

Each is recognized by how it is used. Logits are what is exponentiated, summed over the last axis and passed to a
logarithm. The code is the narrowest place of the jaxpr: the smallest set of variables alive at once between the first
recurrence and the last.
"""

import numpy as np

from hae_jax.doctor.tracing.dataflow import TRANSPARENT, Dataflow
from hae_jax.doctor.tracing.interpreter import FlatJaxpr, Op, live_ops
from hae_jax.doctor.tracing.outputs import find_outputs
from hae_jax.doctor.tracing.recurrences import find_recurrences
from hae_jax.doctor.tracing.variables import FIELD, KEY, PARAMS, RANDOM, Normalization, Roles


def find_roles(jaxpr: FlatJaxpr, params: list[int], batch: list[int], key: list[int]) -> Roles:
    """Finds the roles of a loss's variables.

    Args:
        jaxpr: a function of parameters, batch and key that returns the loss first.
        params: which of its inputs are parameters.
        batch: which are fields of a batch.
        key: which are random keys.
    """
    graph = Dataflow(jaxpr)
    seeds = dict.fromkeys(params, PARAMS) | dict.fromkeys(key, KEY)
    seeds |= {var: FIELD << number for number, var in enumerate(batch)}
    for op in jaxpr.walk():
        if op.name.startswith(("random_bits", "threefry", "rng_")):
            seeds |= dict.fromkeys(op.outputs, RANDOM)
    roles = Roles(graph, graph.taint(seeds))
    find_outputs(roles)
    roles.recurrences = find_recurrences(graph, roles.from_both)
    roles.code = find_code(roles, live_ops(jaxpr))
    for op in jaxpr.walk():
        if not (op.inputs and op.outputs):
            continue
        operand, result = op.inputs[0], op.outputs[0]
        random = bool(roles.taint[result] & RANDOM)
        if op.name == "gather" and is_table(roles, operand) and roles.from_batch(op.inputs[1]):
            roles.embeddings.append(result)
        elif op.name in ("lt", "le", "gt", "ge") and random and graph.is_float(operand):
            if np.prod(graph.shape(result)) > 1:
                roles.dropout_masks.append(result)
        elif op.name == "erf_inv" and random:
            roles.noise.append(result)
        elif op.name in ("rsqrt", "sqrt") and roles.from_both(operand):
            normalization = find_normalization(roles, op)
            if normalization is not None:
                roles.normalizations.append(normalization)
    return roles


def is_table(roles: Roles, var: int) -> bool:
    """Returns whether a variable is a matrix of parameters alone."""
    graph = roles.graph
    return roles.from_params(var) and not roles.from_batch(var) and len(graph.shape(var)) == 2 and graph.is_float(var)


def find_code(roles: Roles, ops: list[Op]) -> list[int]:
    """Returns the smallest set of variables through which all later operations depend on earlier recurrences.

    Args:
        roles: the other roles.
        ops: the operations that the loss depends on, in order.
    """
    graph = roles.graph
    marks = [op for op in ops if op.body is not None and roles.from_batch(op.outputs[0])]
    if not marks:
        marks = [op for op in ops if op.name in ("logistic", "tanh") and roles.from_params(op.outputs[0])]
    if not marks:
        return []
    dependent = graph.taint({var: 1 for op in marks for var in op.outputs})
    bound_at = {var: at for at, op in enumerate(ops) for var in op.outputs}
    last_use: dict[int, int] = {var: len(ops) for var in graph.jaxpr.outputs}
    for at, op in enumerate(ops):
        for var in op.inputs:
            last_use[var] = max(last_use.get(var, 0), at)
    start, end = ops.index(marks[0]), len(ops) - 1
    if len(marks) > 1:
        end = ops.index(marks[-1])
    elif roles.output is not None:
        end = bound_at.get(roles.output, end)
    candidates = [
        var for var in bound_at if dependent[var] and graph.is_float(var) and roles.from_batch(var) and graph.shape(var)
    ]
    narrowest: list[int] = []
    size = 0
    for at in range(start, end):
        alive = [var for var in candidates if bound_at[var] <= at < last_use.get(var, -1)]
        total = sum(int(np.prod(graph.shape(var))) for var in alive)
        if alive and (not narrowest or total <= size):
            narrowest, size = alive, total
    return narrowest


def find_normalization(roles: Roles, root: Op) -> Normalization | None:
    """Returns the axes over which a root mean square was computed; None if over all of them."""
    graph = roles.graph
    for var in graph.ancestors(root.inputs[0], TRANSPARENT | {"add", "sub", "max", "div", "mul", "select_n"}, 10):
        op = graph.producer.get(var)
        if op is not None and op.name == "reduce_sum":
            shape, axes = graph.shape(op.inputs[0]), tuple(op.equation.params["axes"])
            return Normalization(root.scope, axes, shape) if len(axes) < len(shape) else None
    return None
