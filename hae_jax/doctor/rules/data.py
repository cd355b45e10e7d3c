"""Faults of the data, and of what the loss counts."""

from hae_jax.doctor.report import Evidence, Rule


def inputs_unscaled(e: Evidence) -> float | None:
    sd = e["input_read_sd"]
    if sd > 4 or e["input_read_mean"] > 10:
        return 0.92
    return 0.88 if 0 < sd < 0.04 else None


def padding_in_loss(e: Evidence) -> float | None:
    return 0.94 if e["padding_counted"] > 0.9 and e["padding_targets"] > 0.05 and e["real_counted"] > 0.5 else None


def padding_in_encoder(e: Evidence) -> float | None:
    if e.get("reach_back") == 0:
        # The decoder knows nothing of later words, so what was taken for the code is none.
        return None
    if e.get("padding_noise_code", 0) > 1e-3:
        return 0.93
    return 0.9 if e["padding_longer_code"] > 0.02 else None


def blank_sentences(e: Evidence) -> float | None:
    return 0.92 if e["blank_appended_code"] > 0.02 and e["blank_share"] > 0 else None


def summed(e: Evidence, count: int) -> bool:
    """Says whether the loss is a sum over positions, of squares, absolute values or whatever it counts."""
    ratios: list[float] = [e["reduction"], *([e["reduction_absolute"]] if "reduction_absolute" in e else [])]
    # The mean square of large numbers, or half of it, is many times their mean size, and yet no sum of sizes.
    if any(abs(ratio / mean - 1) < 0.02 for ratio in ratios for mean in (0.5, 1)):
        return False
    return count > 12 and any(0.45 < ratio / count < 1.15 for ratio in ratios)


def loss_reduction(e: Evidence) -> float | None:
    count = e.get("tokens_real") or e["numbers_real"]
    whole = e.get("tokens_all") or e["numbers_all"]
    if summed(e, count):
        return 0.93
    if whole > 1.15 * count and e.get("padding_counted", 1) < 0.1 and abs(e["reduction"] * whole / count - 1) < 0.05:
        return 0.85
    return None


def vocabulary_collapse(e: Evidence) -> float | None:
    if e.get("unknown_share", 0) > 0.3:
        return 0.95
    most, kinds = e["commonest_share"], e["distinct_words"]
    # Among few symbols one may well be that common; the sign that ends short sentences is not so far from the next.
    return 0.9 if most > 1 / 3 and most > 2 * e["second_share"] and most * kinds > 3 and kinds > 4 else None


def not_shuffled(e: Evidence) -> float | None:
    return 0.9 if e["batches_seen"] >= 6 and e["batch_likeness"] > 0.3 else None


def targets_scrambled(e: Evidence) -> float | None:
    if e["pairing_other"] > 0.85 and e["pairing_own"] < 0.7 * e["pairing_other"]:
        return 0.95
    return 0.88 if e["pairing_own"] > 0.95 and e["pairing_order"] < 0.5 else None


DATA = (
    Rule(
        "inputs-unscaled", 2, inputs_unscaled, ("input_read_sd", "input_read_mean", "input_sd", "saturated_most"),
        "the loss is huge or hardly moves",
        "subtract the mean and divide by the standard deviation of the training data, inputs and targets alike",
        "numbers far from 1 saturate the gates, or drown in their noise",
        {"learning-rate-too-high": "a lower rate leaves gates saturated",
         "gates-saturated": "with inputs of size 1 these weights would do"},
        "https://github.com/keras-team/keras/issues/510",
    ),
    Rule(
        "padding-in-loss", 2, padding_in_loss, ("padding_counted", "padding_weight", "padding_targets", "said_pad"),
        "accuracy is about the share of padding, and padding is what is said most",
        "multiply each position's loss by its mask, and divide by the mask's sum",
        "the loss's gradient with respect to padded positions is not 0",
        {"constant-output": "what is said is the padding"},
        "https://github.com/keras-team/keras/issues/395",
    ),
    Rule(
        "padding-in-encoder", 2, padding_in_encoder, ("padding_noise_code", "padding_longer_code", "padded_share"),
        "the same sentence gets another vector when it is padded differently",
        "carry the state over padded steps unchanged, or take the state at each row's length",
        "codes change with what stands in the padding, or with how much of it there is",
        {"padding-in-loss": "codes themselves change"},
        "https://github.com/keras-team/keras/issues/1855",
    ),
    Rule(
        "blank-sentences", 2, blank_sentences, ("blank_appended_code", "blank_share"),
        "short documents come back worse than long ones",
        "give the sentence level a mask of its own: a sentence is real if any of its words is",
        "a document's code changes when blank sentences are appended",
        {"padding-in-encoder": "within sentences padding changes nothing"},
        "https://github.com/keras-team/keras/issues/3618",
    ),
    Rule(
        "loss-reduction", 2, loss_reduction,
        ("reduction", "tokens_real", "tokens_all", "numbers_real", "loss_start", "gradient_norm_first",
         "clip_scale"),
        "the loss depends on batch size, length or padding; rates and clips found elsewhere do not fit",
        "divide the sum over real positions by their number",
        "the loss is not the mean over what is real but another multiple of it",
        {"learning-rate-too-high": "the steps are too large because the loss is",
         "clip-too-tight": "the clip fits the mean"},
        "https://github.com/ray-project/ray/issues/2992",
    ),
    Rule(
        "vocabulary-collapse", 2, vocabulary_collapse,
        ("unknown_share", "commonest_share", "second_share", "distinct_words"),
        "the loss is at the unigram entropy at once, and one word is said all the time",
        "a bigger vocabulary, or pieces of words (BPE)",
        "one id, the unknown word's, stands at a third of all positions or more",
        {"constant-output": "the words themselves are nearly constant"},
    ),
    Rule(
        "data-not-shuffled", 2, not_shuffled, ("batch_likeness", "batches_seen"),
        "the loss goes up and down with the epoch",
        "shuffle the examples, anew each epoch",
        "examples of one batch resemble each other far more than those of other batches",
        {"learning-rate-too-high": "the loss moves with the data, not with the steps"},
        "https://github.com/magenta/magenta/issues/704",
    ),
    Rule(
        "targets-scrambled", 1, targets_scrambled, ("pairing_own", "pairing_other", "pairing_order", "one_batch_last"),
        "one batch can be learned by heart, and nothing beyond word frequencies is learned from many",
        "keep inputs and targets together when shuffling or batching",
        "targets match another example's input, or hold their own in another order",
        {"code-ignored": "there is nothing in the code that would help"},
    ),
)  # fmt: skip
