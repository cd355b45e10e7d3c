"""Who makes a value, who takes it, and what it depends upon: questions to a traced program."""

from collections import defaultdict
from collections.abc import Collection, Iterable

from hae_jax.doctor.tracing.interpreter import FlatJaxpr, Op

TRANSPARENT = {
    "reshape", "squeeze", "broadcast_in_dim", "convert_element_type", "slice", "split", "transpose", "copy", "copy_p",
    "stop_gradient", "expand_dims", "dynamic_slice", "unstack", "reduce_precision", "optimization_barrier", "rev",
}  # fmt: skip
"""Operations that say the same in another form."""
ELEMENTWISE = TRANSPARENT | {"add", "sub", "mul", "select_n", "add_any", "concatenate", "neg", "pad", "max", "min"}


class Dataflow:
    """The arrows of a program, across the borders of its loops.

    Attributes:
        program: the whole.
        maker: the operation that makes a value.
        takers: the operations that take it.
    """

    def __init__(self, program: FlatJaxpr):
        self.program = program
        self.maker: dict[int, Op] = {}
        self.takers: dict[int, list[Op]] = defaultdict(list)
        self.outside: dict[int, int] = {}
        """Value outside of a loop that a body's input begins as."""
        self.within: dict[int, int] = {}
        """Value of a loop's body that an output of the loop ends as."""
        self.home: dict[int, Op] = {}
        """The loop whose body an operation's outputs belong to."""
        self._enter(program, None)

    def _enter(self, program: FlatJaxpr, loop: Op | None) -> None:
        for op in program.ops:
            for number in op.outputs:
                self.maker[number] = op
                if loop is not None:
                    self.home[number] = loop
            for number in op.inputs:
                self.takers[number].append(op)
            if op.body is not None:
                self.outside |= dict(zip(op.body.inputs, op.inputs, strict=True))
                self.within |= dict(zip(op.outputs, op.body.outputs, strict=True))
                self._enter(op.body, op)

    def shape(self, number: int) -> tuple[int, ...]:
        """Returns the shape of a value, for one step where it stands in a loop."""
        return tuple(getattr(self.program.avals[number], "shape", ()))

    def kind(self, number: int) -> str:
        """Returns the type of a value's elements."""
        return str(getattr(self.program.avals[number], "dtype", ""))

    def floating(self, number: int) -> bool:
        """Says whether a value holds real numbers."""
        return "float" in self.kind(number)

    def back(self, number: int, through: Collection[str] = TRANSPARENT) -> int:
        """Follows a value to where it was made, through operations that take one value and change its form only."""
        while True:
            op = self.maker.get(number)
            if op is None:
                if number not in self.outside:
                    return number
                number = self.outside[number]
            elif op.body is not None:
                number = self.within[number]
            elif op.name in through and op.inputs:
                number = op.inputs[0]
            else:
                return number

    def ancestors(self, number: int, through: Collection[str], steps: int = 40) -> list[int]:
        """Returns the values that a value is made of by some operations alone, itself first."""
        found, edge = [number], [number]
        while edge and steps:
            steps -= 1
            fresh = []
            for each in edge:
                op = self.maker.get(each)
                if op is not None and op.name in through:
                    fresh += [i for i in op.inputs if i not in found]
                elif op is not None and op.body is not None:
                    fresh.append(self.within[each])
                elif op is None and each in self.outside:
                    fresh.append(self.outside[each])
            edge = list(dict.fromkeys(f for f in fresh if f not in found))
            found += edge
        return found

    def reach(self, number: int, through: Collection[str]) -> set[int]:
        """Returns the values that are made of a value by some operations alone, across the borders of loops."""
        found, edge = {number}, [number]
        inner = defaultdict(list)
        for outer, own in self.within.items():
            inner[own].append(outer)
        entered = defaultdict(list)
        for own, outer in self.outside.items():
            entered[outer].append(own)
        while edge:
            each = edge.pop()
            fresh = [o for op in self.takers[each] if op.name in through for o in op.outputs]
            fresh += inner[each] + entered[each]
            for one in fresh:
                if one not in found:
                    found.add(one)
                    edge.append(one)
        return found

    def stains(self, seeds: dict[int, int], loops: Iterable[Op] = ()) -> dict[int, int]:
        """Lets colours flow from values to all that depend upon them.

        Args:
            seeds: colours of the values where they begin, as bits.
            loops: loops whose outputs get a colour each, from the lowest bit that no seed has.

        Returns:
            The colours of every value.
        """
        first = max((value.bit_length() for value in seeds.values()), default=0)
        marks = {id(op): 1 << (first + at) for at, op in enumerate(loops)}
        stain: dict[int, int] = defaultdict(int, seeds)

        def flow(program: FlatJaxpr) -> None:
            for op in program.ops:
                colour = 0
                for number in op.inputs:
                    colour |= stain[number]
                if op.body is not None:
                    body = op.body
                    for own, outer in zip(body.inputs, op.inputs, strict=True):
                        stain[own] |= stain[outer]
                    for _ in range(2 * body.carry + 1):
                        flow(body)
                        before = [stain[number] for number in body.carried]
                        for own, new in zip(body.carried, body.outputs, strict=False):
                            stain[own] |= stain[new]
                        if before == [stain[number] for number in body.carried]:
                            break
                    for number, own in zip(op.outputs, body.outputs, strict=True):
                        stain[number] |= stain[own] | marks.get(id(op), 0)
                else:
                    for number in op.outputs:
                        stain[number] |= colour | stain.get(number, 0)

        flow(self.program)
        return stain
