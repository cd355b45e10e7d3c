"""Learning rate, clipping and regularization."""

import math

from hae_jax.doctor.evidence import Evidence
from hae_jax.doctor.rules.rule import Rule

MIN_PARAMETERS = 100
"""Least number of parameters for which a gradient along the weights is no coincidence."""
MIN_STEPS = 60
"""Least number of steps after which a flat loss is evidence."""


def progress(e: Evidence, name: str) -> float:
    """Returns the share of the initial loss that a trial has reduced, on the same batches."""
    return 1 - e[name] / e["loss_standing"] if e["loss_standing"] else 0.0


def gradients_accumulated(e: Evidence) -> float | None:
    return 0.92 if e["gradients_accumulate"] else None


def optimizer_state_lost(e: Evidence) -> float | None:
    return 0.93 if e["state_lost"] else None


def gradient_ascent(e: Evidence) -> float | None:
    return 0.94 if e["update_direction"] > 0.3 else None


def schedule_ended(e: Evidence) -> float | None:
    if e["updates_ended"] is None:
        return None
    gained, more = e["loss_first"] - e["loss_last"], e["loss_last"] - e["loss_restarted"]
    # A schedule may end where nothing more is to be gained.
    return 0.9 if more > 0.5 * gained and more > 0.05 * abs(e["loss_first"]) else None


def learning_rate_too_high(e: Evidence) -> float | None:
    if e["broken_batches"]:
        return None
    slower = min(e["loss_tenth"], e.get("loss_slower", math.inf))
    worse = not e["trained_finite"] or e["loss_last"] > 0.97 * e["loss_first"] or e["loss_same"] > 1.5 * e["loss_tenth"]
    worse = worse or e["update_ratio_first"] > 0.4
    lower = slower < e["loss_same"] - 0.03 * abs(e["loss_first"]) and slower < e["loss_standing"]
    return 0.9 if worse and lower and max(e["update_ratio"], e["update_ratio_first"]) > 0.03 else None


def learning_rate_too_low(e: Evidence) -> float | None:
    same, tenfold = progress(e, "loss_same"), progress(e, "loss_tenfold")
    # A warm-up starts with small steps too, but they grow.
    small = max(e["update_ratio"], e["update_ratio_last"]) < 2e-3 and abs(same) < 0.02
    return 0.9 if small and max(tenfold, progress(e, "loss_faster")) > max(0.05, 4 * same) else None


def clip_too_tight(e: Evidence) -> float | None:
    if e["clip_binding"] <= 0.95:
        return None
    # Adam compensates for most of a clip that always binds; in healthy models gradients are scaled by up to 1/20.
    slow = e["clip_scale"] < 0.1 and e.get("loss_last", 0) > 0.9 * e.get("loss_first", math.inf)
    return 0.9 if e["clip_scale"] <= 0.02 or (slow and not is_warming_up(e)) else None


def is_warming_up(e: Evidence) -> bool:
    """Returns whether a training is still in its warm-up, or too short for a flat loss to be evidence."""
    rising = e.get("update_ratio_last", 0.0) > 1.5 * e.get("update_ratio", math.inf)
    return rising or e.get("steps", MIN_STEPS) < MIN_STEPS


def over_regularised(e: Evidence) -> float | None:
    if e["broken_batches"]:
        return None
    if e["decay_share"] is not None and e["decay_share"] > 0.5:
        return 0.92
    # With few parameters a large cosine may be a coincidence.
    if e["gradient_radial"] > 0.7 and e.get("parameters", MIN_PARAMETERS) >= MIN_PARAMETERS:
        return 0.9
    return 0.88 if e["epsilon_exponent"] is not None and e["epsilon_exponent"] > 0.6 else None


OPTIMISATION = (
    Rule(
        "over-regularised", 3, over_regularised,
        ("decay_share", "gradient_radial", "epsilon_exponent", "update_ratio"),
        "weights shrink while the loss does not fall",
        "lower the weight decay or the penalty; set Adam's epsilon to 1e-8",
        "most of an update is decay or is damped by epsilon",
        {"learning-rate-too-low": "steps lead to zero weights, not to a lower loss"},
    ),
    Rule(
        "gradients-accumulated", 2, gradients_accumulated,
        ("gradients_accumulate", "update_ratio", "update_ratio_last"),
        "the loss falls at first, then rises and falls in ever larger swings",
        "set gradients to zero before each step; use a momentum below 1, as optax.trace(0.9)",
        "the optimizer adds up all gradients and forgets none, so steps keep growing and never turn in time",
        {"learning-rate-too-high": "the first steps are of the right size"},
        "https://github.com/IBM/aihwkit/issues/446",
        steps=MIN_STEPS,
    ),
    Rule(
        "optimizer-state-lost", 2, optimizer_state_lost, ("state_lost", "loss_first", "loss_last"),
        "the loss ends on a noisy floor, or diverges, whatever the settings of the optimizer are",
        "keep the new state: updates, state = optimizer.update(gradients, state, params), and pass it to the next step",
        "the state after an update is the one before it, so that every step is a first step: Adam's is the sign of the "
        "gradient",
        {"learning-rate-too-high": "moments that are never averaged make steps large, not the rate"},
        "https://github.com/raskr/rust-autograd/issues/16",
        steps=MIN_STEPS,
    ),
    Rule(
        "gradient-ascent", 2, gradient_ascent, ("update_direction", "loss_first", "loss_last"),
        "the loss rises from the first step, faster and faster",
        "subtract the gradient: optax.sgd(rate), or optax.scale(-rate) at the end of a chain; apply_updates adds",
        "updates point along the gradient, not against it",
        {"learning-rate-too-high": "the loss rises at any learning rate",
         "loss-negated": "the loss has the right sign"},
        "https://github.com/FluxML/model-zoo/pull/61",
        steps=MIN_STEPS,
    ),
    Rule(
        "schedule-ended", 2, schedule_ended, ("updates_ended", "loss_first", "loss_last", "loss_restarted"),
        "the loss falls for some steps, and then stays exactly where it is",
        "give the schedule as many steps as the training has; count steps where the schedule does, not epochs",
        "the schedule has reduced the learning rate to 0, and with a new start the loss falls further",
        {"learning-rate-too-low": "the first steps were large enough",
         "frozen-parameters": "all parameters were updated at first"},
        steps=MIN_STEPS,
    ),
    Rule(
        "clip-too-tight", 4, clip_too_tight, ("clip_binding", "clip_scale", "gradient_norm"),
        "the loss falls very slowly at a constant pace",
        "clip at about twice the median gradient norm, or by AutoClip",
        "nearly every gradient is clipped to a small fraction of its norm",
        {"learning-rate-too-low": "steps are short because of clipping"},
    ),
    Rule(
        "learning-rate-too-high", 3.5, learning_rate_too_high,
        ("loss_first", "loss_same", "loss_tenth", "loss_slower", "slower", "update_ratio", "trained_finite"),
        "the loss jumps, rises or does not fall, and may become NaN",
        "a tenth of the learning rate or less, or warm-up",
        "at a tenth of the learning rate the loss falls within as many steps",
        {"exploding-recurrence": "smaller steps suffice"},
        steps=MIN_STEPS,
    ),
    Rule(
        "learning-rate-too-low", 4, learning_rate_too_low,
        ("loss_standing", "loss_same", "loss_tenfold", "loss_faster", "faster", "update_ratio"),
        "the loss falls smoothly, but hardly at all",
        "ten times the learning rate",
        "at ten times the learning rate, or more, the loss falls within as many steps",
        {"forget-gate-closed": "larger steps suffice"},
        steps=MIN_STEPS,
    ),
)  # fmt: skip
