"""One look at a loss from within: what its organs hold, and what the loss's gradient says of them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hae_jax.doctor.inputs.arrays import Arrays
from hae_jax.doctor.inputs.normalize import NormalizedSetup
from hae_jax.doctor.tracing.dataflow import TRANSPARENT
from hae_jax.doctor.tracing.interpreter import ONCE, FlatJaxpr, run, trace
from hae_jax.doctor.tracing.roles import Roles, find_roles

ENDS = (0.05, 0.95)
"""A gate below the one or above the other is saturated."""


class Interventions(NamedTuple):
    """What is done to the loss while it runs.

    Attributes:
        order: which example's code each example is given.
        scale: what codes are multiplied by.
        noise: added to embedded ids, one array a table look-up.
        still: whether dropout keeps everything and drawn numbers are zero.
        hold: whether codes are the held ones.
        held: codes of another look.
    """

    order: Any
    scale: Any
    noise: list[Any]
    still: Any
    hold: Any
    held: list[Any]


class Activations(NamedTuple):
    """What a look hears; lists follow the anatomy's.

    Attributes:
        loss: the loss.
        values: logits, targets, prediction, goal, where there are any.
        code: what is alive at the narrowest place, before it was changed.
        states: for each recurrence, for each state, [step, ...] after each step.
        starts: the same before the first step, for recurrences that stand in no other.
        forget: mean of each recurrence's forget gates.
        saturated: share of its gates at an end.
        kept: share of what dropout keeps, for each mask.
    """

    loss: Any
    values: dict[str, Any]
    code: list[Any]
    states: list[list[Any]]
    starts: list[list[Any]]
    forget: list[Any]
    saturated: list[Any]
    kept: list[Any]


class Gradients(NamedTuple):
    """Gradients of the loss: of parameters, of logits or predictions, and the norms of those of states."""

    loss: Any
    params: Arrays
    output: Any
    states: list[list[Any]]


@dataclass
class TracedLoss:
    """A traced loss, its organs, and the compiled ways to look at them."""

    case: NormalizedSetup
    program: FlatJaxpr
    anatomy: Roles
    size: int

    @property
    def output(self) -> int | None:
        """What the loss is taken of: logits, or a prediction."""
        return self.anatomy.prediction if self.anatomy.logits is None else self.anatomy.logits

    def knobs(
        self,
        order: Any = None,
        scale: float = 1.0,
        noise: list[Any] | None = None,
        still: bool = True,
        held: list[Any] | None = None,
    ) -> Interventions:
        """Returns knobs that change nothing but what is given; without noise, as most probes want it."""
        graph = self.anatomy.graph
        zeros = [np.zeros(graph.shape(n), np.float32) for n in self.tables]
        codes = [np.zeros(graph.shape(n), np.float32) for n in self.anatomy.code] if held is None else held
        order = np.arange(self.size) if order is None else np.asarray(order)
        return Interventions(
            order, np.float32(scale), noise or zeros, np.bool_(still), np.bool_(held is not None), codes
        )

    @property
    def tables(self) -> list[int]:
        """Table look-ups that stand in no loop."""
        return [n for n in self.anatomy.embedded if n not in self.anatomy.graph.home]

    def axis(self, number: int) -> int | None:
        """Returns the axis of a value that examples lie along, alone or in blocks; None if there is none."""
        shape = self.anatomy.graph.shape(number)
        for fits in (lambda n: n == self.size, lambda n: n > self.size and n % self.size == 0):
            found = next((at for at, n in enumerate(shape) if fits(n)), None)
            if found is not None:
                return found
        return None

    def hear(self, params: Arrays, batch: Arrays, knobs: Interventions | None = None, key: Any = None) -> Activations:
        """Runs the loss and listens."""
        knobs = knobs or self.knobs()
        return jax.device_get(self._hear(params, batch, self.case.key if key is None else key, knobs))

    def feel(self, params: Arrays, batch: Arrays) -> Gradients:
        """Differentiates the loss with respect to parameters, outputs and states."""
        return jax.device_get(self._feel(params, batch, self.case.key))

    def looked_up(self, params: Arrays, batch: Arrays) -> list[Any]:
        """Returns the ids that each of the tables is asked for."""
        asked = {n: self.anatomy.graph.maker[n].inputs[1] for n in self.tables}
        values = [jnp.asarray(leaf) for leaf in (*params, *batch)]
        taken = jax.jit(
            lambda v, key: run(self.program, [*v, key], frozenset(asked.values()))[1], compiler_options=ONCE
        )
        heard = jax.device_get(taken(values, self.case.key))
        return [heard[number] for number in asked.values()]

    def read(self, params: Arrays, batch: Arrays) -> list[Any]:
        """Returns the numbers of the batch that products with parameters take."""
        body, found = self.anatomy, []
        for op in self.program.walk():
            if op.name == "dot_general":
                ours, theirs = op.inputs
                for here, there in ((ours, theirs), (theirs, ours)):
                    if not body.learned(there) or body.batch(there):
                        continue
                    # Beside a state, perhaps, that is multiplied by the same kernel.
                    parts = body.graph.ancestors(here, TRANSPARENT | {"concatenate"})
                    found += [n for n in parts if body.batch(n) and not body.learned(n) and body.graph.floating(n)][:1]
        if not found:
            return []
        values = [jnp.asarray(leaf) for leaf in (*params, *batch)]
        taken = jax.jit(lambda v, key: run(self.program, [*v, key], frozenset(found))[1], compiler_options=ONCE)
        return jax.device_get(list(taken(values, self.case.key).values()))

    @cached_property
    def _hear(self) -> Any:
        body = self.anatomy
        organs = {"logits": body.logits, "targets": body.targets, "prediction": body.prediction, "goal": body.goal}
        named = {name: number for name, number in organs.items() if number is not None}
        ends = [[r.op.body.outputs[at] for at in r.carry] for r in body.recurrences]  # type: ignore[union-attr]
        begins = [[r.op.inputs[self._first(r) + at] for at in r.carry] for r in body.recurrences]
        taps = {*named.values(), *body.masks, *(n for r in body.recurrences for n in (*r.forget, *r.gates))}
        taps |= {n for group in ends for n in group} | set(body.code)
        taps |= {n for r, group in zip(body.recurrences, begins, strict=True) if not r.nested for n in group}

        def look(params: Arrays, batch: Arrays, key: Any, knobs: Interventions) -> Activations:
            clean: dict[int, Any] = {}

            def change(number: int, held: Any) -> Any:
                def edit(value: Any) -> Any:
                    clean[number] = value
                    new = self._permute(number, value, knobs.order) * knobs.scale.astype(value.dtype)
                    return jnp.where(knobs.hold, held.astype(value.dtype), new)

                return edit

            edits = {n: change(n, held) for n, held in zip(body.code, knobs.held, strict=True)}
            edits |= dict.fromkeys(body.masks, lambda kept: kept | knobs.still)
            edits |= dict.fromkeys(body.drawn, lambda drawn: jnp.where(knobs.still, 0, drawn))
            nudges = {n: x.astype(body.graph.kind(n)) for n, x in zip(self.tables, knobs.noise, strict=True)}
            out, heard = run(self.program, [*params, *batch, key], frozenset(taps), nudges, edits)
            mean = [
                jnp.stack([heard[n].mean() for n in r.forget]).mean() if r.forget else jnp.nan for r in body.recurrences
            ]
            ends_share = [
                jnp.stack([((heard[n] < ENDS[0]) | (heard[n] > ENDS[1])).mean() for n in r.gates]).mean()
                if r.gates
                else jnp.nan
                for r in body.recurrences
            ]
            return Activations(
                out[0],
                {name: heard[number] for name, number in named.items()},
                [clean[n] for n in body.code],
                [[heard[n] for n in group] for group in ends],
                [
                    [] if r.nested else [heard[n] for n in group]
                    for r, group in zip(body.recurrences, begins, strict=True)
                ],
                mean,
                ends_share,
                [heard[n].mean() for n in body.masks],
            )

        return jax.jit(look, compiler_options=ONCE)

    @cached_property
    def _feel(self) -> Any:
        body = self.anatomy
        watched = [r for r in body.recurrences if not r.nested]
        ends = {n: r.steps for r in watched for n in (r.op.body.outputs[at] for at in r.carry)}  # type: ignore[union-attr]
        output = self.output
        around = () if output is None else self._around(output)

        def look(params: Arrays, batch: Arrays, key: Any) -> Gradients:
            avals = self.program.avals
            nudges = {n: jnp.zeros((steps, *avals[n].shape), avals[n].dtype) for n, steps in ends.items()}
            if output is not None:
                nudges[output] = jnp.zeros((*around, *avals[output].shape), avals[output].dtype)

            def loss(params: Arrays, nudges: Any) -> Any:
                return run(self.program, [*params, *batch, key], nudges=nudges)[0][0]

            value, (gradient, nudged) = jax.value_and_grad(loss, (0, 1))(params, nudges)
            norms = [
                [jnp.sqrt(jnp.square(nudged[r.op.body.outputs[at]].astype(jnp.float32)).sum(-1)) for at in r.carry]  # type: ignore[union-attr]
                for r in watched
            ]
            return Gradients(value, gradient, nudged.get(output), norms)

        return jax.jit(look, compiler_options=ONCE)

    def _around(self, number: int) -> tuple[int, ...]:
        """Returns the steps of the loops that a value stands in, the outermost first."""
        loop = self.anatomy.graph.home.get(number)
        return () if loop is None else (*self._around(loop.outputs[0]), loop.equation.params["length"])

    def _first(self, recurrence: Any) -> int:
        body = recurrence.op.body
        return len(body.inputs) - body.sliced - body.carry

    def _permute(self, number: int, value: Any, order: Any) -> Any:
        axis = self.axis(number)
        if axis is None:
            return value
        block = value.shape[axis] // self.size
        split = value.reshape(*value.shape[:axis], self.size, block, *value.shape[axis + 1 :])
        return jnp.take(split, order, axis=axis).reshape(value.shape)


def trace_loss(case: NormalizedSetup, size: int) -> TracedLoss:
    """Traces a patient's loss and finds its organs."""
    fields = [jnp.asarray(leaf) for leaf in case.batches[0]]
    count = len(case.params)

    def flat(*values: Any) -> Any:
        return case.loss(list(values[:count]), list(values[count:-1]), values[-1])

    program = trace(flat, *case.params, *fields, case.key)
    inputs = program.inputs
    anatomy = find_roles(program, inputs[:count], inputs[count:-1], inputs[-1:])
    return TracedLoss(case, program, anatomy, size)
