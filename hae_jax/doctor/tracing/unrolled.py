"""Finds loops that Python unrolled: steps of a program that are alike, each reading what the one before computed.

A weight matrix multiplies a chain of states, each computed from the one before. All operations between two such
products are one step.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from hae_jax.doctor.tracing.program import Line, Program

MIN_STEPS = 4
"""Least number of steps of a loop that is rolled up."""
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
        # The first or the last step may differ from all others.
        for first, last in ((0, count), (1, count), (0, count - 1), (1, count - 1)):
            if last - first >= MIN_STEPS:
                shifted = defaultdict(int, {var: max(0, number - first) for var, number in level.items()})
                loop = match(program, shifted, last - first)
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
        if line.outputs and 0 <= level[line.outputs[0]] <= count:
            by_level[level[line.outputs[0]]].append(line)
    pattern = pattern_of(program, level, by_level[2])
    # What prepares the next step is missing after the last one, so it belongs to the step that it prepares.
    last = aligned([line.kind for line in pattern], by_level[count], partly=True)
    is_main = [found is not None for found in last]
    steps: list[list[Line]] = []
    prepared: list[list[Line]] = [[]]
    for number in range(1, count + 1):
        kinds = [line.kind for line, main in zip(pattern, is_main, strict=True) if main or number < count]
        step = aligned(kinds, by_level[number])
        if not any(is_main) or None in step:
            return None
        split = [main for main in is_main if main] if number == count else is_main
        steps.append([line for line, main in zip(step, split, strict=True) if line is not None and main])
        prepared.append([line for line, main in zip(step, split, strict=True) if line is not None and not main])
    # Nothing is prepared after the last step.
    prepared.pop()
    if prepared[-1]:
        first = producers(program, steps, prepared[1])
        if first is None:
            return None
        prepared[0] = first
    return connect([[*ready, *step] for ready, step in zip(prepared, steps, strict=True)], level)


def producers(program: Program, steps: list[list[Line]], pattern: list[Line]) -> list[Line] | None:
    """Returns the lines that prepare the first step, given those that prepare the second one."""
    made_by = {var: line for line in program.lines for var in line.outputs}
    found: dict[int, Line] = {}
    for line in reversed(pattern):
        pairs = [
            *zip(steps[1], steps[0], strict=True),
            *((each, found[id(each)]) for each in pattern if id(each) in found),
        ]
        slots = [
            made_by.get(first.inputs[slot])
            for second, first in pairs
            for slot, var in enumerate(second.inputs)
            if var in line.outputs
        ]
        if not slots or slots[0] is None or slots[0].kind != line.kind:
            return None
        found[id(line)] = slots[0]
    return [found[id(line)] for line in pattern]


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


def aligned(kinds: list[Any], lines: list[Line], partly: bool = False) -> list[Line | None]:
    """Returns lines of the given kinds, in their order; None for those that are missing.

    Unless `partly`, nothing is found after a missing one.
    """
    found: list[Line | None] = []
    start = 0
    for kind in kinds:
        at = next((at for at in range(start, len(lines)) if lines[at].kind == kind), None)
        found.append(None if at is None else lines[at])
        if at is not None:
            start = at + 1
        elif not partly:
            return [*found, *[None] * (len(kinds) - len(found))]
    return found


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
