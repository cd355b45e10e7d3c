"""A traced function as a flat list of operations, which can be run again with ears and hands inside.

What a user's loss computes is opaque Python; what JAX traced of it is not. Calls are inlined, loops stay loops, and
each value has a number of its own, so that a probe may say: give me value 117, add zeros to it and differentiate, or
permute its rows. This works for any model that can be traced, whoever wrote it, with whatever library.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Literal

CALLS = ("jaxpr", "call_jaxpr", "fun_jaxpr")
"""Parameters in which a primitive that merely calls another program keeps it."""
OPAQUE = {"scan", "while", "cond", "pallas_call", "custom_linear_solve", "custom_root"}
"""Primitives that hold programs, and do more than to call them."""
Edits = Mapping[int, Callable[[Any], Any]]
ONCE = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""How to compile what runs a few times only: with all its passes XLA takes far longer than such a run."""


@dataclass(frozen=True)
class Op:
    """One operation.

    Attributes:
        name: of the primitive.
        inputs: numbers of the values that it takes.
        outputs: numbers of those that it makes.
        equation: what JAX traced.
        scope: path of the Flax module that it stands in, as far as known.
        body: the loop's body, for a scan.
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    equation: Any
    scope: str
    body: "FlatJaxpr | None" = None


@dataclass
class FlatJaxpr:
    """Operations in order.

    Attributes:
        inputs: values that the program is given: of a loop's body constants, then carry, then slices.
        outputs: values that it returns: of a loop's body carry, then what is stacked.
        ops: what it does.
        constants: values that do not depend on the inputs.
        avals: type and shape of every value, those of all bodies included.
        carry: number of values that a loop's body carries.
        sliced: number of values that it takes slices of.
    """

    inputs: list[int]
    outputs: list[int] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)
    constants: dict[int, Any] = field(default_factory=dict)
    avals: dict[int, Any] = field(default_factory=dict)
    carry: int = 0
    sliced: int = 0

    @property
    def carried(self) -> list[int]:
        """Values that a loop's body carries into a step."""
        start = len(self.inputs) - self.sliced - self.carry
        return self.inputs[start : start + self.carry]

    def walk(self) -> Iterator[Op]:
        """Yields all operations, those of a body after their loop."""
        for op in self.ops:
            yield op
            if op.body is not None:
                yield from op.body.walk()

    def numbers(self) -> set[int]:
        """Returns the numbers of all values in here."""
        found = set(self.inputs) | set(self.constants)
        for op in self.ops:
            found |= set(op.outputs)
            if op.body is not None:
                found |= op.body.numbers()
        return found


def trace(function: Callable[..., Any], *args: Any) -> FlatJaxpr:
    """Traces a function of arrays.

    Example:
        >>> program = trace(lambda x: jnp.tanh(x) + 1, jnp.zeros(3))
        >>> [op.name for op in program.ops]
        ['tanh', 'add']
    """
    closed = jax.make_jaxpr(function)(*args)
    return _read(closed, itertools.count(), {})


def _read(closed: Any, fresh: Iterator[int], avals: dict[int, Any]) -> FlatJaxpr:
    jaxpr, consts = _parts(closed)
    program = FlatJaxpr([], avals=avals)
    names: dict[Any, int] = {}

    def new(aval: Any) -> int:
        number = next(fresh)
        avals[number] = aval
        return number

    def read(atom: Any, names: dict[Any, int]) -> int:
        if not isinstance(atom, Literal):
            return names[atom]
        number = new(atom.aval)
        program.constants[number] = atom.val
        return number

    def inline(jaxpr: Any, names: dict[Any, int], scope: str) -> None:
        for equation in jaxpr.eqns:
            inputs = tuple(read(atom, names) for atom in equation.invars)
            here = "/".join(part for part in (scope, str(equation.source_info.name_stack)) if part)
            name = equation.primitive.name
            held = None if name in OPAQUE else next((equation.params[k] for k in CALLS if k in equation.params), None)
            inner, values = _parts(held)
            if inner is not None and len(inner.invars) == len(inputs):
                within = dict(zip(inner.invars, inputs, strict=True))
                for var, value in zip(inner.constvars, values, strict=True):
                    within[var] = new(var.aval)
                    program.constants[within[var]] = value
                inline(inner, within, here)
                names.update({o: read(i, within) for o, i in zip(equation.outvars, inner.outvars, strict=True)})
                continue
            body = None
            if name == "scan":
                body = _read(equation.params["jaxpr"], fresh, avals)
                # How many are carried is said in other words by each version of JAX; a stacked array has an axis more.
                body.carry = sum(
                    o.aval.shape == avals[i].shape for o, i in zip(equation.outvars, body.outputs, strict=True)
                )
                pairs = zip(inputs, body.inputs, strict=True)
                body.sliced = sum(len(avals[outer].shape) > len(avals[own].shape) for outer, own in pairs)
            outputs = tuple(new(var.aval) for var in equation.outvars)
            names.update(zip(equation.outvars, outputs, strict=True))
            program.ops.append(Op(name, inputs, outputs, equation, here, body))

    for var in jaxpr.invars:
        names[var] = new(var.aval)
        program.inputs.append(names[var])
    for var, value in zip(jaxpr.constvars, consts, strict=True):
        names[var] = new(var.aval)
        program.constants[names[var]] = value
    inline(jaxpr, names, "")
    program.outputs = [read(atom, names) for atom in jaxpr.outvars]
    return program


def _parts(held: Any) -> tuple[Any, list[Any]]:
    """Returns a jaxpr, closed or open, and its constants; None if it is none."""
    if hasattr(held, "jaxpr") and hasattr(held, "consts"):
        return held.jaxpr, list(held.consts)
    return (held, []) if hasattr(held, "eqns") and not held.constvars else (None, [])


def run(
    program: FlatJaxpr,
    values: list[Any],
    taps: frozenset[int] = frozenset(),
    nudges: Mapping[int, Any] | None = None,
    edits: Edits | None = None,
) -> tuple[list[Any], dict[int, Any]]:
    """Runs a program.

    Args:
        program: what to run.
        values: its inputs.
        taps: values to listen to; those of a loop's body are stacked over its steps.
        nudges: what to add to values, with an axis over steps for each loop that the value stands in.
        edits: functions that change values, applied before nudges.

    Returns:
        The program's outputs, and what the taps heard.
    """
    nudges, edits = nudges or {}, edits or {}
    known: dict[int, Any] = dict(program.constants)
    heard: dict[int, Any] = {}

    def settle(number: int, value: Any) -> None:
        if number in edits:
            value = edits[number](value)
        if number in nudges:
            value = value + nudges[number]
        if number in taps:
            heard[number] = value
        known[number] = value

    for number, value in zip(program.inputs, values, strict=True):
        settle(number, value)
    for op in needed(program, taps):
        given = [known[number] for number in op.inputs]
        if op.body is not None:
            found, inside = _loop(op, given, taps, nudges, edits)
            heard |= inside
        else:
            primitive = op.equation.primitive
            made = primitive.bind(*given, **primitive.get_bind_params(op.equation.params))
            found = list(made) if primitive.multiple_results else [made]
        for number, value in zip(op.outputs, found, strict=True):
            settle(number, value)
    return [known[number] for number in program.outputs], heard


def _loop(op: Op, given: list[Any], taps: frozenset[int], nudges: Mapping[int, Any], edits: Edits) -> Any:
    body = op.body
    if body is None:
        raise ValueError(f"op must be a scan, got {op.name}. Run it as it is.")
    inside = body.numbers()
    listened = frozenset(taps & inside)
    nudged = {number: value for number, value in nudges.items() if number in inside}
    first = len(given) - body.sliced - body.carry
    constants, carry, slices = given[:first], given[first : first + body.carry], given[first + body.carry :]

    def step(carry: list[Any], now: Any) -> tuple[list[Any], Any]:
        slices, added = now
        made, heard = run(body, [*constants, *carry, *slices], listened, added, edits)
        # A scan insists on the types that it began with; a literal's may be weaker.
        new = [
            value.astype(old.dtype) if hasattr(old, "dtype") else value for value, old in zip(made, carry, strict=False)
        ]
        return new, (made[body.carry :], heard)

    carry = [jnp.asarray(value) for value in carry]
    params = op.equation.params
    last, (stacked, heard) = jax.lax.scan(
        step, carry, (slices, nudged), length=params["length"], reverse=params["reverse"]
    )
    return [*last, *stacked], heard


def needed(program: FlatJaxpr, taps: frozenset[int]) -> list[Op]:
    """Returns the operations that outputs and taps depend upon, in order."""
    wanted, found = set(program.outputs) | taps, []
    for op in reversed(program.ops):
        if wanted & set(op.outputs) or (op.body is not None and taps & op.body.numbers()):
            found.append(op)
            wanted |= set(op.inputs)
    return found[::-1]
