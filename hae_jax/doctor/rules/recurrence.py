"""Saturated gates, growing states, exploding and vanishing gradients."""

import math

from hae_jax.doctor.evidence import Evidence
from hae_jax.doctor.rules.rule import Rule


def unbounded_activation(e: Evidence) -> float | None:
    if e["hidden_bounded"]:
        return None
    if e["gated"]:
        return 0.94
    grows = e["state_growth"] > 1.2 or e["state_largest"] > 1.5 or not e["trained_finite"]
    return 0.94 if grows else None


def exploding_recurrence(e: Evidence) -> float | None:
    learned = e.get("loss_last", math.inf) < 0.5 * abs(e.get("loss_first", 0.0)) and e.get("gradient_spikes", 0) < 10
    if learned:
        # Gradients that grow harm nobody who learns; normalized outputs make those of early, small states large.
        return None
    if e["slope_most"] <= 0.2:
        # Far growth of gradients and states in a model that does not learn.
        stuck = e.get("loss_last", 0.0) > 0.95 * e.get("loss_first", math.inf)
        far = e["decades_most"] > 2 and e.get("state_largest", 0) > 4 and (e.get("saturated_most") or 0) > 0.08
        return 0.85 if stuck and far else None
    # Gradients of healthy models may grow tenfold, too. Kernels that are too large also drive gates and states.
    driven = (e.get("saturated_most") or 0) > 0.08 or e.get("state_largest", 0) > 4
    return 0.92 if e["decades_most"] > (1 if driven else 1.25) else None


def gates_saturated(e: Evidence) -> float | None:
    # Gates that biases keep at an end do no harm; weights that are too large drive them from one end to the other.
    return 0.9 if e["driven_most"] > 0.45 and e["state_largest"] > 0.95 else None


def forget_gate_closed(e: Evidence) -> float | None:
    # Biases may keep the other gates open and this one closed on purpose, if the recurrent kernel carries the memory.
    # Then more gates are saturated than the forget gates alone, which are a third of all, or half of a GRU's.
    if e["forget_least"] < 0.2 and (e["slope_least"] < -0.25 or e["saturated_most"] < 0.6):
        return 0.93
    # The twin whose gates are open learns in as many steps what the model does not: the task, or to use its code.
    if "twin_loss" not in e:
        return None
    gap = abs(e.get("last_code_permuted") or 0.0) / max(abs(e.get("last_code_loss", 0.0)), 1e-30)
    better = e["twin_loss"] < e["loss_last"] - 0.1 * abs(e["loss_first"])
    if better or e.get("twin_gap", 0.0) > max(0.05, 5 * gap):
        return 0.88
    # Nor does the twin learn in so few steps; but gradients vanish, and no learning rate is better than a constant.
    vanish = e["slope_least"] < -0.2 and e["decades_least"] < -6
    constant = e.get("error_share", 0.0) > 0.95 and e["loss_tenfold"] > 0.9 * e["loss_last"]
    return 0.8 if vanish and constant else None


RECURRENCE = (
    Rule(
        "unbounded-activation", 2, unbounded_activation, ("state_largest", "state_growth", "trained_finite"),
        "the loss overflows in the forward pass, earlier for longer sequences",
        "use tanh for the candidate and for the output of the cell",
        "what is added to the state at each step is not bounded, so the state grows with time",
        {"learning-rate-too-high": "states grow with time before the first step",
         "exploding-recurrence": "the activation is at fault, not the weights"},
        "https://github.com/keras-team/keras/issues/2194",
    ),
    Rule(
        "exploding-recurrence", 3, exploding_recurrence,
        ("slope_most", "decades_most", "slopes", "gradient_norm_first", "gradient_spikes"),
        "spikes of the loss, heavy-tailed gradient norms, NaN",
        "orthogonal recurrent kernels of gain 1; then layer normalization, clipping by global norm, a lower "
        "learning rate",
        "gradients grow with every step back in time",
        {"learning-rate-too-high": "gradients grow along time before the first step"},
        "https://github.com/kazewong/flowMC/issues/130",
    ),
    Rule(
        "gates-saturated", 3, gates_saturated, ("saturated_most", "saturated_gates", "driven_most"),
        "the loss does not fall, although gradients are finite",
        "smaller initial weights (glorot, orthogonal), inputs of unit variance, or layer normalization of gain 0.1",
        "about half of the gates or more are below 0.05 or above 0.95, where a sigmoid has almost no slope",
        {"learning-rate-too-low": "a higher learning rate does not bring gates out of saturation"},
        "https://github.com/keras-team/keras/issues/1360",
    ),
    Rule(
        "forget-gate-closed", 3, forget_gate_closed,
        ("forget_least", "forget_gates", "slope_least", "decades_least", "recurrence_steps", "loss_last", "twin_loss",
         "twin_gap", "twin_steps"),
        "the loss stops at that of a model without memory",
        "a forget bias of 1 to 2, or chrono initialization for long sequences",
        "a cell with forget gate f keeps the fraction f of its value, and of its gradient, at each step; a twin with "
        "open gates learns more in as many steps",
        {"learning-rate-too-low": "gradients of early steps vanish, whatever the learning rate",
         "sequence-too-long": "with an open gate this length can be learned"},
        "https://github.com/keras-team/keras/issues/12489",
    ),
)  # fmt: skip
