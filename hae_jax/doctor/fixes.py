"""Repairs that need no change of the user's program: learning rate, clipping, weights, batches."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax

from hae_jax.doctor.evidence import Evidence
from hae_jax.doctor.inputs.arrays import Arrays
from hae_jax.doctor.inputs.fields import Fields, real_positions
from hae_jax.doctor.inputs.normalize import NormalizedSetup
from hae_jax.doctor.inputs.setup import TrainingSetup
from hae_jax.doctor.inputs.signatures import adapt, loss_value, train_switch

ADAM_RATE = 3e-3
"""Learning rate of the Adam that replaces an optimizer whose clip, decay or epsilon cannot be changed."""
LARGE = 2.5
"""Matrices with a larger gain than this are scaled down."""
LOWER_RATE = 0.1
"""Factor of a learning rate that is too high."""


def lower_rate(evidence: Evidence) -> float:
    """Returns the factor of a learning rate that is too high: the largest of those that were tried and helped."""
    helps = evidence.get("loss_tenth", 0.0) < evidence.get("loss_standing", np.inf)
    return LOWER_RATE if helps else float(evidence.get("slower", LOWER_RATE))


def higher_rate(evidence: Evidence) -> float:
    """Returns the factor of a learning rate that is too low: the best of those that were tried."""
    return 10.0 if evidence["loss_tenfold"] <= evidence["loss_faster"] else evidence["faster"]


def clip_norm(evidence: Evidence) -> float:
    """Returns the clipping norm that replaces a lower one: twice the median gradient norm."""
    return 2 * evidence["gradient_norm"]


class Twins(NamedTuple):
    """Two setups that differ by a repair.

    Attributes:
        original: the setup without the repair.
        repaired: the setup with it.
        change: what was changed, for people.
        tune_rate: whether the learning rate of the repaired setup is to be tuned: if the optimizer was changed, it was
            chosen for another one. Elsewhere it stays, so that an improvement is due to the change.
    """

    original: TrainingSetup
    repaired: TrainingSetup
    change: str
    tune_rate: bool = False


Fix = tuple[dict[str, Any], str] | None
"""New values of fields of a setup, and what was changed, for people; None if nothing can be."""


def fix_setup(setup: NormalizedSetup, fields: Fields, cause: str, evidence: Evidence) -> Twins | None:
    """Returns a setup and its repaired twin; None if only the user's program can be changed."""
    fix = FIXES.get(cause)
    fixed = None if fix is None else fix(setup, fields, evidence)
    if fixed is None:
        return None
    changed, change = fixed
    original = replace(setup.original, batches=setup.build_batches())
    return Twins(original, replace(original, **changed), change, "optimizer" in changed)


def lower_learning_rate(setup: NormalizedSetup, fields: Fields, e: Evidence) -> Fix:
    factor = lower_rate(e)
    change = "a tenth of the learning rate" if factor == LOWER_RATE else f"{factor:g} times the learning rate"
    return {"optimizer": optax.chain(setup.optimizer, optax.scale(factor))}, change


def raise_learning_rate(setup: NormalizedSetup, fields: Fields, e: Evidence) -> Fix:
    factor = higher_rate(e)
    return {"optimizer": optax.chain(setup.optimizer, optax.scale(factor))}, f"{factor:g} times the learning rate"


def loosen_clip(setup: NormalizedSetup, fields: Fields, e: Evidence) -> Fix:
    norm = clip_norm(e)
    optimizer = optax.chain(optax.clip_by_global_norm(norm), optax.adam(ADAM_RATE))
    change = f"Adam with learning rate {ADAM_RATE:g}, clipped at {norm:.3g}, twice the median gradient norm"
    return {"optimizer": optimizer}, change


def remove_decay(setup: NormalizedSetup, fields: Fields, e: Evidence) -> Fix:
    if (e.get("decay_share") or 0) <= 0.5 and (e.get("epsilon_exponent") or 0) <= 0.6:
        # The penalty is a part of the loss.
        return None
    return {"optimizer": optax.adam(ADAM_RATE)}, f"Adam with learning rate {ADAM_RATE:g}, no decay, epsilon 1e-8"


def divide_loss(setup: NormalizedSetup, fields: Fields, e: Evidence) -> Fix:
    loss, divisor = setup.original.loss, e["reduction"]
    adapted = adapt(loss, 3, **train_switch(loss))

    def divided(params: Any, batch: Any, key: Any) -> Any:
        return loss_value(adapted(params, batch, key)) / divisor

    return {"loss": divided}, f"the loss divided by {divisor:.4g}"


def shrink_weights(setup: NormalizedSetup, fields: Fields, e: Evidence) -> Fix:
    """Scales large matrices to LeCun's variance, with which inputs of variance 1 give sums of variance 1.

    Glorot's variance also counts the outputs, those of all four gates, and would make a kernel with few inputs far too
    small.
    """
    params, changed = [], 0
    for leaf in setup.params:
        gain = float(jnp.std(leaf.astype(jnp.float32))) * np.sqrt(min(leaf.shape)) if leaf.ndim == 2 else 0
        changed += gain > LARGE
        params.append(leaf / jnp.asarray(gain, leaf.dtype) if gain > LARGE else leaf)
    if not changed:
        return None
    return {"params": setup.structure.build(params)}, f"{changed} matrices scaled to the variance 1 / inputs"


def shuffle(setup: NormalizedSetup, fields: Fields, e: Evidence) -> Fix:
    axis, size = setup.original.batch_axis, fields.batch_size
    order = np.random.default_rng(setup.original.seed).permutation(size * len(setup.batches))

    def shuffled(leaves: Arrays) -> Arrays:
        if leaves[0].ndim <= axis or leaves[0].shape[axis] != size:
            return leaves
        return np.split(np.concatenate(leaves, axis).take(order, axis), len(leaves), axis)

    columns = [shuffled(list(column)) for column in zip(*setup.batches, strict=True)]
    batches = [setup.batch_structure.build(list(batch)) for batch in zip(*columns, strict=True)]
    return {"batches": batches}, "examples shuffled"


def standardize(setup: NormalizedSetup, fields: Fields, e: Evidence) -> Fix:
    at = fields.main
    if at is None or at not in fields.values:
        return None
    masks = [real_positions(fields, batch) for batch in setup.batches]
    rows = [
        batch[at] if mask is None or mask.shape != batch[at].shape[: mask.ndim] else batch[at][mask]
        for batch, mask in zip(setup.batches, masks, strict=True)
    ]
    numbers = np.concatenate([row.reshape(-1, setup.batches[0][at].shape[-1]) for row in rows])
    mean, deviation = numbers.mean(0), np.maximum(numbers.std(0), 1e-30)

    def standardized(batch: Arrays, mask: Any) -> Any:
        leaves = list(batch)
        for field in fields.values:
            old = batch[field]
            if old.shape == batch[at].shape:
                new = ((old - mean) / deviation).astype(old.dtype)
                # Padding stays as it was.
                masked = mask is not None and mask.shape == new.shape[:-1]
                leaves[field] = np.where(mask[..., None], new, old) if masked else new
        return setup.batch_structure.build(leaves)

    batches = [standardized(batch, mask) for batch, mask in zip(setup.batches, masks, strict=True)]
    return {"batches": batches}, "real numbers standardized to mean 0 and variance 1"


def fill_empty_rows(setup: NormalizedSetup, fields: Fields, e: Evidence) -> Fix:
    if setup.original.batch_axis != 0:
        return None

    def filled(batch: Arrays) -> Any:
        real = real_positions(fields, batch)
        if real is None:
            return setup.batch_structure.build(batch)
        # Sentences of a document are rows as well; blank ones, mostly at its end, become copies of its last one.
        shape = real.shape[:-1]
        nonempty = real.reshape(-1, real.shape[-1]).any(-1)
        source = np.maximum.accumulate(np.where(nonempty, np.arange(nonempty.size), np.argmax(nonempty)))
        leaves = [
            leaf.reshape(-1, *leaf.shape[len(shape) :])[source].reshape(leaf.shape)
            if leaf.shape[: len(shape)] == shape
            else leaf
            for leaf in batch
        ]
        return setup.batch_structure.build(leaves)

    return {"batches": [filled(batch) for batch in setup.batches]}, "empty rows replaced by the row before"


FIXES: dict[str, Callable[[NormalizedSetup, Fields, Evidence], Fix]] = {
    "learning-rate-too-high": lower_learning_rate,
    "learning-rate-too-low": raise_learning_rate,
    "clip-too-tight": loosen_clip,
    "over-regularised": remove_decay,
    "loss-reduction": divide_loss,
    "gates-saturated": shrink_weights,
    "exploding-recurrence": shrink_weights,
    "data-not-shuffled": shuffle,
    "inputs-unscaled": standardize,
    "masked-nan": fill_empty_rows,
}
"""Repairs from outside, by cause."""
