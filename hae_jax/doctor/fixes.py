"""What can be changed about a patient from outside: rates, clips, weights, batches; the rest is the user's program."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax

from hae_jax.doctor.inputs.arrays import Arrays
from hae_jax.doctor.inputs.fields import Fields, real
from hae_jax.doctor.inputs.normalize import SWITCHES, NormalizedSetup, adapt, scalar, switches
from hae_jax.doctor.inputs.setup import TrainingSetup
from hae_jax.doctor.report import Evidence

ADAM = 3e-3
"""Rate of the optimizer that takes the place of one whose clip, decay or epsilon cannot be reached."""
LARGE = 2.5
"""Matrices are shrunk that are so many times larger than they have to be."""


class Twins(NamedTuple):
    """A patient as it is, the same repaired, what was changed, and whether the rate that suits this is to be found.

    It is where the optimizer was changed: nobody has chosen a rate for the new one. Elsewhere the rate stays, so that
    what heals is the change.
    """

    sick: TrainingSetup
    repaired: TrainingSetup
    change: str
    tuned: bool = False


def outside(case: NormalizedSetup, fields: Fields, cause: str, evidence: Evidence) -> Twins | None:
    """Repairs what can be repaired without the user's program; None if that has to change."""
    remedy = FIXES.get(cause)
    made = None if remedy is None else remedy(case, fields, evidence)
    if made is None:
        return None
    changed, change = made
    patient = replace(case.patient, batches=[case.batch_form.build(batch) for batch in case.batches])
    return Twins(patient, replace(patient, **changed), change, "optimizer" in changed)


Made = tuple[dict[str, Any], str] | None


def slower(case: NormalizedSetup, fields: Fields, e: Evidence) -> Made:
    return {"optimizer": optax.chain(case.optimizer, optax.scale(0.1))}, "a tenth of the rate"


def faster(case: NormalizedSetup, fields: Fields, e: Evidence) -> Made:
    times = 10.0 if e["loss_tenfold"] <= e["loss_faster"] else e["faster"]
    return {"optimizer": optax.chain(case.optimizer, optax.scale(times))}, f"{times:g} times the rate"


def looser(case: NormalizedSetup, fields: Fields, e: Evidence) -> Made:
    bound = 2 * e["gradient_norm"]
    made = optax.chain(optax.clip_by_global_norm(bound), optax.adam(ADAM))
    return {"optimizer": made}, f"Adam with a rate of {ADAM:g} and a clip at {bound:.3g}, twice the median norm"


def undamped(case: NormalizedSetup, fields: Fields, e: Evidence) -> Made:
    if (e.get("decay_share") or 0) <= 0.5 and (e.get("epsilon_exponent") or 0) <= 0.6:
        # The penalty is part of the loss.
        return None
    return {"optimizer": optax.adam(ADAM)}, f"Adam with a rate of {ADAM:g}, without decay, and its usual epsilon"


def divided(case: NormalizedSetup, fields: Fields, e: Evidence) -> Made:
    loss, by = case.patient.loss, e["reduction"]
    plain = adapt(loss, 3, **{name: SWITCHES[name] for name in switches(loss)[:1]})
    return {"loss": lambda params, batch, key: scalar(plain(params, batch, key)) / by}, f"the loss divided by {by:.4g}"


def shrunk(case: NormalizedSetup, fields: Fields, e: Evidence) -> Made:
    """Gives large matrices LeCun's size, at which inputs of variance 1 make sums of variance 1.

    Not glorot's, which counts the outputs of all four gates, and of a kernel with few inputs leaves next to nothing.
    """
    params, changed = [], 0
    for leaf in case.params:
        size = float(jnp.std(leaf.astype(jnp.float32))) * np.sqrt(min(leaf.shape)) if leaf.ndim == 2 else 0
        changed += size > LARGE
        params.append(leaf / jnp.asarray(size, leaf.dtype) if size > LARGE else leaf)
    if not changed:
        return None
    return {"params": case.form.build(params)}, f"{changed} matrices shrunk to a variance of one over their inputs"


def shuffled(case: NormalizedSetup, fields: Fields, e: Evidence) -> Made:
    axis, size = case.patient.batch_axis, fields.size
    order = np.random.default_rng(case.patient.seed).permutation(size * len(case.batches))

    def mixed(leaves: Arrays) -> Arrays:
        if leaves[0].ndim <= axis or leaves[0].shape[axis] != size:
            return leaves
        return np.split(np.concatenate(leaves, axis).take(order, axis), len(leaves), axis)

    columns = [mixed(list(column)) for column in zip(*case.batches, strict=True)]
    return {"batches": [case.batch_form.build(list(b)) for b in zip(*columns, strict=True)]}, "examples shuffled"


def scaled(case: NormalizedSetup, fields: Fields, e: Evidence) -> Made:
    at = fields.main
    if at is None or at not in fields.values:
        return None
    masks = [real(fields, batch) for batch in case.batches]
    rows = [
        b[at] if m is None or m.shape != b[at].shape[: m.ndim] else b[at][m]
        for b, m in zip(case.batches, masks, strict=True)
    ]
    every = np.concatenate([row.reshape(-1, case.batches[0][at].shape[-1]) for row in rows])
    mean, deviation = every.mean(0), np.maximum(every.std(0), 1e-30)

    def unit(batch: Arrays, mask: Any) -> Any:
        leaves = list(batch)
        for one in fields.values:
            if batch[one].shape == batch[at].shape:
                new = ((batch[one] - mean) / deviation).astype(batch[one].dtype)
                # What fills sequences up stays what it was.
                leaves[one] = (
                    new if mask is None or mask.shape != new.shape[:-1] else np.where(mask[..., None], new, batch[one])
                )
        return case.batch_form.build(leaves)

    batches = [unit(batch, mask) for batch, mask in zip(case.batches, masks, strict=True)]
    return {"batches": batches}, "numbers less their mean, by their standard deviation"


def filled(case: NormalizedSetup, fields: Fields, e: Evidence) -> Made:
    if case.patient.batch_axis != 0:
        return None

    def whole(batch: Arrays) -> Any:
        mask = real(fields, batch)
        if mask is None:
            return case.batch_form.build(batch)
        # A document's sentences are rows as well; blank ones are mostly at its end, and say its last one again.
        rows = mask.shape[:-1]
        some = mask.reshape(-1, mask.shape[-1]).any(-1)
        order = np.maximum.accumulate(np.where(some, np.arange(np.size(some)), np.argmax(some)))
        return case.batch_form.build(
            [
                x.reshape(-1, *x.shape[len(rows) :])[order].reshape(x.shape) if x.shape[: len(rows)] == rows else x
                for x in batch
            ]
        )

    return {"batches": [whole(batch) for batch in case.batches]}, "the row before in the place of each empty one"


FIXES: dict[str, Callable[[NormalizedSetup, Fields, Evidence], Made]] = {
    "learning-rate-too-high": slower,
    "learning-rate-too-low": faster,
    "clip-too-tight": looser,
    "over-regularised": undamped,
    "loss-reduction": divided,
    "gates-saturated": shrunk,
    "exploding-recurrence": shrunk,
    "data-not-shuffled": shuffled,
    "inputs-unscaled": scaled,
    "masked-nan": filled,
}
"""What heals without the user's program, by cause."""
