"""Proof, without the doctor, that a variant is healthy: it learns; or that its twin is sick: it learns less.

A healthy variant ends, after as many steps as the doctor trains, clearly below its first loss, below the best constant
output, and below outputs that repeat the last known number; one with a code also needs the code of its own example.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.doctor.models.grammar import WITH_CODE
from benchmarks.doctor.models.losses import constant, copy, output_shape, score
from benchmarks.doctor.patient import Patient

STEPS = 200
"""Steps of training."""
AVERAGED = 20
"""Steps at the end over which losses are averaged."""
CLEARLY = 0.9
"""A loss is clearly below another one if it is at most this share of it."""
CODE_GAP = 0.02
"""Least rise of the loss with the code of another example, as a share of the loss."""


class Proof(NamedTuple):
    """Losses of a training.

    Attributes:
        first: at the first step.
        last: mean of those at the end.
        baseline: of the best constant output, or of repeating the last number if that is lower.
        gap: rise with the code of another example, as a share of the last loss; None without a code.
    """

    first: float
    last: float
    baseline: float
    gap: float | None

    @property
    def learns(self) -> bool:
        """Whether the variant is healthy."""
        below = np.isfinite(self.last) and self.last <= CLEARLY * min(self.first, self.baseline)
        return bool(below and (self.gap is None or self.gap >= CODE_GAP))


def prove(patient: Patient) -> Proof:
    """Trains a patient, by nothing but its loss and its optimizer."""
    v, key = patient.variant, jax.random.key(patient.variant.seed)
    params, static = eqx.partition(patient.params, eqx.is_inexact_array)

    def loss(params: Any, batch: Any, key: Any, mismatched: bool = False) -> Any:
        return patient.loss(eqx.combine(params, static), batch, key, mismatched=mismatched)

    @jax.jit
    def train(params: Any, batches: Any) -> Any:
        """Returns the losses of all steps, and the final one with the codes of other examples."""

        def at(number: Any) -> Any:
            return jax.tree.map(lambda each: each[number % len(patient.batches)], batches)

        def step(state: Any, number: Any) -> Any:
            params, optimizer_state = state
            value, gradient = jax.value_and_grad(loss)(params, at(number), jax.random.fold_in(key, number))
            updates, optimizer_state = patient.optimizer.update(gradient, optimizer_state, params)
            return (optax.apply_updates(params, updates), optimizer_state), value

        state, losses = jax.lax.scan(step, (params, patient.optimizer.init(params)), jnp.arange(STEPS))
        if v.kind not in WITH_CODE:
            return losses, None
        last = jnp.arange(STEPS - AVERAGED, STEPS)
        return losses, jax.lax.map(lambda number: loss(state[0], at(number), key, True), last).mean()

    batches = {name: jnp.stack([batch[name] for batch in patient.batches]) for name in patient.batches[0]}
    losses, other = train(params, batches)
    last = float(losses[-AVERAGED:].mean())
    gap = None if other is None else (float(other) - last) / last
    return Proof(float(losses[0]), last, baseline(patient), gap)


def baseline(patient: Patient) -> float:
    """Returns the loss of the best constant output, or of repeating the last known number if that is lower."""
    v = patient.variant
    whole = {name: np.concatenate([batch[name] for batch in patient.batches]) for name in patient.batches[0]}
    best = constant(v, whole)
    shape = output_shape(v, whole["y"])
    best = best[0] if v.task == "horizon" else best
    second = {"second": np.full(len(whole["x"]), whole["z"].mean())} if v.extra else {}
    outputs = [np.broadcast_to(best, shape)]
    if (copied := copy(v, whole)) is not None:
        outputs.append(copied)
    return min(float(score(v, {"output": jnp.asarray(output)} | second, whole)) for output in outputs)


def is_sick(proof: Proof, healthy: Proof) -> bool:
    """Returns whether a twin learns clearly less than the healthy variant, in shares of what that one learns."""
    if not np.isfinite(proof.last):
        return True
    if healthy.gap is not None and proof.gap is not None and proof.gap < CODE_GAP / 2:
        return True
    learned = (healthy.first - proof.last) / (healthy.first - healthy.last)
    return proof.last > healthy.last / CLEARLY and learned < 0.8
