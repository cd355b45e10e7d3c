"""A twin with open forget gates: whether the same model learns in as many steps what it does not learn as it is."""

from dataclasses import replace
from typing import Any

import jax.numpy as jnp

from hae_jax.doctor.evidence import Evidence
from hae_jax.doctor.inputs.arrays import Arrays
from hae_jax.doctor.probes.code import code
from hae_jax.doctor.probes.context import CUT, ProbeContext, ProbeSkipped
from hae_jax.doctor.probes.short_training import ShortTraining
from hae_jax.doctor.tracing.interpreter import evaluate
from hae_jax.doctor.tracing.traced_loss import trace_loss

SHIFT = 2.0
"""What is added to the logits of forget gates: a gate of 0.5 becomes one of 0.88."""
HALF_OPEN = (0.2, 0.6)
"""Range of the least mean forget gate in which the twin is trained. Gates below it need no further evidence."""
VANISHING = -3.0
"""Decades by which the gradient must vanish in some recurrence."""


def opened(context: ProbeContext) -> Evidence:
    """Trains the twin if gradients vanish and the model has not learned much, or does not use its code."""
    e = context.evidence
    forget = e.get("forget_least")
    if forget is None or not HALF_OPEN[0] <= forget <= HALF_OPEN[1] or e.get("decades_least", 0.0) > VANISHING:
        return {}
    gap = abs(e.get("last_code_permuted") or 0.0) / max(abs(e.get("last_code_loss", 0.0)), 1e-30)
    uses_code = not context.traced.roles.code or not e.get("bottleneck") or gap > 0.05
    if not context.curve.finite or (e["loss_last"] < 0.5 * e["loss_first"] and uses_code):
        return {}
    traced, setup = context.traced, context.setup
    odds = jnp.exp(SHIFT)

    def open_gate(gate: Any) -> Any:
        return gate * odds / (1 - gate + gate * odds)

    edits = dict.fromkeys((gate for each in traced.roles.recurrences for gate in each.forget), open_gate)

    def loss(params: Arrays, batch: Arrays, key: Any) -> Any:
        return evaluate(traced.jaxpr, [*params, *batch, key], edits=edits)[0][0]

    twin = replace(setup, loss=loss)
    trainer = ShortTraining(twin, context.trainer.deadline)
    curve = trainer.run(setup.batches, len(context.curve.loss))
    if trainer.cut:
        context.trainer.cut = True
        raise ProbeSkipped(CUT)
    if not curve.finite:
        return {}
    found: Evidence = {"twin_steps": len(curve.loss), "twin_loss": curve.final_loss()}
    if not uses_code:
        size = context.fields.batch_size
        measured = code(ProbeContext(twin, context.fields, trainer, trace_loss(twin, size)), curve.params)
        found["twin_gap"] = (measured["code_permuted"] or 0.0) / max(abs(measured["code_loss"]), 1e-30)
    return found
