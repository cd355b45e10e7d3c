"""Finds the roles of a traced loss's variables: logits, targets, predictions, states, gates, the code.

Each is recognized by how it is used. Logits are what is exponentiated, summed over the last axis and passed to a
logarithm. The code is the narrowest place of the jaxpr: the smallest set of variables alive at once between the first
recurrence and the last.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from hae_jax.doctor.tracing.dataflow import TRANSPARENT, Dataflow
from hae_jax.doctor.tracing.interpreter import FlatJaxpr, Op, live_ops
from hae_jax.doctor.tracing.recurrences import Recurrence, find_recurrences

PARAMS, KEY, RANDOM, FIELD = 1, 2, 4, 8
"""Taint of what depends on parameters, the key, random numbers, and the first field of a batch; others follow."""
TO_LOSS = TRANSPARENT | {
    "reduce_sum", "abs", "log", "div", "gather", "add", "sub", "max", "clamp", "select_n", "mul", "neg", "sign", "min",
}  # fmt: skip
"""Operations between an exponential and the loss."""
UNROLLED = 6
"""Least number of gates of one shape by which a jaxpr without scans counts as a loop unrolled by Python."""


class Normalization(NamedTuple):
    """A root of a mean square: the scope, the axes averaged over, and the shape before that."""

    scope: str
    axes: tuple[int, ...]
    shape: tuple[int, ...]


@dataclass
class Roles:
    """Variables by role; None or empty where none was found.

    Attributes:
        graph: dataflow of the jaxpr.
        taint: taint of every variable.
        logits: what the cross-entropy takes.
        targets: ids that it is evaluated at, or a one-hot array with one axis more.
        prediction: what a squared or absolute error takes.
        goal: what the prediction is compared with.
        recurrences: all scans that carry states.
        code: variables alive at the narrowest place.
        embeddings: results of looking ids up in a table of parameters.
        dropout_masks: comparisons that decide what dropout keeps.
        noise: normally distributed random numbers.
        normalizations: roots of mean squares over some of the axes.
    """

    graph: Dataflow
    taint: dict[int, int]
    logits: int | None = None
    targets: int | None = None
    prediction: int | None = None
    goal: int | None = None
    recurrences: list[Recurrence] = field(default_factory=list)
    code: list[int] = field(default_factory=list)
    embeddings: list[int] = field(default_factory=list)
    dropout_masks: list[int] = field(default_factory=list)
    noise: list[int] = field(default_factory=list)
    normalizations: list[Normalization] = field(default_factory=list)

    @property
    def output(self) -> int | None:
        """What the loss is computed from: logits, or else a prediction."""
        return self.prediction if self.logits is None else self.logits

    def from_batch(self, var: int) -> bool:
        """Returns whether a variable depends on the batch."""
        return self.taint[var] >= FIELD

    def from_params(self, var: int) -> bool:
        """Returns whether a variable depends on parameters."""
        return bool(self.taint[var] & PARAMS)

    def from_both(self, var: int) -> bool:
        """Returns whether a variable depends on parameters and the batch."""
        return self.from_params(var) and self.from_batch(var)

    def is_data(self, var: int) -> bool:
        """Returns whether a variable depends on the batch and not on parameters."""
        return self.from_batch(var) and not self.from_params(var)

    @property
    def unrolled(self) -> bool:
        """Whether there are many gates of one shape, and no scan that carries a state."""
        gates = Counter(
            (op.name, self.graph.shape(op.outputs[0]))
            for op in self.graph.jaxpr.walk()
            if op.name in ("logistic", "tanh") and self.from_both(op.outputs[0])
        )
        return not self.recurrences and max(gates.values(), default=0) >= UNROLLED


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
    roles.logits = find_logits(roles)
    if roles.logits is not None:
        roles.targets = find_targets(roles, roles.logits)
    else:
        roles.prediction, roles.goal = find_prediction(roles)
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


def find_logits(roles: Roles) -> int | None:
    """Returns the operand of the last softmax whose result reaches a logarithm."""
    graph, found = roles.graph, None
    for op in graph.jaxpr.walk():
        if op.name != "exp" or not (roles.from_params(op.outputs[0]) and graph.is_float(op.outputs[0])):
            continue
        result = op.outputs[0]
        last_axis = (len(graph.shape(result)) - 1,)
        sums = [each for each in graph.consumers[result] if each.name == "reduce_sum"]
        if not any(tuple(each.equation.params["axes"]) == last_axis for each in sums):
            continue
        reached = graph.descendants(result, TO_LOSS)
        if any(graph.producer[var].name == "log" for var in reached if var in graph.producer):
            # The softmax subtracts the maximum first.
            shift = graph.producer.get(op.inputs[0])
            found = shift.inputs[0] if shift is not None and shift.name == "sub" else op.inputs[0]
    return found


def find_targets(roles: Roles, logits: int) -> int | None:
    """Returns the ids at which probabilities are looked up, or the one-hot array that they are multiplied by."""
    graph, found = roles.graph, None
    shape = graph.shape(logits)
    reached = graph.descendants(logits, TO_LOSS | {"exp"})
    for op in graph.jaxpr.walk():
        if op.name == "gather" and op.inputs[0] in reached and roles.is_data(op.inputs[1]):
            found = op.inputs[1]
        if op.name in ("mul", "dot_general") and len(op.inputs) == 2 and found is None:
            for ours, theirs in (op.inputs, op.inputs[::-1]):
                if found is None and ours in reached and roles.is_data(theirs) and graph.shape(theirs) == shape:
                    found = one_hot_ids(roles, theirs)
    return found


def one_hot_ids(roles: Roles, one_hot: int) -> int:
    """Returns the ids that a one-hot array was made from, or the array itself."""
    op = roles.graph.computed_by(one_hot)
    if op is None or op.name != "eq":
        return one_hot
    return next((roles.graph.origin(var) for var in op.inputs if roles.from_batch(var)), one_hot)


def find_prediction(roles: Roles) -> tuple[int | None, int | None]:
    """Returns the operands of the last squared or absolute difference: the prediction, and what it is compared with."""
    graph = roles.graph
    found: tuple[int | None, int | None] = (None, None)
    for op in graph.jaxpr.walk():
        is_error = op.name in ("square", "abs") or (op.name == "integer_pow" and op.equation.params["y"] == 2)
        if not is_error and not (op.name == "mul" and op.inputs[0] == op.inputs[1]):
            continue
        difference = graph.computed_by(op.inputs[0])
        if difference is not None and difference.name == "mul":
            # The difference may be multiplied by a mask.
            factors = map(graph.computed_by, difference.inputs)
            difference = next((each for each in factors if each is not None and each.name == "sub"), None)
        if difference is None or difference.name != "sub":
            continue
        for ours, theirs in (difference.inputs, difference.inputs[::-1]):
            if roles.from_params(ours) and roles.is_data(theirs) and graph.shape(ours):
                found = (ours, theirs)
    return found


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
