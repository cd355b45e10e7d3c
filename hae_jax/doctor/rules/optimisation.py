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
    return 1 - e[name] / e["loss_standing"]


def learning_rate_too_high(e: Evidence) -> float | None:
    if e["broken_batches"]:
        return None
    worse = not e["trained_finite"] or e["loss_last"] > 0.97 * e["loss_first"] or e["loss_same"] > 1.5 * e["loss_tenth"]
    worse = worse or e["update_ratio_first"] > 0.4
    lower = e["loss_tenth"] < e["loss_same"] - 0.03 * abs(e["loss_first"]) and e["loss_tenth"] < e["loss_standing"]
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
        "clip-too-tight", 3, clip_too_tight, ("clip_binding", "clip_scale", "gradient_norm"),
        "the loss falls very slowly at a constant pace",
        "clip at about twice the median gradient norm, or by AutoClip",
        "nearly every gradient is clipped to a small fraction of its norm",
        {"learning-rate-too-low": "steps are short because of clipping"},
    ),
    Rule(
        "learning-rate-too-high", 4, learning_rate_too_high,
        ("loss_first", "loss_same", "loss_tenth", "update_ratio", "overshoot", "trained_finite"),
        "the loss jumps, rises or does not fall, and may become NaN",
        "a tenth of the learning rate, or warm-up",
        "at a tenth of the learning rate the loss falls within as many steps",
        {"exploding-recurrence": "smaller steps suffice"},
    ),
    Rule(
        "learning-rate-too-low", 4, learning_rate_too_low,
        ("loss_standing", "loss_same", "loss_tenfold", "loss_faster", "faster", "update_ratio"),
        "the loss falls smoothly, but hardly at all",
        "ten times the learning rate",
        "at ten times the learning rate, or more, the loss falls within as many steps",
        {"forget-gate-closed": "larger steps suffice"},
    ),
)  # fmt: skip
