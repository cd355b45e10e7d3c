"""Codes that are ignored, identical or too small, constant outputs, and what only free running shows."""

from hae_jax.doctor.evidence import Evidence
from hae_jax.doctor.rules.rule import CODED, Rule, has_code


def code_effect(e: Evidence, name: str) -> float:
    """Returns the relative change of the trained model's loss with its code `permuted` or `zeroed`."""
    return abs(e[f"last_code_{name}"]) / max(abs(e["last_code_loss"]), 1e-30)


def codes_collapsed(e: Evidence) -> float | None:
    cosine = min(e["last_code_cosine"], e["code_cosine"])
    if cosine > 0.99 and e["last_code_width"] > 1 and code_effect(e, "permuted") < 0.01:
        return 0.85
    # Codes of documents of different lengths differ a little even if those of their sentences do not: the loss depends
    # on the code, but through it no output depends on later words of the input.
    no_content = e["reach_back"] < 1e-5 * e["output_size"] and code_effect(e, "zeroed") > 0.02
    return 0.8 if no_content and cosine > 0.9 and code_effect(e, "permuted") < 0.02 else None


def constant_output(e: Evidence) -> float | None:
    if e["steps"] < 60 or not e["output_size"]:
        return None
    if 0 < e["output_spread"] < 0.02 * e["output_size"]:
        return 0.85
    # Of real numbers: neither on many batches nor on one, at no learning rate, is the error below that of the mean.
    lowest = min(e[name] for name in ("loss_same", "loss_tenth", "loss_tenfold", "one_batch_last"))
    stuck = e["error_share"] > 0.9 and lowest > 0.85 * e["loss_standing"] and e["update_ratio"] > 1e-3
    return 0.8 if stuck and abs(e["last_code_permuted"]) < 0.1 * e["last_code_loss"] else None


def code_ignored(e: Evidence) -> float | None:
    if (e["last_code_permuted"] == 0 and not e.get("reach_back")) or e["steps"] < 100:
        return None
    learned = e["nll_last"] < 0.9 * e["target_entropy"]
    # Healthy decoders may take long to distinguish codes, but by then the loss depends on what codes have in common.
    return 0.7 if learned and max(code_effect(e, "permuted"), code_effect(e, "zeroed")) < 0.002 else None


def kl_dominates(e: Evidence) -> float | None:
    if e["code_cosine"] > 0.99:
        # All codes are equal before the first step.
        return None
    ignored = max(code_effect(e, "permuted"), code_effect(e, "zeroed")) < 0.02
    return 0.86 if ignored and e["penalty_gradient"] > 3 else None


def bottleneck_too_small(e: Evidence) -> float | None:
    if e.get("goal_outside", 0) > 0.05:
        return 0.93
    if not has_code(e):
        return None
    bits = e["tokens_real"] / max(1, e["examples"]) * e["unigram_entropy"] / 0.693
    stuck = e["one_batch_last"] > 0.25 * e["one_batch_first"]
    return 0.75 if bits > 12 * e["last_code_width"] and stuck else None


def sequence_too_long(e: Evidence) -> float | None:
    if e["recurrence_steps"] < 60:
        return None
    if e["short_gap"] > 0.1 and abs(e["last_code_permuted"]) < 0.02 * abs(e["last_code_loss"]):
        return 0.75
    # Or the loss depends a little on the code, but where the gradient vanishes not even one batch can be overfitted.
    vanishes = e["decades_least"] < -6 and e["one_batch_last"] > 0.7 * e["one_batch_first"]
    return 0.7 if vanishes and e["short_gap"] > 3 * abs(e["last_code_permuted"]) else None


def exposure_gap(e: Evidence) -> float | None:
    if "free_loss" in e:
        worse = e["free_loss"] > 2 * e["forced_loss"] + 0.5
        return 0.85 if worse and e["forced_loss"] < 0.7 * e["loss_first"] else None
    if "free_accuracy" in e:
        # Errors propagate in healthy models, too. Before the first error, both agree, except when words are sampled.
        return 0.85 if e["accuracy"] > 0.4 and e["free_agreement"] < 0.5 else None
    # Errors accumulate in healthy models, but are hardly larger than those of the mean.
    return 0.85 if e["error_share"] < 0.6 and e["free_error"] > max(1.3, 3 * e["error_share"] + 0.3) else None


CODE = (
    Rule(
        "codes-collapsed", 4, codes_collapsed,
        ("last_code_cosine", "last_code_rank", "last_code_permuted", "last_code_zeroed", "reach_back"),
        "all sentences have the same vector",
        "layer normalization of sentence vectors, a forget bias, a separate learning rate for each level",
        "codes of different examples have the same direction, so permuting them changes nothing",
        {"code-unwired": "the loss does change when codes are zeroed"},
        "https://github.com/ematvey/hierarchical-attention-networks/issues/20",
        CODED, 150,
    ),
    Rule(
        "kl-dominates", 3.5, kl_dominates,
        ("penalty_gradient", "last_code_permuted", "last_code_zeroed", "last_code_loss"),
        "the KL term is almost 0, and reconstructions are all the same",
        "sum the reconstruction over an example as the KL term is summed over its code, or lower the weight of the KL "
        "term and raise it from 0",
        "at the start the gradient of the KL term is many times that of the reconstruction, so codes lose their "
        "information before any is used",
        {"code-ignored": "the decoder has no use for a code that is only noise",
         "constant-output": "the decoder is given nothing that differs"},
        "https://github.com/AppliedDataSciencePartners/WorldModels/issues/12",
        ("VAE",), 150,
    ),
    Rule(
        "constant-output", 5, constant_output,
        ("output_spread", "output_size", "error_share", "one_batch_last", "loss_last", "target_entropy"),
        "every output is the same: the mean, or the most frequent words",
        "feed the decoder inputs, the code at every step, or its own previous output",
        "outputs vary neither over time nor over examples",
        {"learning-rate-too-low": "the loss has reached that of a constant output"},
        "https://github.com/keras-team/keras/issues/10753",
        steps=150,
    ),
    Rule(
        "code-ignored", 5, code_ignored,
        ("last_code_permuted", "last_code_zeroed", "last_code_loss", "nll_last", "target_entropy"),
        "the loss is that of a language model, and reconstructions are fluent but unrelated to the input",
        "word dropout, a loss at the sentence level, the code at every step, a weaker decoder, a lower weight of the "
        "KL term",
        "the decoder models the language without the code: codes of other examples give the same loss",
        {"code-unwired": "the loss changes with the code, if only a little"},
        "https://github.com/jxhe/vae-lagging-encoder/issues/5",
        CODED, 150,
    ),
    Rule(
        "sequence-too-long", 5, sequence_too_long,
        ("recurrence_steps", "short_gap", "last_code_permuted", "last_code_loss", "decades_least", "one_batch_last"),
        "only short sequences are reconstructed, or only parts of long ones",
        "start with short sequences, use chrono initialization, or a hierarchy",
        "on sequences cut to a quarter, the same model learns to use its code within as many steps",
        {"code-ignored": "with shorter sequences the loss depends on the code"},
        kinds=CODED, steps=150,
    ),
    Rule(
        "bottleneck-too-small", 4, bottleneck_too_small,
        ("goal_outside", "goal_beyond", "last_code_width", "one_batch_first", "one_batch_last"),
        "the model cannot even overfit one batch",
        "a wider code; an output activation whose range contains the targets",
        "the targets need more bits than the code can hold, or lie outside of the range of the output",
        {"learning-rate-too-low": "one batch is not learned although weights change"},
        "https://github.com/keras-team/keras/issues/11828",
    ),
    Rule(
        "exposure-gap", 5, exposure_gap,
        ("forced_loss", "free_loss", "accuracy", "free_accuracy", "free_agreement", "error_share", "free_error"),
        "the teacher-forced loss is low, but free-running outputs are bad",
        "check what free running passes from step to step; word dropout; no feedback of outputs",
        "fed its own outputs, the model is far worse than fed the targets",
        {"target-leak": "logits do not depend on the word that they predict"},
        "https://github.com/tensorflow/nmt/issues/2",
    ),
)  # fmt: skip
