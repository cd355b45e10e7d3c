"""Finds the recurrences of a jaxpr: scans that carry states, and their gates.

A forget gate is a sigmoid that multiplies a carried value on the way to the value carried on.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hae_jax.doctor.tracing.dataflow import ELEMENTWISE, TRANSPARENT, Dataflow
from hae_jax.doctor.tracing.interpreter import FlatJaxpr, Op

SATURATION = (0.05, 0.95)
"""A gate below the first or above the second value is saturated."""
MIN_STATE_SIZE = 3
"""Least number of elements of a state; a scan that carries fewer is a counter."""


@dataclass(frozen=True)
class Recurrence:
    """A scan that carries states.

    Attributes:
        op: the scan.
        body: its body.
        name: its scope, or a number, unique in the jaxpr.
        steps: number of steps.
        nested: whether it lies within another scan.
        carry: indices of the states among the carried variables.
        cells: those of them that a gate multiplies, as c of an LSTM or h of a GRU.
        forget: gates that multiply a cell; variables of the body.
        gates: all sigmoids of the body.
        bounded: whether tanh or a sigmoid bounds all that is added to a cell.
    """

    op: Op
    body: FlatJaxpr
    name: str
    steps: int
    nested: bool
    carry: tuple[int, ...]
    cells: tuple[int, ...]
    forget: tuple[int, ...]
    gates: tuple[int, ...]
    bounded: bool

    @property
    def reverse(self) -> bool:
        """Whether the scan runs from the last step to the first."""
        return bool(self.op.equation.params["reverse"])

    @property
    def initial_states(self) -> list[int]:
        """Variables outside of the scan that its states start as."""
        return [self.op.inputs[self.body.first_carry + at] for at in self.carry]

    @property
    def new_states(self) -> list[int]:
        """Variables of the body that hold the states after a step."""
        return [self.body.outputs[at] for at in self.carry]


def find_recurrences(graph: Dataflow, is_state: Callable[[int], bool]) -> list[Recurrence]:
    """Returns the scans that carry states.

    Args:
        graph: dataflow of the jaxpr.
        is_state: whether a variable is computed from parameters and the batch.
    """
    found: list[Recurrence] = []
    for op in graph.jaxpr.walk():
        body = op.body
        if body is None:
            continue
        states = [
            (at, old, new)
            for at, (old, new) in enumerate(zip(body.carried, body.outputs, strict=False))
            if graph.is_float(old) and np.prod(graph.shape(old)) >= MIN_STATE_SIZE and is_state(new)
        ]
        direct = [each for each in body.ops if each.body is None]
        if not states or not direct:
            continue
        gates = tuple(each.outputs[0] for each in direct if is_sigmoid(graph, each))
        cells: list[int] = []
        forget: list[int] = []
        for at, old, new in states:
            for gate in forget_gates(graph, direct, old, new, set(gates)):
                cells.append(at)
                forget.append(gate)
        bounded = not any(is_unbounded(graph, new, set(body.inputs)) for _, _, new in states)
        # Functions mapped with vmap share a scope, and evidence is stored by name.
        same_scope = sum(each.op.scope == op.scope for each in found)
        name = op.scope or f"loop {len(found) + 1}"
        name = f"{name} ({same_scope + 1})" if op.scope and same_scope else name
        found.append(
            Recurrence(
                op, body, name, int(op.equation.params["length"]), op.outputs[0] in graph.scan_of,
                tuple(at for at, _, _ in states), tuple(dict.fromkeys(cells)), tuple(dict.fromkeys(forget)), gates,
                bounded,
            )
        )  # fmt: skip
    return found


def forget_gates(graph: Dataflow, ops: list[Op], old: int, new: int, gates: set[int]) -> list[int]:
    """Returns the gates that multiply a state, where the product is a part of the new state."""
    kept = graph.descendants(old, TRANSPARENT | {"select_n"})
    parts = set(graph.ancestors(new, ELEMENTWISE))
    found = []
    for op in ops:
        if op.name == "mul" and op.outputs[0] in parts and set(op.inputs) & kept:
            factor = next((var for var in op.inputs if var not in kept), None)
            # A gate, a part of one, or one minus it.
            if factor is not None and set(graph.ancestors(factor, TRANSPARENT | {"sub"}, 8)) & gates:
                found.append(factor)
    return found


def is_unbounded(graph: Dataflow, var: int, inputs: set[int]) -> bool:
    """Returns whether a product of a body's inputs reaches a variable without a function that bounds it."""
    seen, frontier = {var}, [var]
    while frontier:
        op = graph.producer.get(frontier.pop())
        if op is None or op.body is not None:
            continue
        if op.name == "dot_general" and inputs & set(graph.ancestors(op.inputs[0], TRANSPARENT | {"concatenate"})):
            return True
        if op.name in ELEMENTWISE | {"dot_general", "exp", "integer_pow"}:
            parents = [parent for parent in op.inputs if parent not in seen and parent not in inputs]
            seen |= set(parents)
            frontier += parents
    return False


def is_sigmoid(graph: Dataflow, op: Op) -> bool:
    """Returns whether an operation is the last one of a sigmoid: the primitive, or 1 / (1 + exp(-x)) written out."""
    if op.name == "logistic":
        return True
    if op.name != "div":
        return False
    denominator = graph.computed_by(op.inputs[1])
    if denominator is None or denominator.name != "add":
        return False
    terms = map(graph.computed_by, denominator.inputs)
    return any(term is not None and term.name == "exp" for term in terms)
