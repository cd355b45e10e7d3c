"""Finds the organs of a traced loss: logits and targets, predictions, recurrences and their gates, the code.

Each is known by what is done with it. Logits are what is exponentiated, summed over the last axis, and goes into a
logarithm. The code is the narrowest place of the program: the fewest numbers that are alive at once between the first
recurrence and the last.
"""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from hae_jax.doctor.tracing.dataflow import TRANSPARENT, Dataflow
from hae_jax.doctor.tracing.interpreter import FlatJaxpr, Op, needed
from hae_jax.doctor.tracing.recurrences import Recurrence, find_recurrences

PARAMS, KEY, RANDOM = 1, 2, 4
"""Colours of what depends upon the parameters, the key, and drawn numbers; fields of a batch have the next ones."""
FIELD = 8
_NORMALISED = TRANSPARENT | {
    "reduce_sum", "abs", "log", "div", "gather", "add", "sub", "max", "clamp", "select_n", "mul", "neg", "sign", "min",
}  # fmt: skip
"""Operations on the way from an exponential to the loss."""
UNROLLED = 6
"""Gates of one shape from which on a program without loops is one whose loops Python unrolled."""


@dataclass
class Roles:
    """What was found; None or empty where nothing was.

    Attributes:
        graph: the program's arrows.
        stain: colours of every value.
        logits: what the cross-entropy takes.
        targets: ids that it is taken at, or a table of zeros and ones with an axis more.
        prediction: what a squared or absolute error takes.
        goal: what the prediction is held against.
        recurrences: all loops that carry states.
        code: values that are alive at the narrowest place.
        embedded: results of looking ids up in a table of parameters.
        masks: comparisons that decide what dropout keeps.
        drawn: normally distributed noise.
        norms: roots of mean squares, with the axes they were taken over, and the shape.
    """

    graph: Dataflow
    stain: dict[int, int]
    logits: int | None = None
    targets: int | None = None
    prediction: int | None = None
    goal: int | None = None
    recurrences: list[Recurrence] = field(default_factory=list)
    code: list[int] = field(default_factory=list)
    embedded: list[int] = field(default_factory=list)
    masks: list[int] = field(default_factory=list)
    drawn: list[int] = field(default_factory=list)
    norms: list[tuple[str, tuple[int, ...], tuple[int, ...], bool]] = field(default_factory=list)

    def batch(self, number: int) -> bool:
        """Says whether a value depends upon the batch."""
        return self.stain[number] >= FIELD

    def learned(self, number: int) -> bool:
        """Says whether a value depends upon parameters."""
        return bool(self.stain[number] & PARAMS)

    @property
    def unrolled(self) -> bool:
        """Whether there are many gates of one shape, and no loop that carries a state."""
        gates = Counter(
            (op.name, self.graph.shape(op.outputs[0]))
            for op in self.graph.program.walk()
            if op.name in ("logistic", "tanh") and self.learned(op.outputs[0]) and self.batch(op.outputs[0])
        )
        return not self.recurrences and max(gates.values(), default=0) >= UNROLLED


def find_roles(program: FlatJaxpr, params: list[int], batch: list[int], key: list[int]) -> Roles:
    """Finds the organs of a loss.

    Args:
        program: a function of parameters, batch and key that returns the loss first.
        params: which of its inputs are parameters.
        batch: which are fields of a batch.
        key: which are randomness.
    """
    graph = Dataflow(program)
    seeds = dict.fromkeys(params, PARAMS) | dict.fromkeys(key, KEY) | {n: FIELD << i for i, n in enumerate(batch)}
    for op in program.walk():
        if op.name.startswith(("random_bits", "threefry", "rng_")):
            seeds |= dict.fromkeys(op.outputs, RANDOM)
    body = Roles(graph, graph.stains(seeds))
    body.logits = find_logits(body)
    if body.logits is not None:
        body.targets = find_targets(body)
    else:
        body.prediction, body.goal = find_prediction(body)
    alive = needed(program, frozenset())
    body.recurrences = find_recurrences(graph, lambda n: body.learned(n) and body.batch(n))
    body.code = find_code(body, alive)
    for op in program.walk():
        first = op.inputs[0] if op.inputs else -1
        if op.name == "gather" and body.learned(first) and not body.batch(first) and body.batch(op.inputs[1]):
            if len(graph.shape(first)) == 2 and graph.floating(first):
                body.embedded.append(op.outputs[0])
        elif op.name in ("lt", "le", "gt", "ge") and body.stain[op.outputs[0]] & RANDOM and graph.floating(first):
            if np.prod(graph.shape(op.outputs[0])) > 1:
                body.masks.append(op.outputs[0])
        elif op.name == "erf_inv" and body.stain[op.outputs[0]] & RANDOM:
            body.drawn.append(op.outputs[0])
        elif op.name in ("rsqrt", "sqrt") and body.learned(first) and body.batch(first):
            body.norms += find_norm(body, op)
    return body


def find_logits(body: Roles) -> int | None:
    """Returns the last value that a softmax on its way to a logarithm takes."""
    found = None
    for op in body.graph.program.walk():
        if op.name != "exp" or not (body.learned(op.outputs[0]) and body.graph.floating(op.outputs[0])):
            continue
        last = len(body.graph.shape(op.outputs[0])) - 1
        summed = [t for t in body.graph.takers[op.outputs[0]] if t.name == "reduce_sum"]
        if not any(tuple(t.equation.params["axes"]) == (last,) for t in summed):
            continue
        after = body.graph.reach(op.outputs[0], _NORMALISED)
        if any(body.graph.maker[n].name == "log" for n in after if n in body.graph.maker):
            shifted = body.graph.maker.get(op.inputs[0])
            found = shifted.inputs[0] if shifted is not None and shifted.name == "sub" else op.inputs[0]
    return found


def find_targets(body: Roles) -> int | None:
    """Returns the ids at which probabilities of the logits are looked up, or the table that they are multiplied by."""
    graph, logits = body.graph, body.logits
    if logits is None:
        return None
    shape = graph.shape(logits)
    after = graph.reach(logits, _NORMALISED | {"exp"})
    found = None
    for op in graph.program.walk():
        if (
            op.name == "gather"
            and op.inputs[0] in after
            and not body.learned(op.inputs[1])
            and body.batch(op.inputs[1])
        ):
            found = op.inputs[1]
        if op.name in ("mul", "dot_general") and len(op.inputs) == 2:
            for ours, theirs in (op.inputs, op.inputs[::-1]):
                if ours in after and body.batch(theirs) and not body.learned(theirs) and graph.shape(theirs) == shape:
                    found = counted(body, theirs) if found is None else found
    return found


def counted(body: Roles, table: int) -> int:
    """Returns the ids that a table of zeros and ones was made of, or the table."""
    maker = body.graph.maker.get(body.graph.back(table))
    if maker is None or maker.name != "eq":
        return table
    return next((body.graph.back(number) for number in maker.inputs if body.batch(number)), table)


def find_prediction(body: Roles) -> tuple[int | None, int | None]:
    """Returns what the last squared or absolute difference was between: parameters' work, and the batch's alone."""
    graph = body.graph
    found: tuple[int | None, int | None] = (None, None)
    for op in graph.program.walk():
        squared = op.name in ("square", "abs") or (op.name == "integer_pow" and op.equation.params["y"] == 2)
        if not squared and not (op.name == "mul" and op.inputs[0] == op.inputs[1]):
            continue
        difference = graph.maker.get(graph.back(op.inputs[0]))
        if difference is not None and difference.name == "mul":
            sides = [graph.maker.get(graph.back(number)) for number in difference.inputs]
            difference = next((side for side in sides if side is not None and side.name == "sub"), None)
        if difference is None or difference.name != "sub":
            continue
        for ours, theirs in (difference.inputs, difference.inputs[::-1]):
            if body.learned(ours) and body.batch(theirs) and not body.learned(theirs) and graph.shape(ours):
                found = (ours, theirs)
    return found


def find_code(body: Roles, alive: list[Op]) -> list[int]:
    """Returns the fewest numbers that carry all that the rest of the program knows of earlier recurrences."""
    graph = body.graph
    marks = [op for op in alive if op.body is not None and body.batch(op.outputs[0])]
    if not marks:
        marks = [op for op in alive if op.name in ("logistic", "tanh") and body.learned(op.outputs[0])]
    if not marks:
        return []
    seen = graph.stains({number: 1 for op in marks for number in op.outputs})
    place = {number: at for at, op in enumerate(alive) for number in op.outputs}
    last_use: dict[int, int] = {number: len(alive) for number in graph.program.outputs}
    for at, op in enumerate(alive):
        for number in op.inputs:
            last_use[number] = max(last_use.get(number, 0), at)
    first = alive.index(marks[0])
    end = alive.index(marks[-1]) if len(marks) > 1 else place.get(body.logits or body.prediction or -1, len(alive) - 1)
    values = [n for n in place if seen[n] and graph.floating(n) and body.batch(n) and graph.shape(n)]
    best: list[int] = []
    size = 0
    for at in range(first, end):
        live = [n for n in values if place[n] <= at < last_use.get(n, -1)]
        total = sum(int(np.prod(graph.shape(n))) for n in live)
        if live and (not best or total <= size):
            best, size = live, total
    return best


def find_norm(body: Roles, op: Op) -> list[tuple[str, tuple[int, ...], tuple[int, ...], bool]]:
    """Returns the axes over which a standard deviation was taken, unless over all of them."""
    through = TRANSPARENT | {"add", "sub", "max", "div", "mul", "select_n"}
    for number in body.graph.ancestors(op.inputs[0], through, 10):
        maker = body.graph.maker.get(number)
        if maker is not None and maker.name == "reduce_sum":
            shape = body.graph.shape(maker.inputs[0])
            axes = tuple(maker.equation.params["axes"])
            if len(axes) < len(shape):
                return [(op.scope, axes, shape, op.outputs[0] in body.graph.home)]
            return []
    return []
