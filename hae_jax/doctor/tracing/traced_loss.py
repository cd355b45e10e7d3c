"""A traced loss: its activations under interventions, and its gradients with respect to outputs and states."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hae_jax.doctor.inputs.arrays import Arrays
from hae_jax.doctor.inputs.normalize import NormalizedSetup
from hae_jax.doctor.tracing.dataflow import TRANSPARENT
from hae_jax.doctor.tracing.interpreter import FAST_COMPILE, FlatJaxpr, evaluate, trace
from hae_jax.doctor.tracing.recurrences import SATURATION
from hae_jax.doctor.tracing.roles import find_roles
from hae_jax.doctor.tracing.variables import Roles

OUTPUTS = ("logits", "targets", "prediction", "goal")
"""Roles whose values are recorded by name."""


class Interventions(NamedTuple):
    """What is changed in the loss while it runs.

    Attributes:
        order: permutation of the examples' codes.
        scale: factor of the codes.
        embedding_noise: added to embedded ids, one array for each lookup.
        deterministic: whether dropout keeps everything and normal noise is zero.
        replace_code: whether codes are replaced by `code`.
        code: codes of another batch.
    """

    order: Any
    scale: Any
    embedding_noise: list[Any]
    deterministic: Any
    replace_code: Any
    code: list[Any]


class Activations(NamedTuple):
    """Recorded values; lists are in the order of the roles.

    Attributes:
        loss: the loss.
        values: logits, targets, prediction and goal, as far as they exist.
        code: the code before interventions.
        states: for each recurrence, each state after each step, [step, ...].
        initial_states: the same before the first step; empty for nested recurrences.
        forget: mean of the forget gates of each recurrence; nan without any.
        saturated: share of saturated gates of each recurrence; nan without gates.
        driven: the same without units whose gate is at the same end on average, where its bias keeps it.
        kept: share that each dropout mask keeps.
    """

    loss: Any
    values: dict[str, Any]
    code: list[Any]
    states: list[list[Any]]
    initial_states: list[list[Any]]
    forget: list[Any]
    saturated: list[Any]
    driven: list[Any]
    kept: list[Any]


class Gradients(NamedTuple):
    """Gradients of the loss.

    Attributes:
        loss: the loss.
        params: gradient of each parameter.
        output: gradient of logits or prediction; None without either.
        states: for each recurrence that is not nested, the norms of the gradients of its states, [step, ...].
    """

    loss: Any
    params: Arrays
    output: Any
    states: list[list[Any]]


@dataclass
class TracedLoss:
    """A traced loss and the roles of its variables.

    Attributes:
        setup: the setup that it is the loss of.
        jaxpr: a function of parameters, fields of a batch and key.
        roles: which variable is what.
        batch_size: examples in a batch.
    """

    setup: NormalizedSetup
    jaxpr: FlatJaxpr
    roles: Roles
    batch_size: int

    @property
    def lookups(self) -> list[int]:
        """Results of embedding lookups outside of scans."""
        return [var for var in self.roles.embeddings if var not in self.roles.graph.scan_of]

    def interventions(
        self,
        order: Any = None,
        scale: float = 1.0,
        embedding_noise: list[Any] | None = None,
        deterministic: bool = True,
        code: list[Any] | None = None,
    ) -> Interventions:
        """Returns interventions that change nothing but what is given; by default the loss is deterministic."""
        zeros = {var: np.zeros(self.roles.graph.shape(var), np.float32) for var in (*self.lookups, *self.roles.code)}
        return Interventions(
            np.arange(self.batch_size) if order is None else np.asarray(order),
            np.float32(scale),
            embedding_noise or [zeros[var] for var in self.lookups],
            np.bool_(deterministic),
            np.bool_(code is not None),
            [zeros[var] for var in self.roles.code] if code is None else code,
        )

    def example_axis(self, var: int) -> int | None:
        """Returns the axis that examples lie along, singly or in blocks of rows; None if there is none."""
        shape, size = self.roles.graph.shape(var), self.batch_size
        for axis, length in enumerate(shape):
            if length == size:
                return axis
        return next((axis for axis, length in enumerate(shape) if length > size and length % size == 0), None)

    def run(
        self, params: Arrays, batch: Arrays, interventions: Interventions | None = None, key: Any = None
    ) -> Activations:
        """Evaluates the loss under interventions, and returns its activations."""
        interventions = interventions or self.interventions()
        key = self.setup.key if key is None else key
        return jax.device_get(self._run(params, batch, key, interventions))

    def differentiate(self, params: Arrays, batch: Arrays) -> Gradients:
        """Differentiates the loss with respect to parameters, output and states."""
        return jax.device_get(self._differentiate(params, batch, self.setup.key))

    def lookup_ids(self, params: Arrays, batch: Arrays) -> list[Any]:
        """Returns the ids of each embedding lookup outside of scans."""
        ids = [self.roles.graph.producer[var].inputs[1] for var in self.lookups]
        recorded = self.record(params, batch, ids)
        return [recorded[var] for var in ids]

    def product_inputs(self, params: Arrays, batch: Arrays) -> list[Any]:
        """Returns the real numbers of the batch that are multiplied by matrices of parameters."""
        roles, found = self.roles, []
        for op in self.jaxpr.walk():
            if op.name in ("dot_general", "conv_general_dilated"):
                for operand, kernel in (op.inputs, op.inputs[::-1]):
                    if roles.from_params(kernel) and not roles.from_batch(kernel):
                        # The operand may be concatenated with a state that the same kernel multiplies.
                        parts = roles.graph.ancestors(operand, TRANSPARENT | {"concatenate"})
                        found += [var for var in parts if roles.is_data(var) and roles.graph.is_float(var)][:1]
        return list(self.record(params, batch, found).values()) if found else []

    def record(self, params: Arrays, batch: Arrays, variables: Iterable[int]) -> dict[int, Any]:
        """Evaluates the loss, and returns the values of variables."""
        record = frozenset(variables)
        args = [jnp.asarray(leaf) for leaf in (*params, *batch)]

        def recorded(args: list[Any], key: Any) -> dict[int, Any]:
            return evaluate(self.jaxpr, [*args, key], record)[1]

        return jax.device_get(jax.jit(recorded, compiler_options=FAST_COMPILE)(args, self.setup.key))

    @cached_property
    def _run(self) -> Any:
        roles = self.roles
        outputs = {name: var for name in OUTPUTS if (var := getattr(roles, name)) is not None}
        record = {*outputs.values(), *roles.dropout_masks, *roles.code}
        for each in roles.recurrences:
            record.update(each.forget, each.gates, each.new_states, [] if each.nested else each.initial_states)

        def run(params: Arrays, batch: Arrays, key: Any, interventions: Interventions) -> Activations:
            code: dict[int, Any] = {}

            def edit_code(var: int, replacement: Any) -> Any:
                def edit(value: Any) -> Any:
                    code[var] = value
                    scale = interventions.scale.astype(value.dtype)
                    changed = self._permute(var, value, interventions.order) * scale
                    return jnp.where(interventions.replace_code, replacement.astype(value.dtype), changed)

                return edit

            edits = {var: edit_code(var, new) for var, new in zip(roles.code, interventions.code, strict=True)}
            edits |= dict.fromkeys(roles.dropout_masks, lambda kept: kept | interventions.deterministic)
            edits |= dict.fromkeys(roles.noise, lambda noise: jnp.where(interventions.deterministic, 0, noise))
            perturbations = {
                var: noise.astype(roles.graph.dtype(var))
                for var, noise in zip(self.lookups, interventions.embedding_noise, strict=True)
            }
            results, recorded = evaluate(self.jaxpr, [*params, *batch, key], frozenset(record), perturbations, edits)

            def mean(gates: tuple[int, ...], function: Any) -> Any:
                return jnp.stack([function(recorded[gate]).mean() for gate in gates]).mean() if gates else jnp.nan

            def saturated(gate: Any) -> Any:
                return (gate < SATURATION[0]) | (gate > SATURATION[1])

            def driven(gate: Any) -> Any:
                return saturated(gate) & ~saturated(gate.mean(tuple(range(gate.ndim - 1))))

            return Activations(
                results[0],
                {name: recorded[var] for name, var in outputs.items()},
                [code[var] for var in roles.code],
                [[recorded[var] for var in each.new_states] for each in roles.recurrences],
                [[] if each.nested else [recorded[v] for v in each.initial_states] for each in roles.recurrences],
                [mean(each.forget, lambda gate: gate) for each in roles.recurrences],
                [mean(each.gates, saturated) for each in roles.recurrences],
                [mean(each.gates, driven) for each in roles.recurrences],
                [recorded[var].mean() for var in roles.dropout_masks],
            )

        return jax.jit(run, compiler_options=FAST_COMPILE)

    @cached_property
    def _differentiate(self) -> Any:
        output, avals = self.roles.output, self.jaxpr.avals
        recurrences = [each for each in self.roles.recurrences if not each.nested]
        shapes = {var: (each.steps, *avals[var].shape) for each in recurrences for var in each.new_states}
        if output is not None:
            shapes[output] = (*self._steps_around(output), *avals[output].shape)

        def differentiate(params: Arrays, batch: Arrays, key: Any) -> Gradients:
            zeros = {var: jnp.zeros(shape, avals[var].dtype) for var, shape in shapes.items()}

            def loss(params: Arrays, perturbations: Any) -> Any:
                return evaluate(self.jaxpr, [*params, *batch, key], perturbations=perturbations)[0][0]

            value, (params_gradient, gradients) = jax.value_and_grad(loss, (0, 1))(params, zeros)
            norms = [
                [jnp.sqrt(jnp.square(gradients[var].astype(jnp.float32)).sum(-1)) for var in each.new_states]
                for each in recurrences
            ]
            return Gradients(value, params_gradient, None if output is None else gradients[output], norms)

        return jax.jit(differentiate, compiler_options=FAST_COMPILE)

    def _steps_around(self, var: int) -> tuple[int, ...]:
        """Returns the numbers of steps of the scans around a variable, the outermost first."""
        scan = self.roles.graph.scan_of.get(var)
        return () if scan is None else (*self._steps_around(scan.outputs[0]), scan.equation.params["length"])

    def _permute(self, var: int, value: Any, order: Any) -> Any:
        axis = self.example_axis(var)
        if axis is None:
            return value
        block = value.shape[axis] // self.batch_size
        split = value.reshape(*value.shape[:axis], self.batch_size, block, *value.shape[axis + 1 :])
        return jnp.take(split, order, axis=axis).reshape(value.shape)


def trace_loss(setup: NormalizedSetup, batch_size: int) -> TracedLoss:
    """Traces a setup's loss on its first batch, and finds the roles of its variables."""
    fields = [jnp.asarray(leaf) for leaf in setup.batches[0]]
    count = len(setup.params)

    def loss(*args: Any) -> Any:
        return setup.loss(list(args[:count]), list(args[count:-1]), args[-1])

    jaxpr = trace(loss, *setup.params, *fields, setup.key)
    inputs = jaxpr.inputs
    roles = find_roles(jaxpr, inputs[:count], inputs[count:-1], inputs[-1:])
    return TracedLoss(setup, jaxpr, roles, batch_size)
