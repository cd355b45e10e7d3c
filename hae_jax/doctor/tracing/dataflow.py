"""Dataflow of a flat jaxpr: producers and consumers of variables, ancestors, descendants and taint, across scans."""

from collections import defaultdict
from collections.abc import Collection

from hae_jax.doctor.tracing.interpreter import FlatJaxpr, Op

TRANSPARENT = {
    "reshape", "squeeze", "broadcast_in_dim", "convert_element_type", "slice", "split", "transpose", "copy", "copy_p",
    "stop_gradient", "expand_dims", "dynamic_slice", "unstack", "reduce_precision", "optimization_barrier", "rev",
}  # fmt: skip
"""Operations that change the form of a value only."""
ELEMENTWISE = TRANSPARENT | {"add", "sub", "mul", "select_n", "add_any", "concatenate", "neg", "pad", "max", "min"}


class Dataflow:
    """Edges between the operations of a jaxpr.

    Attributes:
        jaxpr: the whole jaxpr.
        producer: the operation that binds a variable.
        consumers: the operations that read it.
        operand_of: variable outside of a scan that an input of its body starts as.
        result_of: variable of a scan's body that an output of the scan ends as.
        scan_of: the scan whose body binds a variable.
    """

    def __init__(self, jaxpr: FlatJaxpr):
        self.jaxpr = jaxpr
        self.producer: dict[int, Op] = {}
        self.consumers: dict[int, list[Op]] = defaultdict(list)
        self.operand_of: dict[int, int] = {}
        self.result_of: dict[int, int] = {}
        self.scan_of: dict[int, Op] = {}
        self._add(jaxpr, None)

    def _add(self, jaxpr: FlatJaxpr, scan: Op | None) -> None:
        for op in jaxpr.ops:
            for var in op.outputs:
                self.producer[var] = op
                if scan is not None:
                    self.scan_of[var] = scan
            for var in op.inputs:
                self.consumers[var].append(op)
            if op.body is not None:
                self.operand_of |= dict(zip(op.body.inputs, op.inputs, strict=True))
                self.result_of |= dict(zip(op.outputs, op.body.outputs, strict=True))
                self._add(op.body, op)

    def shape(self, var: int) -> tuple[int, ...]:
        """Returns the shape of a variable; within a scan, of one step."""
        return tuple(getattr(self.jaxpr.avals[var], "shape", ()))

    def dtype(self, var: int) -> str:
        """Returns the name of a variable's dtype."""
        return str(getattr(self.jaxpr.avals[var], "dtype", ""))

    def is_float(self, var: int) -> bool:
        """Returns whether a variable holds real numbers."""
        return "float" in self.dtype(var)

    def origin(self, var: int, through: Collection[str] = TRANSPARENT) -> int:
        """Follows a variable back to where it was computed, through operations that change its form only."""
        while True:
            op = self.producer.get(var)
            if op is None:
                if var not in self.operand_of:
                    return var
                var = self.operand_of[var]
            elif op.body is not None:
                var = self.result_of[var]
            elif op.name in through and op.inputs:
                var = op.inputs[0]
            else:
                return var

    def computed_by(self, var: int | None) -> Op | None:
        """Returns the operation that computed a variable, changes of form aside; None for None or an input."""
        return None if var is None else self.producer.get(self.origin(var))

    def ancestors(self, var: int, through: Collection[str], depth: int = 40) -> list[int]:
        """Returns the variables that a variable is computed from by the given operations alone, itself first."""
        found, frontier = [var], [var]
        while frontier and depth:
            depth -= 1
            parents = []
            for each in frontier:
                op = self.producer.get(each)
                if op is not None and op.name in through:
                    parents += [parent for parent in op.inputs if parent not in found]
                elif op is not None and op.body is not None:
                    parents.append(self.result_of[each])
                elif op is None and each in self.operand_of:
                    parents.append(self.operand_of[each])
            frontier = list(dict.fromkeys(parent for parent in parents if parent not in found))
            found += frontier
        return found

    def descendants(self, var: int, through: Collection[str]) -> set[int]:
        """Returns the variables computed from a variable by the given operations alone, itself included."""
        found, frontier = {var}, [var]
        scan_outputs, body_inputs = defaultdict(list), defaultdict(list)
        for outer, inner in self.result_of.items():
            scan_outputs[inner].append(outer)
        for inner, outer in self.operand_of.items():
            body_inputs[outer].append(inner)
        while frontier:
            each = frontier.pop()
            children = [child for op in self.consumers[each] if op.name in through for child in op.outputs]
            for child in (*children, *scan_outputs[each], *body_inputs[each]):
                if child not in found:
                    found.add(child)
                    frontier.append(child)
        return found

    def taint(self, seeds: dict[int, int]) -> dict[int, int]:
        """Propagates taint from variables to all that depend on them.

        Args:
            seeds: taint of variables, as bits.

        Returns:
            The taint of every variable.
        """
        taint: dict[int, int] = defaultdict(int, seeds)

        def propagate(jaxpr: FlatJaxpr) -> None:
            for op in jaxpr.ops:
                if op.body is None:
                    bits = 0
                    for var in op.inputs:
                        bits |= taint[var]
                    for var in op.outputs:
                        taint[var] |= bits
                    continue
                body = op.body
                for inner, outer in zip(body.inputs, op.inputs, strict=True):
                    taint[inner] |= taint[outer]
                # To the fixed point: taint of one carried variable may reach another one a step later.
                for _ in range(2 * body.carry + 1):
                    propagate(body)
                    before = [taint[var] for var in body.carried]
                    for carried, new in zip(body.carried, body.outputs, strict=False):
                        taint[carried] |= taint[new]
                    if before == [taint[var] for var in body.carried]:
                        break
                for outer, inner in zip(op.outputs, body.outputs, strict=True):
                    taint[outer] |= taint[inner]

        propagate(self.jaxpr)
        return taint
