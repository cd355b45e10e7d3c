"""Exact faults of the program."""

from hae_jax.doctor.evidence import Evidence
from hae_jax.doctor.rules.rule import STEPWISE, Rule, has_code

LARGE_UNUSED = 0.1
"""Least share of all numbers of the parameters that a layer without use must hold to be reported."""


def layer_unused(e: Evidence) -> float | None:
    if not e["trained_finite"] or e["steps"] < 20:
        return None
    unfelt = [name for name in e["no_gradient_kernels"] if name not in e["no_gradient_felt"]]
    return 0.92 if unfelt and e["unfelt_elements"] > LARGE_UNUSED and e["no_gradient_share"] < 1 else None


def softmax_twice(e: Evidence) -> float | None:
    if e["logits_are_shares"]:
        return 0.99
    return 0.9 if e["logits_squashed"] else None


def state_swapped(e: Evidence) -> float | None:
    return 0.97 if e["state_swapped"] else None


def layer_norm_misuse(e: Evidence) -> float | None:
    return 0.95 if e["norm_axes"] else None


def axes_swapped(e: Evidence) -> float | None:
    if e.get("batch_norm") or e["norm_axes"]:
        return None
    # If sentences are assigned to other documents, each example affects few others, and two seldom the same ones.
    return 0.95 if e["mixed_share"] > 0.2 or e.get("mixed_reach", 0) > 1.3 else None


def target_leak(e: Evidence) -> float | None:
    if e.get("kind") in ("language model", "forecaster"):
        # There is no code: nothing that is predicted may be read.
        leaks = e["reads_own_target"] > 0.1 and e["leak_size"] > 1e-5
        return 0.95 if leaks else None
    if e.get("kind") is not None and not (e["bottleneck"] or e.get("decodes_code") or e["output"] == "logits"):
        # Layers of one step each that reproduce their input.
        return None
    leaks = e["leak_now"] > 0.1 and e["leak_now"] > 3 * e["leak_earlier"] and e["leak_size"] > 1e-5
    return 0.96 if leaks else None


def code_unwired(e: Evidence) -> float | None:
    if e["unused_loops"] and e["unused_parameters"]:
        return 0.97
    encoder = any("encoder" in name.lower() for name in e["unused_parameters"])
    if e.get("unused_elements", 0) > LARGE_UNUSED and encoder and not e.get("code_permuted"):
        return 0.95
    if not has_code(e):
        return None
    if e["unused_products"] and len(e["unused_parameters"]) > 1 and e.get("reach_back") == 0:
        return 0.93
    unchanged = all(e.get(name) == 0 for name in ("code_permuted", "code_zeroed", "last_code_permuted"))
    # Outputs may change with the code by so little that the rounded loss does not.
    if unchanged and not e.get("reach_back"):
        return 0.95
    if e.get("kind") == "seq2seq" or e.get("sees_other_whole") or not e.get("bottleneck", True):
        # Its input is another sequence than what is predicted; or there is no code that could be left out.
        return None
    return 0.9 if e["reach_back"] == 0 and e["leak_now"] == 0 and not e["norm_axes"] else None


def frozen_parameters(e: Evidence) -> float | None:
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
    if e.get("evaluation_varies") and (e["dropout_masks"] or not e.get("normal_noise")):
        return 0.95
    if e["dropout_masks"] and not e["dropout_keyed"]:
        return 0.9
    return 0.9 if e["dropout_kept"] is not None and e["dropout_kept"] < 0.27 else None


WIRING = (
    Rule(
        "softmax-twice", 0, softmax_twice, ("logits_are_shares", "logits_squashed", "loss_start", "loss_lowest"),
        "the loss falls slowly and stops well above 0, although predictions are right",
        "pass logits to the loss, not probabilities",
        "a softmax of numbers between 0 and 1 is never confident: among V words at most e / (e + V - 1)",
        {"learning-rate-too-low": "no learning rate goes below this bound"},
    ),
    Rule(
        "state-swapped", 0, state_swapped, ("state_swapped",),
        "the loss depends on the code, but training is slow",
        "pass c as c and h as h; Flax carries (c, h), Keras and PyTorch (h, c)",
        "the decoder's initial h is the encoder's c, which no tanh bounds, and the other way round",
        {"code-ignored": "the loss does change with the code"},
    ),
    Rule(
        "layer-norm-misuse", 0, layer_norm_misuse, ("norm_axes",),
        "the examples of a batch influence each other, or later steps influence earlier ones",
        "normalize over the last axis, that of the features",
        "normalized over time or batch, each output depends on other steps and examples, also on later ones",
        {"axes-swapped": "examples are mixed by the normalization"},
    ),
    Rule(
        "axes-swapped", 1, axes_swapped, ("mixed_share", "mixed_reach"),
        "the model overfits a batch of one example, but learns nothing from larger batches",
        "scan along time: transpose the inputs, or set time_major to match them",
        "changing one example changes the outputs of others, so the recurrence runs along the batch",
        {"code-ignored": "outputs depend on other examples, which no hyperparameter explains"},
    ),
    Rule(
        "target-leak", 1, target_leak, ("leak_now", "leak_earlier", "loss_last"),
        "the loss is close to 0 after few steps, and generated text is bad",
        "shift the decoder's inputs by one step, so that each word is predicted from the words before it",
        "with fixed codes, the logits that predict a word still change with that word",
        {"exposure-gap": "the decoder reads the word that it has to predict"},
        "https://github.com/timbmg/Sentence-VAE/issues/22",
        STEPWISE,
    ),
    Rule(
        "code-unwired", 0, code_unwired,
        ("unused_loops", "unused_parameters", "code_permuted", "code_zeroed", "reach_back"),
        "the loss stops at that of a language model",
        "pass the code to the decoder",
        "the loss is exactly the same for any code, so the encoder's gradient is exactly 0",
        {"code-ignored": "if the decoder had a code and ignored it, the loss would still change a little with it"},
        "https://github.com/neubig/nn4nlp-code/issues/13",
    ),
    Rule(
        "layer-unused", 1, layer_unused, ("no_gradient_kernels", "unfelt_elements"),
        "more layers, or larger ones, change nothing",
        "use the output or the state of the last layer",
        "the gradient of the named parameters was exactly 0 at every step, and the loss is the same for other values",
        {"frozen-parameters": "the loss does not depend on these parameters at all",
         "code-unwired": "the loss does depend on the code"},
        "https://github.com/tejaslodaya/timeseries-clustering-vae/issues/3",
        steps=1,
    ),
    Rule(
        "frozen-parameters", 1, frozen_parameters, ("no_gradient_felt", "no_update"),
        "the loss stops falling early; some parameters keep their initial values",
        "remove stop_gradient, masks and set_to_zero from the parameters that should be trained",
        "the gradient or the update of the named parameters was exactly 0 at every step",
        {"code-unwired": "the loss does depend on the code"},
        "https://github.com/salesforce/awd-lstm-lm/issues/48",
    ),
    Rule(
        "masked-nan", 0, masked_nan, ("broken_batches", "broken_empty", "broken_full", "loss_finite"),
        "NaN in some batches only",
        "mask arguments before the function as well as its result: f(where(mask, x, 1)); divide by at least 1",
        "where() hides the NaN of a value, but not that of its gradient: 0 times infinity is NaN",
        {"learning-rate-too-high": "it occurs before the first step, and only where a row is empty",
         "exploding-recurrence": "batches without empty rows have finite gradients"},
        "https://github.com/tensorflow/tensorflow/issues/21929",
    ),
    Rule(
        "low-precision", 1, low_precision, ("half_precision", "zero_gradients", "updates_lost", "half_parameters"),
        "training stalls or diverges with 16-bit numbers only",
        "keep parameters and carried states in float32; scale the loss for float16",
        "small gradients underflow to 0, and small updates are lost when 16-bit parameters are rounded",
        {"learning-rate-too-low": "updates are lost by rounding, not small"},
    ),
    Rule(
        "dropout-wrong", 1, dropout_wrong,
        ("dropout_kept", "evaluation_varies", "dropout_keyed", "evaluation_loss", "training_loss"),
        "evaluation is worse than training, or differs between runs on the same data",
        "use no dropout in evaluation, a new key at each step, and a dropout rate of at most 0.5",
        "with active dropout, or too much of it, little of the input reaches the decoder",
        {"constant-output": "outputs vary without dropout"},
        "https://github.com/karpathy/nanoGPT/issues/240",
    ),
)  # fmt: skip
