"""Interpreter of flat jaxprs: evaluates a traced function again, and records, perturbs or edits its variables.

What a user's loss computes is opaque Python, but its jaxpr is not. Calls are inlined, scans stay scans, and each
variable has a number, so that a probe can record variable 117, differentiate with respect to zeros added to it, or
permute its rows. This works for any model that JAX can trace, whatever library it was written with.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Literal

CALLS = ("jaxpr", "call_jaxpr", "fun_jaxpr")
"""Parameters under which a primitive that only calls another jaxpr keeps it."""
OPAQUE = {"scan", "while", "cond", "pallas_call", "custom_linear_solve", "custom_root"}
"""Primitives that hold jaxprs and do more than call them."""
Edits = Mapping[int, Callable[[Any], Any]]
"""Functions that replace the values of variables."""
FAST_COMPILE = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""XLA options for functions that are called a few times only: compiling them with all passes would take far longer."""


@dataclass(frozen=True)
class Op:
    """One equation of a jaxpr.

    Attributes:
        name: of the primitive.
        inputs: variables that it reads.
        outputs: variables that it binds.
        equation: the JAX equation.
        scope: path of the Flax module that it belongs to, as far as known.
        body: the body of a scan.
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    equation: Any
    scope: str
    body: "FlatJaxpr | None" = None


@dataclass
class FlatJaxpr:
    """Operations in order of execution, over numbered variables.

    Attributes:
        inputs: arguments; of a scan's body: constants, then carry, then slices.
        outputs: results; of a scan's body: carry, then what is stacked.
        ops: the operations.
        constants: values that do not depend on the inputs.
        avals: type and shape of every variable, those of all bodies included.
        carry: number of variables carried by a scan's body.
        sliced: number of variables that are slices of a scanned array.
    """

    inputs: list[int]
    outputs: list[int] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)
    constants: dict[int, Any] = field(default_factory=dict)
    avals: dict[int, Any] = field(default_factory=dict)
    carry: int = 0
    sliced: int = 0

    @property
    def first_carry(self) -> int:
        """Position of the first carried variable among the inputs of a scan's body."""
        return len(self.inputs) - self.sliced - self.carry

    @property
    def carried(self) -> list[int]:
        """Input variables that a scan's body carries into a step."""
        return self.inputs[self.first_carry : self.first_carry + self.carry]

    def walk(self) -> Iterator[Op]:
        """Yields all operations, those of a body after their scan."""
        for op in self.ops:
            yield op
            if op.body is not None:
                yield from op.body.walk()

    def variables(self) -> set[int]:
        """Returns all variables, those of bodies included."""
        found = set(self.inputs) | set(self.constants)
        for op in self.ops:
            found |= set(op.outputs)
            if op.body is not None:
                found |= op.body.variables()
        return found


def trace(function: Callable[..., Any], *args: Any) -> FlatJaxpr:
    """Traces a function of arrays.

    Example:
        >>> jaxpr = trace(lambda x: jnp.tanh(x) + 1, jnp.zeros(3))
        >>> [op.name for op in jaxpr.ops]
        ['tanh', 'add']
    """
    closed = jax.make_jaxpr(function)(*args)
    return _flatten(closed, itertools.count(), {})


def _flatten(closed: Any, counter: Iterator[int], avals: dict[int, Any]) -> FlatJaxpr:
    jaxpr, consts = _open(closed)
    flat = FlatJaxpr([], avals=avals)
    numbers: dict[Any, int] = {}

    def new(aval: Any) -> int:
        number = next(counter)
        avals[number] = aval
        return number

    def read(atom: Any, numbers: dict[Any, int]) -> int:
        if not isinstance(atom, Literal):
            return numbers[atom]
        number = new(atom.aval)
        flat.constants[number] = atom.val
        return number

    def inline(jaxpr: Any, numbers: dict[Any, int], scope: str) -> None:
        for equation in jaxpr.eqns:
            inputs = tuple(read(atom, numbers) for atom in equation.invars)
            path = "/".join(part for part in (scope, str(equation.source_info.name_stack)) if part)
            name, params = equation.primitive.name, equation.params
            called = None if name in OPAQUE else next((params[key] for key in CALLS if key in params), None)
            inner, values = _open(called)
            if inner is not None and len(inner.invars) == len(inputs):
                inner_numbers = dict(zip(inner.invars, inputs, strict=True))
                for var, value in zip(inner.constvars, values, strict=True):
                    inner_numbers[var] = new(var.aval)
                    flat.constants[inner_numbers[var]] = value
                inline(inner, inner_numbers, path)
                results = (read(atom, inner_numbers) for atom in inner.outvars)
                numbers.update(zip(equation.outvars, results, strict=True))
                continue
            body = None
            if name == "scan":
                body = _flatten(params["jaxpr"], counter, avals)
                # The parameters of scan differ between JAX versions, so the number of carried variables is read off
                # the shapes: a stacked array has one axis more than its slices.
                pairs = zip(equation.outvars, body.outputs, strict=True)
                body.carry = sum(outer.aval.shape == avals[inner].shape for outer, inner in pairs)
                operands = zip(inputs, body.inputs, strict=True)
                body.sliced = sum(len(avals[outer].shape) > len(avals[inner].shape) for outer, inner in operands)
            outputs = tuple(new(var.aval) for var in equation.outvars)
            numbers.update(zip(equation.outvars, outputs, strict=True))
            flat.ops.append(Op(name, inputs, outputs, equation, path, body))

    for var in jaxpr.invars:
        numbers[var] = new(var.aval)
        flat.inputs.append(numbers[var])
    for var, value in zip(jaxpr.constvars, consts, strict=True):
        numbers[var] = new(var.aval)
        flat.constants[numbers[var]] = value
    inline(jaxpr, numbers, "")
    flat.outputs = [read(atom, numbers) for atom in jaxpr.outvars]
    return flat


def _open(jaxpr: Any) -> tuple[Any, list[Any]]:
    """Returns an open jaxpr and its constants; (None, []) if the argument is no jaxpr."""
    if hasattr(jaxpr, "jaxpr") and hasattr(jaxpr, "consts"):
        return jaxpr.jaxpr, list(jaxpr.consts)
    return (jaxpr, []) if hasattr(jaxpr, "eqns") and not jaxpr.constvars else (None, [])


def evaluate(
    jaxpr: FlatJaxpr,
    args: list[Any],
    record: frozenset[int] = frozenset(),
    perturbations: Mapping[int, Any] | None = None,
    edits: Edits | None = None,
) -> tuple[list[Any], dict[int, Any]]:
    """Evaluates a flat jaxpr.

    Args:
        jaxpr: what `trace` returned.
        args: its arguments.
        record: variables to record; those of a scan's body are stacked over its steps.
        perturbations: what to add to variables, with a leading axis over steps for each scan around the variable.
        edits: functions that replace values, applied before perturbations.

    Returns:
        The results, and the values of the recorded variables.
    """
    perturbations, edits = perturbations or {}, edits or {}
    env: dict[int, Any] = dict(jaxpr.constants)
    recorded: dict[int, Any] = {var: value for var, value in env.items() if var in record}

    def bind(var: int, value: Any) -> None:
        if var in edits:
            value = edits[var](value)
        if var in perturbations:
            value = value + perturbations[var]
        if var in record:
            recorded[var] = value
        env[var] = value

    for var, value in zip(jaxpr.inputs, args, strict=True):
        bind(var, value)
    for op in live_ops(jaxpr, record):
        operands = [env[var] for var in op.inputs]
        if op.body is not None:
            results, recorded_inside = _scan(op, op.body, operands, record, perturbations, edits)
            recorded |= recorded_inside
        else:
            primitive = op.equation.primitive
            bound = primitive.bind(*operands, **primitive.get_bind_params(op.equation.params))
            results = list(bound) if primitive.multiple_results else [bound]
        for var, value in zip(op.outputs, results, strict=True):
            bind(var, value)
    return [env[var] for var in jaxpr.outputs], recorded


def _scan(
    op: Op,
    body: FlatJaxpr,
    operands: list[Any],
    record: frozenset[int],
    perturbations: Mapping[int, Any],
    edits: Edits,
) -> tuple[list[Any], dict[int, Any]]:
    variables = body.variables()
    record = frozenset(record & variables)
    perturbations = {var: value for var, value in perturbations.items() if var in variables}
    first = body.first_carry
    constants, carry = operands[:first], operands[first : first + body.carry]

    def step(carry: list[Any], xs: Any) -> tuple[list[Any], Any]:
        slices, perturbations = xs
        results, recorded = evaluate(body, [*constants, *carry, *slices], record, perturbations, edits)
        # A scan requires that the types of its carry stay; those of a literal may be weaker.
        new = [
            value.astype(old.dtype) if hasattr(old, "dtype") else value
            for value, old in zip(results, carry, strict=False)
        ]
        return new, (results[body.carry :], recorded)

    carry = [jnp.asarray(value) for value in carry]
    params, xs = op.equation.params, (operands[first + body.carry :], perturbations)
    last, (stacked, recorded) = jax.lax.scan(step, carry, xs, length=params["length"], reverse=params["reverse"])
    return [*last, *stacked], recorded


def live_ops(jaxpr: FlatJaxpr, record: frozenset[int] = frozenset()) -> list[Op]:
    """Returns the operations that results and recorded variables depend on, in order."""
    wanted, found = set(jaxpr.outputs) | record, []
    for op in reversed(jaxpr.ops):
        if wanted & set(op.outputs) or (op.body is not None and record & op.body.variables()):
            found.append(op)
            wanted |= set(op.inputs)
    return found[::-1]
