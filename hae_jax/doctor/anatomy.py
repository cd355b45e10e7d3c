"""Finds the organs of a traced loss: logits and targets, predictions, recurrences and their gates, the code.

Each is known by what is done with it. Logits are what is exponentiated, summed over its last axis, and then goes into a
logarithm. A forget gate is a sigmoid that multiplies what a loop carries. The code is the narrowest place of the program:
the fewest numbers that are alive at once between the first recurrence and the last.
"""

from dataclasses import dataclass, field

import numpy as np

from hae_jax.doctor.graph import ELEMENTWISE, TRANSPARENT, Graph
from hae_jax.doctor.program import Op, Program, needed

PARAMS, KEY, RANDOM = 1, 2, 4
"""Colours of what depends upon the parameters, the key, and drawn numbers; each field of a batch has one of the next."""
FIELD = 8
_NORMALISED = TRANSPARENT | {
    "reduce_sum", "abs", "log", "div", "gather", "add", "sub", "max", "clamp", "select_n", "mul", "neg", "sign", "min",
}  # fmt: skip
"""Operations on the way from an exponential to the loss."""
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


@dataclass
class Anatomy:
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

    graph: Graph
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


def dissect(program: Program, params: list[int], batch: list[int], key: list[int]) -> Anatomy:
    """Finds the organs of a loss.

    Args:
        program: a function of parameters, batch and key that returns the loss first.
        params: which of its inputs are parameters.
        batch: which are fields of a batch.
        key: which are randomness.
    """
    graph = Graph(program)
    seeds = {n: PARAMS for n in params} | {n: KEY for n in key} | {n: FIELD << i for i, n in enumerate(batch)}
    for op in program.walk():
        if op.name.startswith(("random_bits", "threefry", "rng_")):
            seeds |= {number: RANDOM for number in op.outputs}
    body = Anatomy(graph, graph.stains(seeds))
    body.logits = find_logits(body)
    if body.logits is not None:
        body.targets = find_targets(body)
    else:
        body.prediction, body.goal = find_prediction(body)
    alive = needed(program, frozenset())
    body.recurrences = find_recurrences(body)
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


def find_logits(body: Anatomy) -> int | None:
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


def find_targets(body: Anatomy) -> int | None:
    """Returns the ids at which probabilities of the logits are looked up, or the table that they are multiplied by."""
    graph, logits = body.graph, body.logits
    if logits is None:
        return None
    shape = graph.shape(logits)
    after = graph.reach(logits, _NORMALISED | {"exp"})
    found = None
    for op in graph.program.walk():
        if op.name == "gather" and op.inputs[0] in after and not body.learned(op.inputs[1]) and body.batch(op.inputs[1]):
            found = op.inputs[1]
        if op.name in ("mul", "dot_general") and len(op.inputs) == 2:
            for ours, theirs in (op.inputs, op.inputs[::-1]):
                if ours in after and body.batch(theirs) and not body.learned(theirs) and graph.shape(theirs) == shape:
                    found = counted(body, theirs) if found is None else found
    return found


def counted(body: Anatomy, table: int) -> int:
    """Returns the ids that a table of zeros and ones was made of, or the table."""
    maker = body.graph.maker.get(body.graph.back(table))
    if maker is None or maker.name != "eq":
        return table
    return next((body.graph.back(number) for number in maker.inputs if body.batch(number)), table)


def find_prediction(body: Anatomy) -> tuple[int | None, int | None]:
    """Returns what the last squared or absolute difference was between: parameters' work, and the batch's alone."""
    graph, found = body.graph, (None, None)
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


def find_recurrences(body: Anatomy) -> list[Recurrence]:
    """Returns the loops that carry what parameters and batch have made."""
    graph, found = body.graph, []
    for op in graph.program.walk():
        if op.body is None:
            continue
        loop, states = op.body, []
        for at, (own, new) in enumerate(zip(loop.carried, loop.outputs, strict=False)):
            size = int(np.prod(graph.shape(own))) if graph.shape(own) else 0
            if graph.floating(own) and size >= _ROWS and body.learned(new) and body.batch(new):
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
        every = tuple(at for at, _, _ in states)
        length = int(op.equation.params["length"])
        found.append(Recurrence(op, name, length, outer, every, tuple(dict.fromkeys(cells)), tuple(dict.fromkeys(forget)), gates, squashed))
    return found


def raw(graph: Graph, number: int, given: set[int]) -> bool:
    """Says whether a product of a loop's inputs comes through to a value without a function that bounds it."""
    seen, edge = {number}, [number]
    while edge:
        op = graph.maker.get(edge.pop())
        if op is None or op.body is not None:
            continue
        if op.name == "dot_general" and any(given & set(graph.ancestors(n, TRANSPARENT | {"concatenate"})) for n in op.inputs[:1]):
            return True
        if op.name in ELEMENTWISE | {"dot_general", "exp", "integer_pow"}:
            fresh = [n for n in op.inputs if n not in seen and n not in given]
            seen |= set(fresh)
            edge += fresh
    return False


def sigmoid(graph: Graph, op: Op) -> bool:
    """Says whether an operation is the last of a sigmoid: the primitive, or 1 / (1 + exp(-x)) by hand."""
    if op.name == "logistic":
        return True
    if op.name != "div":
        return False
    below = graph.maker.get(graph.back(op.inputs[1]))
    return below is not None and below.name == "add" and any(
        (maker := graph.maker.get(graph.back(number))) is not None and maker.name == "exp" for number in below.inputs
    )


def sources(graph: Graph, number: int) -> set[int]:
    """Returns the values that a gate may be a part of, or one minus of."""
    return set(graph.ancestors(number, TRANSPARENT | {"sub"}, 8))


def find_code(body: Anatomy, alive: list[Op]) -> list[int]:
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
    best, size = [], 0
    for at in range(first, end):
        live = [n for n in values if place[n] <= at < last_use.get(n, -1)]
        total = sum(int(np.prod(graph.shape(n))) for n in live)
        if live and (not best or total <= size):
            best, size = live, total
    return best


def find_norm(body: Anatomy, op: Op) -> list[tuple[str, tuple[int, ...], tuple[int, ...], bool]]:
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
