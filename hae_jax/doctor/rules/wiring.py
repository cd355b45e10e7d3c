"""Faults of the program, which are so exactly or not at all."""

from hae_jax.doctor.report import Evidence, Rule


def softmax_twice(e: Evidence) -> float | None:
    if e["logits_are_shares"]:
        return 0.99
    return 0.9 if e["logits_squashed"] else None


def state_swapped(e: Evidence) -> float | None:
    return 0.97 if e["state_swapped"] else None


def normed(e: Evidence) -> float | None:
    return 0.95 if e["norm_axes"] else None


def axes_swapped(e: Evidence) -> float | None:
    # Where sentences have changed documents, each example still reaches few others, and two seldom the same ones.
    mixed = e["mixed_share"] > 0.2 or e.get("mixed_reach", 0) > 1.3
    return 0.95 if mixed and not e["norm_axes"] else None


def target_leak(e: Evidence) -> float | None:
    seen = e["leak_now"] > 0.1 and e["leak_now"] > 3 * e["leak_earlier"] and e["leak_size"] > 1e-5
    return 0.96 if seen else None


def unwired(e: Evidence) -> float | None:
    if e["unused_loops"] and e["unused_parameters"]:
        return 0.97
    if e["unused_products"] and len(e["unused_parameters"]) > 1 and e.get("reach_back") == 0:
        return 0.93
    same = all(e.get(name) == 0 for name in ("code_permuted", "code_zeroed", "last_code_permuted"))
    # Outputs may change with a code by so little that the loss, rounded, does not.
    if same and not e.get("reach_back"):
        return 0.95
    return 0.9 if e["reach_back"] == 0 and e["leak_now"] == 0 and not e["norm_axes"] else None


def frozen(e: Evidence) -> float | None:
    if e["no_update"] and e["no_update_share"] < 1:
        return 0.95
    return 0.93 if e["no_gradient_felt"] and e["no_gradient_share"] < 1 else None


def masked_nan(e: Evidence) -> float | None:
    if not e["broken_batches"] or not e["broken_empty"]:
        return None
    return 0.95 if not e["broken_full"] and e["broken_empty"] > 0.99 else None


def low_precision(e: Evidence) -> float | None:
    if not e["half_precision"]:
        return None
    if e["zero_gradients"] > 0.25:
        return 0.93
    if e["updates_lost"] > 0.5:
        return 0.92
    return 0.85 if e["broken_batches"] or not e["trained_finite"] else None


def dropout_wrong(e: Evidence) -> float | None:
    if e.get("evaluation_varies"):
        return 0.95
    if e["dropout_masks"] and not e["dropout_keyed"]:
        return 0.9
    return 0.9 if e["dropout_kept"] is not None and e["dropout_kept"] < 0.27 else None


WIRING = (
    Rule(
        "softmax-twice", 0, softmax_twice, ("logits_are_shares", "logits_squashed", "loss_start", "loss_lowest"),
        "the loss falls slowly and stops well above 0, though predictions are right",
        "hand logits to the loss, not probabilities",
        "a softmax of shares between 0 and 1 can never be sure: among V words at most e / (e + V - 1)",
        {"learning-rate-too-low": "a larger rate cannot go below the floor"},
    ),
    Rule(
        "state-swapped", 0, state_swapped, ("state_swapped",),
        "the decoder reads its code, yet learns slowly",
        "hand c over as c and h as h; Flax carries (c, h), Keras and PyTorch (h, c)",
        "the decoder's h is the encoder's c, which tanh has not bounded, and the gates were made for the other",
        {"code-ignored": "the loss does change with the code"},
    ),
    Rule(
        "layer-norm-misuse", 0, normed, ("norm_axes",),
        "examples of a batch influence each other, or steps those before them",
        "normalise over the feature axis, the last one",
        "over time or batch each output depends on other steps and examples, those to come included",
        {"axes-swapped": "it is the normalisation that mixes examples"},
    ),
    Rule(
        "axes-swapped", 1, axes_swapped, ("mixed_share", "mixed_reach"),
        "it learns by heart with a batch of one, and nothing otherwise",
        "let the recurrence run along time: transpose, or set time_major as the data is",
        "changing one example changed the outputs of others: the recurrence runs along the batch",
        {"code-ignored": "outputs depend on other examples, which no choice of sizes explains"},
    ),
    Rule(
        "target-leak", 1, target_leak, ("leak_now", "leak_earlier", "loss_last"),
        "the loss is about 0 after few steps, and generated text is bad",
        "shift the decoder's input by one step: it may read what stands before the word that it has to say, not more",
        "with codes held fast, the logits that predict a word still change with that word",
        {"exposure-gap": "the word itself is read, so there is nothing to predict"},
        "https://github.com/timbmg/Sentence-VAE/issues/22",
    ),
    Rule(
        "code-unwired", 0, unwired, ("unused_loops", "unused_parameters", "code_permuted", "code_zeroed", "reach_back"),
        "the loss stops where a language model's does",
        "hand the code to the decoder",
        "the loss is exactly the same with any code, so the encoder's gradient is exactly 0",
        {"code-ignored": "a decoder that has a code and ignores it still changes a little with it"},
        "https://github.com/neubig/nn4nlp-code/issues/13",
    ),
    Rule(
        "frozen-parameters", 1, frozen, ("no_gradient_felt", "no_update"),
        "the loss stops early; some weights are those of the first day",
        "let gradients and updates through: no stop_gradient, mask or set_to_zero on what is to learn",
        "gradient or update of the named parameters was exactly 0 at every step",
        {"code-unwired": "the loss does depend on the code"},
        "https://github.com/salesforce/awd-lstm-lm/issues/48",
    ),
    Rule(
        "masked-nan", 0, masked_nan, ("broken_batches", "broken_empty", "broken_full", "loss_finite"),
        "NaN, in some batches only",
        "make arguments safe before the function: where(mask, x, 1) inside as well as outside; divide by at least 1",
        "where() hides a NaN of the value and not of the gradient: 0 times infinity is NaN",
        {"learning-rate-too-high": "it happens before the first step, and only where a row is empty",
         "exploding-recurrence": "full rows have finite gradients"},
        "https://github.com/tensorflow/tensorflow/issues/21929",
    ),
    Rule(
        "low-precision", 1, low_precision, ("half_precision", "zero_gradients", "updates_lost", "half_parameters"),
        "training stands still, or breaks off, in 16 bits only",
        "keep parameters and carried states in float32; scale the loss for float16",
        "small gradients become exactly 0, and small updates vanish in the rounding of the weights",
        {"learning-rate-too-low": "updates are lost to rounding, not small"},
    ),
    Rule(
        "dropout-wrong", 1, dropout_wrong,
        ("dropout_kept", "evaluation_varies", "dropout_keyed", "evaluation_loss", "training_loss"),
        "evaluation is worse than training, or changes each time",
        "no dropout in evaluation, another key each step, and a rate of 0.5 at most",
        "what is dropped at random cannot be relied upon",
        {"constant-output": "outputs vary once dropout is off"},
        "https://github.com/karpathy/nanoGPT/issues/240",
    ),
)  # fmt: skip
