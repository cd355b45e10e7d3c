"""Short trainings: whether the loss falls, whether it would at another learning rate, and the trained model."""

from dataclasses import replace

import numpy as np

from hae_jax.doctor.evidence import Evidence
from hae_jax.doctor.probes.code import code
from hae_jax.doctor.probes.context import CUT, ProbeContext, ProbeSkipped
from hae_jax.doctor.probes.goals import target_ids
from hae_jax.doctor.probes.initial_loss import token_nll, without_padding
from hae_jax.doctor.probes.short_training import ShortTraining, TrainingCurve
from hae_jax.doctor.tracing.traced_loss import trace_loss

STEPS, RATE_STEPS, ONE_BATCH_STEPS = 200, 60, 120
"""Steps of training, of training at other learning rates, and on one batch."""
MAX_RATE_FACTOR = 1e5
"""Largest factor by which the learning rate is raised or lowered."""
FELT = 16
"""Largest number of parameters without gradient that are changed to find out whether the loss depends on them."""
ENDED, LATE = 1e-3, 20
"""Updates have ended if each of the last ones is below this share of the largest one; the number of last ones."""
RESTARTS = 3
"""Number of times that an optimizer whose updates have ended is started anew."""


def train(context: ProbeContext) -> Evidence:
    """Returns the measurements of a training at the user's own learning rate."""
    names = context.setup.structure.names
    context.curve = curve = context.trainer.run(context.setup.batches, STEPS)
    if not curve.loss:
        raise ProbeSkipped(CUT)
    no_gradient = [at for at, norm in enumerate(curve.gradients) if norm == 0]
    felt = [at for at in no_gradient[:FELT] if affects_loss(context, at)]
    no_update = [at for at, norm in enumerate(curve.updates) if norm == 0]
    return {
        "steps": len(curve.loss),
        "cut": context.trainer.cut,
        "trained_finite": curve.finite,
        "loss_first": curve.loss[0],
        "loss_last": curve.final_loss(),
        "loss_lowest": float(np.nanmin(curve.loss)),
        "loss_highest": float(np.nanmax(curve.loss)),
        "curve": list(curve.loss),
        "gradient_norm": float(np.nanmedian(curve.norm)),
        "gradient_norm_first": curve.norm[0],
        "gradient_spikes": float(np.nanmax(curve.norm) / max(np.nanmedian(curve.norm), 1e-30)),
        "update_ratio": float(np.nanmedian(curve.update_ratio)),
        "update_ratio_first": curve.update_ratio[0],
        "update_ratio_last": float(np.nanmean(curve.update_ratio[-10:])),
        "no_gradient": [names[at] for at in no_gradient][:8],
        "no_gradient_felt": [names[at] for at in felt],
        "no_gradient_kernels": [names[at] for at in no_gradient if context.setup.params[at].ndim > 1][:8],
        "unfelt_elements": share_of_elements(context, [at for at in no_gradient if at not in felt]),
        "no_gradient_share": len(no_gradient) / len(names),
        "no_update": [names[at] for at in no_update if at not in no_gradient][:8],
        "no_update_share": len(no_update) / len(names),
        "updates_ended": updates_ended(curve),
    }


def updates_ended(curve: TrainingCurve) -> int | None:
    """Returns the step of the last update if there was none for long, although there were gradients; else None."""
    ratio, norm = np.asarray(curve.update_ratio), np.asarray(curve.norm)
    if len(ratio) < 3 * LATE or not curve.finite:
        return None
    large = np.flatnonzero(ratio > ENDED * ratio.max())
    ended = ratio[-LATE:].max() <= ENDED * ratio.max() and norm[-LATE:].min() > 0.01 * np.median(norm)
    return int(large[-1]) + 1 if ended and large.size else None


def restarted(context: ProbeContext) -> Evidence:
    """Goes on training with a new optimizer state, again and again, if updates have ended; returns the final loss."""
    curve, trainer = context.curve, context.trainer
    if context.evidence.get("updates_ended") is None:
        return {}
    params = curve.params
    for _ in range(RESTARTS):
        again = trainer.run(
            context.setup.batches, RATE_STEPS, start=TrainingCurve(params=params, state=trainer.init_state(params))
        )
        params = again.params
    if trainer.cut:
        raise ProbeSkipped(CUT)
    return {"loss_restarted": again.final_loss() if again.finite else float("inf")}


def share_of_elements(context: ProbeContext, chosen: list[int]) -> float:
    """Returns the share of all numbers of the parameters that some of them hold."""
    sizes = [param.size for param in context.setup.params]
    return sum(sizes[at] for at in chosen) / max(1, sum(sizes))


def affects_loss(context: ProbeContext, at: int) -> bool:
    """Returns whether the loss depends on a parameter; one that is only multiplied by zeros may lack a gradient."""
    params, batch, key = list(context.setup.params), context.setup.batches[0], context.setup.key
    loss = context.trainer.value_and_grad
    before = loss(params, batch, key)[0]
    noise = context.rng.normal(size=params[at].shape).astype(np.float32)
    params[at] = params[at] + noise.astype(params[at].dtype)
    return bool(loss(params, batch, key)[0] != before)


def trial(context: ProbeContext, steps: int, scale: float = 1.0, one_batch: bool = False) -> TrainingCurve:
    """Trains from the initial parameters.

    Raises:
        ProbeSkipped: if the time was over before the last step.
    """
    curve = context.trainer.run(context.setup.batches[: 1 if one_batch else None], steps, scale)
    if context.trainer.cut:
        raise ProbeSkipped(CUT)
    return curve


def rates(context: ProbeContext) -> Evidence:
    """Trains at a tenth of the learning rate, at ten times it, and at more if the loss still does not move."""
    setup, trainer, curve = context.setup, context.trainer, context.curve
    steps = min(RATE_STEPS, len(curve.loss))
    # Batches differ, so losses are compared with those of the initial parameters on the same batches.
    last = [setup.batches[at % len(setup.batches)] for at in range(max(0, steps - 5), steps)]
    initial = float(np.mean([trainer.value_and_grad(setup.params, batch, setup.key)[0] for batch in last]))
    same = float(np.mean(curve.loss[:steps][-5:])) if curve.finite else float("inf")

    def final_loss(scale: float) -> float:
        other = trial(context, steps, scale)
        return other.final_loss(5) if other.finite else float("inf")

    tenth, tenfold = final_loss(0.1), final_loss(10.0)
    slowest, slow_factor = tenth, 0.1
    while slow_factor > 1 / MAX_RATE_FACTOR and not min(same, slowest) < initial:
        slow_factor /= 10
        slowest = min(slowest, final_loss(slow_factor))
    fastest, factor = tenfold, 10.0
    while factor < MAX_RATE_FACTOR and curve.finite and min(same, fastest) > 0.95 * initial:
        factor *= 10
        fastest = min(fastest, final_loss(factor))
    return {
        "loss_standing": initial,
        "loss_same": same,
        "loss_tenth": tenth,
        "loss_slower": slowest,
        "slower": slow_factor,
        "loss_tenfold": tenfold,
        "loss_faster": fastest,
        "faster": factor,
    }


def one_batch(context: ProbeContext) -> Evidence:
    """Trains on one batch only: a model that cannot overfit it cannot learn the task."""
    curve = trial(context, ONE_BATCH_STEPS, one_batch=True)
    return {
        "one_batch_first": curve.loss[0],
        "one_batch_last": curve.final_loss(5) if curve.finite else float("inf"),
        "one_batch_steps": len(curve.loss),
        "overshoot": float(np.median(curve.overshoot)) if curve.overshoot else None,
    }


def shorter(context: ProbeContext) -> Evidence:
    """Trains on sequences cut to a quarter, and measures whether the loss then depends on the code."""
    fields, real = context.fields, context.real
    if fields.main is None or real is None or real.ndim != 2 or context.setup.original.batch_axis != 0:
        raise ProbeSkipped("sequences cannot be cut")
    length, short = real.shape[1], real.shape[1] // 4
    batches = [
        [leaf[:, :short] if leaf.ndim > 1 and leaf.shape[1] == length else leaf for leaf in batch]
        for batch in context.setup.batches
    ]
    for batch in batches:
        for at in fields.lengths:
            batch[at] = np.minimum(batch[at], short)
    setup = replace(context.setup, batches=batches)
    trainer = ShortTraining(setup, context.trainer.deadline)
    curve = trainer.run(batches, STEPS)
    if trainer.cut:
        context.trainer.cut = True
        raise ProbeSkipped(CUT)
    if not curve.finite:
        raise ProbeSkipped("training on shorter sequences ended at a value that is not finite")
    found = code(ProbeContext(setup, fields, trainer, trace_loss(setup, fields.batch_size)), curve.params)
    return {
        "short_gap": (found["code_permuted"] or 0.0) / max(abs(found["code_loss"]), 1e-12),
        "short_loss": curve.final_loss(),
    }


def trained(context: ProbeContext) -> Evidence:
    """Measures outputs, accuracy, code and gates of the trained model."""
    curve = context.curve
    if not curve.finite:
        raise ProbeSkipped("training ended at a value that is not finite")
    activations = context.traced.run(curve.params, context.setup.batches[-1])
    values, recurrences = activations.values, context.traced.roles.recurrences
    gates = zip(recurrences, activations.forget, strict=True)
    return {
        **output_spread(values, context.fields.batch_size),
        **accuracy(values, context.goal_pad),
        **code(context, curve.params, "last_"),
        "gates_last": {each.name: float(forget) for each, forget in gates if np.isfinite(forget)},
    }


def output_spread(values: dict[str, np.ndarray], batch_size: int) -> Evidence:
    """Returns how much logits or predictions vary over examples, and the error of predictions.

    Raises:
        ProbeSkipped: if there are neither.
    """
    name = "logits" if "logits" in values else "prediction"
    if name not in values:
        raise ProbeSkipped("neither logits nor predictions were found")
    output = np.asarray(values[name], np.float64)
    found: Evidence = {}
    if name == "prediction":
        goal = np.asarray(values["goal"], np.float64)
        found["output_against_goal"] = float(output.std() / max(goal.std(), 1e-30))
        found["error_share"] = float(((output - goal) ** 2).mean() / max(goal.var(), 1e-30))
    flat = output.reshape(-1, output.shape[-1]) if output.ndim > 1 else output[:, None]
    if name == "logits":
        # A softmax depends on differences of logits only.
        flat = flat - flat.mean(-1, keepdims=True)
    # Over examples at the same position: time alone makes the states of a decoder vary.
    axis = next((axis for axis, length in enumerate(output.shape[:-1]) if length == batch_size), None)
    spread = flat.std(0) if axis is None else flat.reshape(output.shape).std(axis)
    found["output_spread"] = float(spread.mean())
    found["output_size"] = float(flat.std() if name == "logits" else np.abs(flat).mean())
    return found


def accuracy(values: dict[str, np.ndarray], pad: int | None) -> Evidence:
    """Returns accuracy, negative log-likelihood and variety of the most probable ids; empty without logits."""
    targets = target_ids(values)
    if targets is None or targets.max() >= values["logits"].shape[-1]:
        return {}
    keep, nll = without_padding(targets, pad), token_nll(values["logits"], targets)
    predicted = np.asarray(values["logits"], np.float64).argmax(-1).reshape(targets.shape)
    shares = np.bincount(targets[keep]) / keep.sum()
    shares = shares[shares > 0]
    return {
        "accuracy": float((predicted == targets)[keep].mean()),
        "nll_last": float(nll[keep].mean()),
        "said_pad": float((predicted == pad).mean()) if pad is not None else 0.0,
        "said_distinct": len(np.unique(predicted[keep])),
        "target_entropy": float(-(shares * np.log(shares)).sum()),
    }
