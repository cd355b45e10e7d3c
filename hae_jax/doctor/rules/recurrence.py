"""Gates that are shut, states that grow, gradients that explode."""

from hae_jax.doctor.report import Evidence, Rule


def unbounded(e: Evidence) -> float | None:
    if e["hidden_bounded"]:
        return None
    if e["gated"]:
        return 0.94
    grows = e["state_growth"] > 1.2 or e["state_largest"] > 1.5 or not e["trained_finite"]
    return 0.94 if grows else None


def exploding(e: Evidence) -> float | None:
    if e["slope_most"] <= 0.2:
        return None
    # Gradients of healthy models may grow tenfold, too. Kernels that are too large drive gates and states as well.
    driven = (e.get("saturated_most") or 0) > 0.08 or e.get("state_largest", 0) > 4
    return 0.92 if e["decades_most"] > (1 if driven else 1.25) else None


def saturated(e: Evidence) -> float | None:
    # Gates that biases hold open over small states do no harm; weights that are too large fill the states as well.
    return 0.9 if e["saturated_most"] > 0.45 and e["state_largest"] > 0.95 else None


def closed(e: Evidence) -> float | None:
    # Biases may hold the other gates open, and this one shut, where the recurrent kernel carries what is remembered:
    # then more stand at an end than the forget gates, which are a third of all, or half of a GRU's.
    if e["forget_least"] < 0.2 and (e["slope_least"] < -0.25 or e["saturated_most"] < 0.6):
        return 0.93
    if e["forget_least"] > 0.56 or e["slope_least"] > -0.2 or e["decades_least"] > -6:
        return None
    # Much of the loss can be learned without a memory, as a language model does.
    learned = 1 - e["loss_last"] / e["loss_first"]
    return 0.85 if learned < 0.5 or abs(e["last_code_permuted"]) < 0.05 * abs(e["last_code_loss"]) else None


RECURRENCE = (
    Rule(
        "unbounded-activation", 2, unbounded, ("state_largest", "state_growth", "trained_finite"),
        "the loss becomes infinite in the forward pass, the sooner the longer the sequences",
        "tanh for the candidate and for the output of the cell",
        "nothing bounds what is added to the state at each step, so it grows with time",
        {"learning-rate-too-high": "states grow with time before the first step",
         "exploding-recurrence": "the activation, not the weights, is at fault"},
        "https://github.com/keras-team/keras/issues/2194",
    ),
    Rule(
        "exploding-recurrence", 3, exploding, ("slope_most", "decades_most", "gradient_norm_first", "gradient_spikes"),
        "spikes, heavy-tailed gradient norms, NaN",
        "orthogonal recurrent kernels of gain 1; then layer normalisation, a clip of the global norm, a lower rate",
        "gradients grow with every step that they travel back",
        {"learning-rate-too-high": "gradients grow along time before the first step"},
        "https://github.com/kazewong/flowMC/issues/130",
    ),
    Rule(
        "gates-saturated", 3, saturated, ("saturated_most", "saturated_gates"),
        "nothing moves, though gradients are finite",
        "smaller fresh weights (glorot and orthogonal), inputs of size 1, or layer normalisation of gain 0.1",
        "about half of the gates stand at an end, or more, where a sigmoid has no slope",
        {"learning-rate-too-low": "a larger rate does not bring gates back"},
        "https://github.com/keras-team/keras/issues/1360",
    ),
    Rule(
        "forget-gate-closed", 3, closed, ("forget_least", "slope_least", "decades_least", "recurrence_steps"),
        "the loss stays where the order of words plays no part",
        "a forget bias of 1 to 2, chrono initialisation for long sequences",
        "a cell of forget gate f keeps f of itself each step, and of its gradient",
        {"learning-rate-too-low": "gradients of early steps are lost, not small",
         "sequence-too-long": "with an open gate this length can be learned"},
        "https://github.com/keras-team/keras/issues/12489",
    ),
)  # fmt: skip
