"""Rates, clips and decay."""

import math

from hae_jax.doctor.report import Evidence, Rule

FEW = 100
"""Parameters from which on a gradient that points along them is no accident."""
SHOWN = 60
"""Steps after which a loss that stands still says something."""


def progress(e: Evidence, name: str) -> float:
    """Returns which share of the loss that standing still would have had a trial has got rid of."""
    return 1 - e[name] / e["loss_standing"]


def too_high(e: Evidence) -> float | None:
    if e["broken_batches"]:
        return None
    worse = not e["trained_finite"] or e["loss_last"] > 0.97 * e["loss_first"] or e["loss_same"] > 1.5 * e["loss_tenth"]
    worse = worse or e["update_ratio_first"] > 0.4
    heals = e["loss_tenth"] < e["loss_same"] - 0.03 * abs(e["loss_first"]) and e["loss_tenth"] < e["loss_standing"]
    if worse and heals and max(e["update_ratio"], e["update_ratio_first"]) > 0.03:
        return 0.9
    return None


def too_low(e: Evidence) -> float | None:
    own, ten = progress(e, "loss_same"), progress(e, "loss_tenfold")
    # Warm-up begins with small steps too, and does not stay with them.
    small = max(e["update_ratio"], e["update_ratio_last"]) < 2e-3 and abs(own) < 0.02
    return 0.9 if small and max(ten, progress(e, "loss_faster")) > max(0.05, 4 * own) else None


def too_tight(e: Evidence) -> float | None:
    if e["clip_binding"] <= 0.95:
        return None
    # Adam makes up for most of a clip that always binds; a healthy model may have its gradients cut to a twentieth.
    crawls = e["clip_scale"] < 0.1 and e.get("loss_last", 0) > 0.9 * e.get("loss_first", math.inf)
    return 0.9 if e["clip_scale"] <= 0.02 or (crawls and not beginning(e)) else None


def beginning(e: Evidence) -> bool:
    """Says whether a training is still in its warm-up, or too short: that it crawls then tells nothing."""
    rising = e.get("update_ratio_last", 0.0) > 1.5 * e.get("update_ratio", math.inf)
    return rising or e.get("steps", SHOWN) < SHOWN


def regularised(e: Evidence) -> float | None:
    if e["broken_batches"]:
        return None
    if e["decay_share"] is not None and e["decay_share"] > 0.5:
        return 0.92
    # Between a few numbers a cosine is large by chance.
    if e["gradient_radial"] > 0.7 and e.get("parameters", FEW) >= FEW:
        return 0.9
    return 0.88 if e["epsilon_exponent"] is not None and e["epsilon_exponent"] > 0.6 else None


OPTIMISATION = (
    Rule(
        "over-regularised", 3, regularised, ("decay_share", "gradient_radial", "epsilon_exponent", "update_ratio"),
        "weights shrink while the loss stays",
        "lower the weight decay or the penalty; Adam's epsilon 1e-8",
        "most of an update is decay, or is damped by epsilon, and not the gradient's",
        {"learning-rate-too-low": "steps go towards zero weights, not towards a lower loss"},
    ),
    Rule(
        "clip-too-tight", 3, too_tight, ("clip_binding", "clip_scale", "gradient_norm"),
        "training crawls at a steady pace",
        "clip at about twice the median norm, or AutoClip",
        "nearly every gradient is cut to a small part of itself",
        {"learning-rate-too-low": "it is the clip that shortens the steps"},
    ),
    Rule(
        "learning-rate-too-high", 4, too_high,
        ("loss_first", "loss_same", "loss_tenth", "update_ratio", "overshoot", "trained_finite"),
        "the loss jumps, rises or stays, and NaN may follow",
        "a tenth of the rate, or warm-up",
        "at a tenth of the rate the same steps bring the loss down",
        {"exploding-recurrence": "a smaller step heals it"},
    ),
    Rule(
        "learning-rate-too-low", 4, too_low,
        ("loss_standing", "loss_same", "loss_tenfold", "loss_faster", "faster", "update_ratio"),
        "the loss falls smoothly, and hardly at all",
        "ten times the rate",
        "at ten times the rate, or more, the same steps bring the loss down",
        {"forget-gate-closed": "longer steps heal it"},
    ),
)  # fmt: skip
