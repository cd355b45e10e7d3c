"""Finds the recurrences of a traced program, and their gates.

A forget gate is a sigmoid that multiplies what a loop carries, on the way to what the loop carries on.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hae_jax.doctor.tracing.dataflow import ELEMENTWISE, TRANSPARENT, Dataflow
from hae_jax.doctor.tracing.interpreter import Op

_ROWS = 3
"""Recurrences carry at least so many numbers; a loop that carries fewer only counts."""


@dataclass(frozen=True)
class Recurrence:
    """A loop that carries a state.

    Attributes:
        op: the loop.
        name: where it stands, for people.
        steps: how many steps it takes.
        nested: whether it stands within another loop.
        carry: positions, in what is carried, of states.
        cells: those of them that are gated, as c of an LSTM or h of a GRU.
        forget: gates that multiply a cell; each is a value of the body.
        gates: all sigmoids of the body.
        squashed: whether each new cell takes in what tanh or a sigmoid has bounded.
    """

    op: Op
    name: str
    steps: int
    nested: bool
    carry: tuple[int, ...]
    cells: tuple[int, ...]
    forget: tuple[int, ...]
    gates: tuple[int, ...]
    squashed: bool


def find_recurrences(graph: Dataflow, stateful: Callable[[int], bool]) -> list[Recurrence]:
    """Returns the loops that carry states.

    Args:
        graph: the program.
        stateful: says whether a value is made of parameters and batch.
    """
    found: list[Recurrence] = []
    for op in graph.program.walk():
        if op.body is None:
            continue
        loop, states = op.body, []
        for at, (own, new) in enumerate(zip(loop.carried, loop.outputs, strict=False)):
            size = int(np.prod(graph.shape(own))) if graph.shape(own) else 0
            if graph.floating(own) and size >= _ROWS and stateful(new):
                states.append((at, own, new))
        direct = [each for each in loop.ops if each.body is None]
        gates = tuple(each.outputs[0] for each in direct if sigmoid(graph, each))
        if not states or not direct:
            continue
        cells, forget, squashed = [], [], True
        for at, own, new in states:
            kept = graph.reach(own, TRANSPARENT | {"select_n"})
            whole = set(graph.ancestors(new, ELEMENTWISE))
            for each in direct:
                if each.name == "mul" and each.outputs[0] in whole and set(each.inputs) & kept:
                    other = next((n for n in each.inputs if n not in kept), None)
                    gate = None if other is None else sources(graph, other)
                    if other is not None and gate and gate & set(gates):
                        cells.append(at)
                        forget.append(other)
            squashed &= not raw(graph, new, set(loop.inputs))
        outer = op.outputs[0] in graph.home
        name = op.scope or f"loop {len(found) + 1}"
        # Functions mapped with vmap have no name but that, and their numbers are kept by name.
        alike = sum(each.op.scope == op.scope for each in found)
        name = f"{name} ({alike + 1})" if op.scope and alike else name
        every = tuple(at for at, _, _ in states)
        length = int(op.equation.params["length"])
        found.append(
            Recurrence(
                op,
                name,
                length,
                outer,
                every,
                tuple(dict.fromkeys(cells)),
                tuple(dict.fromkeys(forget)),
                gates,
                squashed,
            )
        )
    return found


def raw(graph: Dataflow, number: int, given: set[int]) -> bool:
    """Says whether a product of a loop's inputs comes through to a value without a function that bounds it."""
    seen, edge = {number}, [number]
    while edge:
        op = graph.maker.get(edge.pop())
        if op is None or op.body is not None:
            continue
        if op.name == "dot_general" and any(
            given & set(graph.ancestors(n, TRANSPARENT | {"concatenate"})) for n in op.inputs[:1]
        ):
            return True
        if op.name in ELEMENTWISE | {"dot_general", "exp", "integer_pow"}:
            fresh = [n for n in op.inputs if n not in seen and n not in given]
            seen |= set(fresh)
            edge += fresh
    return False


def sigmoid(graph: Dataflow, op: Op) -> bool:
    """Says whether an operation is the last of a sigmoid: the primitive, or 1 / (1 + exp(-x)) by hand."""
    if op.name == "logistic":
        return True
    if op.name != "div":
        return False
    below = graph.maker.get(graph.back(op.inputs[1]))
    return (
        below is not None
        and below.name == "add"
        and any(
            (maker := graph.maker.get(graph.back(number))) is not None and maker.name == "exp"
            for number in below.inputs
        )
    )


def sources(graph: Dataflow, number: int) -> set[int]:
    """Returns the values that a gate may be a part of, or one minus of."""
    return set(graph.ancestors(number, TRANSPARENT | {"sub"}, 8))
