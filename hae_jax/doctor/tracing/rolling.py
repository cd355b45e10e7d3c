"""Rolls up loops that Python unrolled: steps of one recurrence become a scan.

A recurrence that is written as a Python loop over a cell leaves one copy of the cell per step in the traced program.
The copies are found by a weight matrix that multiplies a chain of states, each computed from the one before. All
operations between two such products are one step. If the steps are alike, and each reads what the one before it
computed, they are replaced by a scan, which compiles faster, and in which states and gates can be measured.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import jaxpr_as_fun

from hae_jax.doctor.tracing.program import Line, Program, read

MIN_STEPS = 4
"""Least number of steps of a loop that is rolled up."""
MAX_LOOPS = 24
"""Largest number of loops that are rolled up in one program."""
Value = tuple[int, int]
"""A result of a step of a loop: which of its operations, and which of that operation's outputs."""


@dataclass
class Loop:
    """Steps of a program that are alike.

    Attributes:
        steps: the lines of each step, those of one step in the same order as those of any other.
        carry: results of a step that the next one reads, with the variable that the first step reads instead.
        sources: for each line of a step and each of its operands: ("inside", value), ("carry", value),
            ("same", variable) or ("slice", number of the variables in `slices`).
        slices: variables that differ from step to step and that no step computes.
        level: number of steps that each variable depends on.
    """

    steps: list[list[Line]]
    carry: dict[Value, int]
    sources: list[list[tuple[str, Any]]]
    slices: list[tuple[int, ...]]
    level: dict[int, int]


def rolled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function that computes the same, with its unrolled loops as scans.

    It is traced once for each set of shapes; what it does beside returning arrays happens only then.

    Example:
        >>> def loop(weights, state):
        ...     for _ in range(9):
        ...         state = jnp.tanh(state @ weights)
        ...     return state
        >>> jaxpr = jax.make_jaxpr(rolled(loop))(jnp.eye(3), jnp.ones((2, 3)))
        >>> [equation.primitive.name for equation in jaxpr.eqns]
        ['scan']
    """
    programs: dict[Any, tuple[Callable[..., Any], Any]] = {}

    def call(*args: Any) -> Any:
        leaves, tree = jax.tree.flatten(args)
        leaves = [leaf if hasattr(leaf, "dtype") else jnp.asarray(leaf) for leaf in leaves]
        key = (tree, tuple((leaf.shape, str(leaf.dtype)) for leaf in leaves))
        if key not in programs:
            programs[key] = _compile(function, leaves, tree)
        program, result_tree = programs[key]
        return jax.tree.unflatten(result_tree, program(*leaves))

    return call


def _compile(function: Callable[..., Any], leaves: list[Any], tree: Any) -> tuple[Callable[..., Any], Any]:
    shapes = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves]
    result_tree: list[Any] = []

    def flat(*leaves: Any) -> list[Any]:
        results, structure = jax.tree.flatten(function(*jax.tree.unflatten(tree, leaves)))
        result_tree.append(structure)
        return [jnp.asarray(each) for each in results]

    closed = jax.make_jaxpr(flat)(*shapes)
    for _ in range(MAX_LOOPS):
        program = read(closed)
        loop = find_loop(program)
        if loop is None:
            break
        closed = jax.make_jaxpr(run(program, loop))(*shapes)
    return jaxpr_as_fun(closed), result_tree[0]


def find_loop(program: Program) -> Loop | None:
    """Returns the first loop that can be rolled up; None if there is none."""
    users: dict[tuple[int, int], list[int]] = defaultdict(list)
    for at, line in enumerate(program.lines):
        if line.equation.primitive.name == "dot_general":
            for slot, var in enumerate(line.inputs):
                users[(slot, var)].append(at)
    for anchors in sorted(users.values()):
        if len(anchors) < MIN_STEPS:
            continue
        level = levels(program, set(anchors))
        count = max(level.values(), default=0)
        for last in (count, count - 1):
            if last >= MIN_STEPS:
                loop = match(program, level, last)
                if loop is not None:
                    return loop
    return None


def levels(program: Program, anchors: set[int]) -> dict[int, int]:
    """Returns, for each variable, the largest number of anchors on a way to it."""
    level: dict[int, int] = defaultdict(int)
    for at, line in enumerate(program.lines):
        highest = max((level[var] for var in line.inputs), default=0) + (at in anchors)
        for var in line.outputs:
            level[var] = highest
    return level


def match(program: Program, level: dict[int, int], count: int) -> Loop | None:
    """Returns the loop of the first `count` steps, if these are alike."""
    by_level: dict[int, list[Line]] = defaultdict(list)
    for line in program.lines:
        if line.outputs and 0 < level[line.outputs[0]] <= count:
            by_level[level[line.outputs[0]]].append(line)
    pattern = pattern_of(program, level, by_level[2])
    steps = []
    for number in range(1, count + 1):
        step = aligned([line.kind for line in pattern], by_level[number])
        if step is None:
            return None
        steps.append(step)
    return connect(steps, level)


def pattern_of(program: Program, level: dict[int, int], lines: list[Line]) -> list[Line]:
    """Returns the lines of the second step that the third one needs, or that need nothing else of earlier steps."""
    needed: set[int] = set()
    for line in reversed(program.lines):
        if (line.outputs and (level[line.outputs[0]] > 2 and _anchored(line, level))) or (
            line.outputs and level[line.outputs[0]] <= 2 and needed & set(line.outputs)
        ):
            needed |= set(line.inputs)
    own = {var for line in lines for var in line.outputs}
    kept: list[Line] = []
    computed: set[int] = set()
    for line in lines:
        core = bool(needed & set(line.outputs))
        free = all(level[var] == 0 or var in computed or var in needed for var in line.inputs)
        if core or (free and not any(var in own and var not in computed for var in line.inputs)):
            kept.append(line)
            computed |= set(line.outputs)
    return kept


def _anchored(line: Line, level: dict[int, int]) -> bool:
    """Returns whether a line is the product that begins the third step."""
    return level[line.outputs[0]] == 3 and max((level[var] for var in line.inputs), default=0) == 2


def aligned(kinds: list[Any], lines: list[Line]) -> list[Line] | None:
    """Returns lines of the given kinds, in their order; None if some are missing."""
    found: list[Line] = []
    for line in lines:
        if len(found) < len(kinds) and line.kind == kinds[len(found)]:
            found.append(line)
    return found if len(found) == len(kinds) and found else None


def connect(steps: list[list[Line]], level: dict[int, int]) -> Loop | None:
    """Returns the loop of steps, if each operand has the same source in all of them."""
    made: list[dict[int, Value]] = [
        {var: (at, out) for at, line in enumerate(step) for out, var in enumerate(line.outputs)} for step in steps
    ]
    carry: dict[Value, int] = {}
    slices: list[tuple[int, ...]] = []
    sources: list[list[tuple[str, Any]]] = []
    for at in range(len(steps[0])):
        row: list[tuple[str, Any]] = []
        for slot in range(len(steps[0][at].inputs)):
            variables = tuple(step[at].inputs[slot] for step in steps)
            inside = {made[number].get(var) for number, var in enumerate(variables)}
            before = {made[number - 1].get(var) for number, var in enumerate(variables) if number}
            if len(inside) == 1 and None not in inside:
                row.append(("inside", inside.pop()))
            elif len(before) == 1 and None not in before and level[variables[0]] == 0:
                value = before.pop()
                if carry.setdefault(value, variables[0]) != variables[0]:  # type: ignore[arg-type]
                    return None
                row.append(("carry", value))
            elif any(level[var] for var in variables):
                return None
            elif len(set(variables)) == 1:
                row.append(("same", variables[0]))
            else:
                if variables not in slices:
                    slices.append(variables)
                row.append(("slice", slices.index(variables)))
        sources.append(row)
    return Loop(steps, carry, sources, slices, level) if carry else None


def compute(line: Line, operands: Iterable[Any]) -> list[Any]:
    """Returns the results of an operation, in its scope."""
    primitive = line.equation.primitive
    scope = jax.named_scope(line.scope) if line.scope else jax.named_scope("loop")
    with scope:
        bound = primitive.bind(*operands, **primitive.get_bind_params(line.equation.params))
    return list(bound) if primitive.multiple_results else [bound]


def run(program: Program, loop: Loop) -> Callable[..., list[Any]]:
    """Returns a function that evaluates a program with a loop as a scan."""
    inside = {id(line) for step in loop.steps for line in step}
    outside = [line for line in program.lines if id(line) not in inside]
    used = Counter(var for line in outside for var in line.inputs) + Counter(program.outputs)
    values = [(at, out) for at, line in enumerate(loop.steps[0]) for out in range(len(line.outputs))]
    stacked = [(at, out) for at, out in values if any(used[step[at].outputs[out]] for step in loop.steps)]

    def evaluate(*args: Any) -> list[Any]:
        env = dict(program.constants) | dict(zip(program.inputs, args, strict=True))

        def bind(line: Line) -> None:
            env.update(zip(line.outputs, compute(line, [env[var] for var in line.inputs]), strict=True))

        for line in outside:
            if not any(loop.level[var] for var in line.outputs):
                bind(line)
        slices = [jnp.stack([env[var] for var in variables]) for variables in loop.slices]

        def body(states: list[Any], now: list[Any]) -> tuple[list[Any], list[Any]]:
            carried = dict(zip(loop.carry, states, strict=True))
            results: dict[Value, Any] = {}
            tables: dict[str, Any] = {"inside": results, "carry": carried, "same": env, "slice": now}
            for at, line in enumerate(loop.steps[0]):
                operands = [tables[kind][source] for kind, source in loop.sources[at]]
                results.update({(at, out): value for out, value in enumerate(compute(line, operands))})
            new = [results[value].astype(old.dtype) for value, old in zip(loop.carry, states, strict=True)]
            return new, [results[value] for value in stacked]

        initial = [jnp.asarray(env[first], jnp.result_type(env[first])) for first in loop.carry.values()]
        scope = next((line.scope for line in loop.steps[0] if line.scope), "loop")
        with jax.named_scope(scope):
            last, outputs = jax.lax.scan(body, initial, slices, length=len(loop.steps))
        final = dict(zip(loop.carry, last, strict=True))
        for value, output in zip(stacked, outputs, strict=True):
            at, out = value
            for number, step in enumerate(loop.steps):
                var = step[at].outputs[out]
                if used[var]:
                    ends = value in final and number == len(loop.steps) - 1
                    env[var] = final[value] if ends else output[number]
        for line in outside:
            if any(loop.level[var] for var in line.outputs):
                bind(line)
        return [env[var] for var in program.outputs]

    return evaluate
