"""Rolls up loops that Python unrolled: steps of one recurrence become a scan.

A recurrence that is written as a Python loop over a cell leaves one copy of the cell per step in the traced program.
The copies are found (`unrolled`) and replaced by a scan, which compiles faster, and in which states and gates can be
measured.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import jaxpr_as_fun

from hae_jax.doctor.tracing.program import Line, Program, read
from hae_jax.doctor.tracing.unrolled import Loop, Value, find_loop

MAX_LOOPS = 24
"""Largest number of loops that are rolled up in one program."""


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


def compute(line: Line, operands: Iterable[Any]) -> list[Any]:
    """Returns the results of an operation, in its scope."""
    primitive = line.equation.primitive
    with jax.named_scope(line.scope) if line.scope else contextlib.nullcontext():
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

        later: dict[int, tuple[Any, int]] = {}

        def value_of(var: int) -> Any:
            if var in later:
                output, number = later.pop(var)
                env[var] = output[number]
            return env[var]

        def bind(line: Line) -> None:
            env.update(zip(line.outputs, compute(line, map(value_of, line.inputs)), strict=True))

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
        whole: dict[tuple[int, ...], Any] = {}
        for value, output in zip(stacked, outputs, strict=True):
            at, out = value
            whole[tuple(step[at].outputs[out] for step in loop.steps)] = output
            for number, step in enumerate(loop.steps):
                var = step[at].outputs[out]
                if used[var]:
                    if value in final and number == len(loop.steps) - 1:
                        env[var] = final[value]
                    else:
                        later[var] = (output, number)
        for line in outside:
            if any(loop.level[var] for var in line.outputs):
                joined = join(line, whole, value_of)
                if joined is None:
                    bind(line)
                else:
                    env[line.outputs[0]] = joined
        return [value_of(var) for var in program.outputs]

    return evaluate


def join(line: Line, whole: dict[tuple[int, ...], Any], value_of: Callable[[int], Any]) -> Any:
    """Returns the result of a line that joins one value of all steps, from the scan's stacked output; else None.

    The value of a step before the scan may precede them.
    """
    name, params = line.equation.primitive.name, line.equation.params
    axis = {"stack": params.get("axis"), "concatenate": params.get("dimension")}.get(name)
    if axis is None:
        return None
    for inputs, backwards in ((line.inputs, False), (line.inputs[::-1], True)):
        earlier = next((at for at in (0, 1) if inputs[at:] in whole), None)
        if earlier is not None:
            values = whole[inputs[earlier:]]
            if earlier:
                values = jnp.concatenate([value_of(inputs[0])[None], values])
            values = jnp.moveaxis(values[::-1] if backwards else values, 0, axis)
            return values if name == "stack" else values.reshape(line.equation.outvars[0].aval.shape)
    return None
