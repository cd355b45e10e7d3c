"""Faults of the data, and of what the loss counts."""

from hae_jax.doctor.evidence import Evidence
from hae_jax.doctor.kind import KINDS
from hae_jax.doctor.rules.optimisation import clip_too_tight, learning_rate_too_high
from hae_jax.doctor.rules.rule import CODED, Rule


def inputs_unscaled(e: Evidence) -> float | None:
    sd = e.get("input_read_sd")
    if sd is not None and (sd > 4 or e["input_read_mean"] > 10):
        return 0.92
    if sd is not None and 0 < sd < 0.04 and not e.get("input_binary"):
        return 0.88
    # Targets that outputs near 0 cannot reach in as many steps.
    far = max(e["goal_mean"] / max(e["goal_variance"], 1e-30) ** 0.5 / 3, e["goal_variance"] ** 0.5 / 6) > 1
    return 0.88 if far and e["error_share"] > 1.5 and e["loss_tenfold"] < 0.95 * e["loss_same"] else None


def padding_in_loss(e: Evidence) -> float | None:
    return 0.94 if e["padding_counted"] > 0.9 and e["padding_targets"] > 0.05 and e["real_counted"] > 0.5 else None


def padding_in_encoder(e: Evidence) -> float | None:
    if e.get("reach_back") == 0 and e.get("kind") != "seq2seq":
        # Outputs do not depend on later words, so what was found is no code.
        return None
    if e.get("padding_first"):
        # Padding before a sequence is as good as another initial state.
        return None
    if e.get("output_steps", 1) > 1 and not e.get("bottleneck", True):
        # Without a code each step has its own output; but attention may read the padding of another sequence.
        attended = e.get("kind") == "seq2seq" and e["attends"] and e["padding_noise_loss"] > 1e-4
        return 0.9 if attended else None
    if e.get("padding_noise_code", 0) > 1e-3:
        return 0.93
    return 0.9 if e["padding_longer_code"] > 0.02 else None


def blank_sentences(e: Evidence) -> float | None:
    return 0.92 if e["blank_appended_code"] > 0.02 and e["blank_share"] > 0 else None


def is_sum(e: Evidence, count: int) -> bool:
    """Returns whether the loss is a sum over positions: of log-likelihoods, squares or absolute values."""
    ratios: list[float] = [e["reduction"], *([e["reduction_absolute"]] if "reduction_absolute" in e else [])]
    # The mean square of large numbers, or half of it, is many times their mean absolute value, and yet no sum.
    if any(abs(ratio / mean - 1) < 0.02 for ratio in ratios for mean in (0.5, 1)):
        return False
    return count > 12 and any(0.45 < ratio / count < 1.15 for ratio in ratios)


def loss_reduction(e: Evidence) -> float | None:
    real = e.get("tokens_real") or e["numbers_real"]
    total = e.get("tokens_all") or e["numbers_all"]
    if is_sum(e, real) or is_sum(e, real // max(1, e.get("channels", 1))):
        return 0.93
    # Weights of examples often divide by all positions, which harms nobody as long as most are real.
    if total > 2 * real and e.get("padding_counted", 1) < 0.1 and abs(e["reduction"] * total / real - 1) < 0.05:
        return 0.85
    steps = real / max(1, e["examples"])
    if steps > 8 and abs(e["reduction"] / steps - 1) < 0.02 and (learning_rate_too_high(e) or clip_too_tight(e)):
        # A sum over time and a mean over examples is a choice, unless the steps are too large for it.
        return 0.9
    return None


def vocabulary_collapse(e: Evidence) -> float | None:
    if e.get("unknown_share", 0) > 0.3:
        return 0.95
    most, distinct = e["commonest_share"], e["distinct_words"]
    # In a small vocabulary one id may be that frequent; the end of short sentences is not that far from the next.
    return 0.9 if most > 1 / 3 and most > 2 * e["second_share"] and most * distinct > 3 and distinct > 4 else None


def data_not_shuffled(e: Evidence) -> float | None:
    return 0.9 if e["batches_seen"] >= 6 and e["batch_likeness"] > 0.3 else None


def targets_scrambled(e: Evidence) -> float | None:
    if e.get("goals_own") is not None and e["goals_own"] < 0.5 and e["mixed_share"] < 0.2:
        return 0.94
    if e.get("pairing_elsewhere", 0.0) > 0.6 and e["pairing_exact"] < 0.2:
        return 0.95
    if e.get("kind") not in (*CODED, "language model", None):
        return None
    if e["pairing_other"] > 0.85 and e["pairing_own"] < 0.7 * e["pairing_other"]:
        return 0.95
    return 0.88 if e["pairing_own"] > 0.95 and e["pairing_order"] < 0.5 else None


DATA = (
    Rule(
        "inputs-unscaled", 2, inputs_unscaled, ("input_read_sd", "input_read_mean", "input_sd", "saturated_most"),
        "the loss is huge, or hardly falls",
        "subtract the mean and divide by the standard deviation of the training data, for inputs and targets alike",
        "numbers far above 1 saturate gates, and numbers far below 1 hardly change them",
        {"learning-rate-too-high": "at a lower learning rate gates stay saturated",
         "gates-saturated": "with inputs of unit variance these weights do not saturate gates"},
        "https://github.com/keras-team/keras/issues/510",
    ),
    Rule(
        "padding-in-loss", 2, padding_in_loss, ("padding_counted", "padding_weight", "padding_targets", "said_pad"),
        "accuracy is about the share of padding, and padding is the most frequent prediction",
        "multiply the loss of each position by the mask, and divide by the sum of the mask",
        "the gradient of the loss with respect to padded positions is not 0",
        {"constant-output": "the constant output is padding"},
        "https://github.com/keras-team/keras/issues/395",
    ),
    Rule(
        "padding-in-encoder", 2, padding_in_encoder, ("padding_noise_code", "padding_longer_code", "padded_share"),
        "the vector of a sentence depends on how far it is padded",
        "keep the state unchanged over padded steps, or take the state at the end of each row",
        "codes change with the contents or the amount of padding",
        {"padding-in-loss": "the codes themselves change"},
        "https://github.com/keras-team/keras/issues/1855",
        kinds=(*CODED, "classifier", "regressor", "forecaster"),
    ),
    Rule(
        "blank-sentences", 2, blank_sentences, ("blank_appended_code", "blank_share"),
        "short documents are reconstructed worse than long ones",
        "mask the sentence level too: a sentence is real if any of its words is",
        "the code of a document changes when blank sentences are appended",
        {"padding-in-encoder": "padding within sentences changes nothing"},
        "https://github.com/keras-team/keras/issues/3618",
        kinds=(*CODED, "classifier", "regressor"),
    ),
    Rule(
        "loss-reduction", 2, loss_reduction,
        ("reduction", "tokens_real", "tokens_all", "numbers_real", "loss_start", "gradient_norm_first",
         "clip_scale"),
        "the loss depends on batch size, length or padding; usual learning rates and clipping norms do not fit",
        "divide the sum over real positions by their number",
        "the loss is a multiple of the mean over real positions",
        {"learning-rate-too-high": "steps are too large because the loss is",
         "clip-too-tight": "the clipping norm fits the mean"},
        "https://github.com/ray-project/ray/issues/2992",
        kinds=tuple(kind for kind in KINDS if kind != "VAE"),
    ),
    Rule(
        "vocabulary-collapse", 2, vocabulary_collapse,
        ("unknown_share", "commonest_share", "second_share", "distinct_words"),
        "the loss quickly reaches the unigram entropy, and one word is predicted almost everywhere",
        "use a larger vocabulary, or subwords (BPE)",
        "one id, that of unknown words, is found at a third of all positions or more",
        {"constant-output": "the words themselves are nearly constant"},
        kinds=(*CODED, "language model"),
    ),
    Rule(
        "data-not-shuffled", 2, data_not_shuffled, ("batch_likeness", "batches_seen"),
        "the loss rises and falls periodically with the epochs",
        "shuffle the examples in each epoch",
        "examples of one batch resemble each other far more than those of other batches",
        {"learning-rate-too-high": "the loss changes with the data, not with the step size"},
        "https://github.com/magenta/magenta/issues/704",
    ),
    Rule(
        "targets-scrambled", 1, targets_scrambled,
        ("goals_own", "pairing_exact", "pairing_elsewhere", "pairing_own", "pairing_other", "pairing_order",
         "one_batch_last"),
        "the model overfits one batch, but learns only word frequencies from many",
        "keep inputs and targets together when shuffling or batching",
        "targets match the input of another example, or hold the words of their own input in another order",
        {"code-ignored": "the codes hold no information about these targets"},
    ),
)  # fmt: skip
