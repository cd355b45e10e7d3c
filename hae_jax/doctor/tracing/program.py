"""Programs: jaxprs with their calls inlined, in which each value is computed only once."""

from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jax.extend.core import Literal

INLINED = ("jit", "pjit", "closed_call")
"""Calls that are replaced by their bodies."""
SMALL = 64
"""Largest number of elements of constants that are compared."""


@dataclass
class Line:
    """An operation of a program: variables that it reads and binds, and all that makes it equal to another one."""

    equation: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    scope: str
    kind: Any


@dataclass
class Program:
    """A jaxpr with its calls inlined, and with each value computed only once.

    Attributes:
        inputs: arguments.
        outputs: results.
        lines: operations in order.
        constants: values of variables that depend on nothing.
    """

    inputs: list[int]
    outputs: list[int] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    constants: dict[int, Any] = field(default_factory=dict)


def read(closed: Any) -> Program:
    """Returns a closed jaxpr as a program."""
    program, avals = Program([]), []
    known: dict[Any, Any] = {}

    def new(aval: Any) -> int:
        avals.append(aval)
        return len(avals) - 1

    def constant(value: Any, aval: Any) -> int:
        array = np.asarray(value) if not jax.dtypes.issubdtype(aval.dtype, jax.dtypes.extended) else None
        key = None if array is None or array.size > SMALL else (str(aval), array.tobytes())
        if key is None or key not in known:
            known[key] = new(aval)
            program.constants[known[key]] = value
        return int(known[key])

    def inline(jaxpr: Any, names: dict[Any, int], scope: str) -> None:
        for equation in jaxpr.eqns:
            inputs = tuple(
                constant(atom.val, atom.aval) if isinstance(atom, Literal) else names[atom] for atom in equation.invars
            )
            path = "/".join(part for part in (scope, own_scope(equation)) if part)
            params, name = equation.params, equation.primitive.name
            if name in INLINED and hasattr(params.get("jaxpr", params.get("call_jaxpr")), "consts"):
                inner = params.get("jaxpr", params.get("call_jaxpr"))
                inside = dict(zip(inner.jaxpr.invars, inputs, strict=True))
                for var, value in zip(inner.jaxpr.constvars, inner.consts, strict=True):
                    inside[var] = constant(value, var.aval)
                inline(inner.jaxpr, inside, path)
                results = [
                    constant(atom.val, atom.aval) if isinstance(atom, Literal) else inside[atom]
                    for atom in inner.jaxpr.outvars
                ]
                names.update(zip(equation.outvars, results, strict=True))
                continue
            kind = (
                name, tuple(sorted((key, _hashable(value)) for key, value in params.items())),
                tuple(str(avals[var]) for var in inputs), tuple(str(var.aval) for var in equation.outvars),
            )  # fmt: skip
            same = (kind, inputs)
            if equation.effects or same not in known:
                outputs = tuple(new(var.aval) for var in equation.outvars)
                program.lines.append(Line(equation, inputs, outputs, path, kind))
                known[same] = outputs
            names.update(zip(equation.outvars, known[same], strict=True))

    names: dict[Any, int] = {}
    for var in closed.jaxpr.invars:
        names[var] = new(var.aval)
        program.inputs.append(names[var])
    for var, value in zip(closed.jaxpr.constvars, closed.consts, strict=True):
        names[var] = constant(value, var.aval)
    inline(closed.jaxpr, names, "")
    program.outputs = [
        constant(atom.val, atom.aval) if isinstance(atom, Literal) else names[atom] for atom in closed.jaxpr.outvars
    ]
    return program


def _hashable(value: Any) -> str:
    return repr(value) if not callable(value) else f"{id(value)}"


def own_scope(equation: Any) -> str:
    """Returns the scope of an equation without the names of PyTorch operations, such as aten::add."""
    return "/".join(part for part in str(equation.source_info.name_stack).split("/") if "::" not in part)
