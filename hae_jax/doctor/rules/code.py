"""Codes that are not read, all alike, or too small; outputs that do not vary; and what only training shows."""

from hae_jax.doctor.report import Evidence, Rule


def weighs(e: Evidence, name: str) -> float:
    """Returns by which share of itself the trained model's loss changes with its code `permuted` or `zeroed`."""
    return abs(e[f"last_code_{name}"]) / max(abs(e["last_code_loss"]), 1e-30)


def collapsed(e: Evidence) -> float | None:
    least = min(e["last_code_cosine"], e["code_cosine"])
    if least > 0.99 and e["last_code_width"] > 1 and weighs(e, "permuted") < 0.01:
        return 0.85
    # Documents of different lengths have codes that differ a little though their sentences do not: a code that is
    # needed, and through which no word of the input comes to the words before it.
    blind = e["reach_back"] < 1e-5 * e["output_size"] and weighs(e, "zeroed") > 0.02
    return 0.8 if blind and least > 0.9 and weighs(e, "permuted") < 0.02 else None


def constant(e: Evidence) -> float | None:
    if e["steps"] < 60 or not e["output_size"]:
        return None
    if 0 < e["output_spread"] < 0.02 * e["output_size"]:
        return 0.85
    # Numbers: neither many batches nor one, neither this rate nor another brings the error below that of the mean.
    tried = min(e[name] for name in ("loss_same", "loss_tenth", "loss_tenfold", "one_batch_last"))
    stuck = e["error_share"] > 0.9 and tried > 0.85 * e["loss_standing"] and e["update_ratio"] > 1e-3
    return 0.8 if stuck and abs(e["last_code_permuted"]) < 0.1 * e["last_code_loss"] else None


def ignored(e: Evidence) -> float | None:
    if (e["last_code_permuted"] == 0 and not e.get("reach_back")) or e["steps"] < 100:
        return None
    learned = e["nll_last"] < 0.9 * e["target_entropy"]
    # Healthy decoders may need long before they tell codes apart; by then they have come to need what codes share.
    return 0.7 if learned and max(weighs(e, "permuted"), weighs(e, "zeroed")) < 0.002 else None


def small(e: Evidence) -> float | None:
    if e.get("goal_outside", 0) > 0.05:
        return 0.93
    bits = e["tokens_real"] / max(1, e["examples"]) * e["unigram_entropy"] / 0.693
    stuck = e["one_batch_last"] > 0.25 * e["one_batch_first"]
    return 0.75 if bits > 12 * e["last_code_width"] and stuck else None


def too_long(e: Evidence) -> float | None:
    if e["recurrence_steps"] < 60:
        return None
    if e["short_gap"] > 0.1 and abs(e["last_code_permuted"]) < 0.02 * abs(e["last_code_loss"]):
        return 0.75
    # Or the code is read a little: of whole sequences, whose far end gives no gradient, not even one batch is learned.
    lost = e["decades_least"] < -6 and e["one_batch_last"] > 0.7 * e["one_batch_first"]
    return 0.7 if lost and e["short_gap"] > 3 * abs(e["last_code_permuted"]) else None


def exposed(e: Evidence) -> float | None:
    if "free_loss" in e:
        return (
            0.85 if e["free_loss"] > 2 * e["forced_loss"] + 0.5 and e["forced_loss"] < 0.7 * e["loss_first"] else None
        )
    if "free_accuracy" in e:
        # One wrong word makes the next ones wrong in healthy models, too. Before it the two cannot but agree, unless
        # words are drawn at random.
        return 0.85 if e["accuracy"] > 0.4 and e["free_agreement"] < 0.5 else None
    # Errors add up in healthy models, but are hardly worse than those of who always says the mean.
    return 0.85 if e["error_share"] < 0.6 and e["free_error"] > max(1.3, 3 * e["error_share"] + 0.3) else None


CODE = (
    Rule(
        "codes-collapsed", 4, collapsed,
        ("last_code_cosine", "last_code_rank", "last_code_permuted", "last_code_zeroed", "reach_back"),
        "all sentences get the same vector",
        "layer normalisation of sentence vectors, a forget bias, a rate for each level",
        "codes of different examples point the same way, so permuting them changes nothing",
        {"code-unwired": "the loss does change when codes are zeroed"},
        "https://github.com/ematvey/hierarchical-attention-networks/issues/20",
    ),
    Rule(
        "constant-output", 5, constant,
        ("output_spread", "output_size", "error_share", "one_batch_last", "loss_last", "target_entropy"),
        "every output is the same: the mean, or the commonest words",
        "let the decoder see something: inputs, the code at every step, its own last output",
        "outputs vary neither over time nor over examples",
        {"learning-rate-too-low": "the loss is where a constant can bring it"},
        "https://github.com/keras-team/keras/issues/10753",
    ),
    Rule(
        "code-ignored", 5, ignored,
        ("last_code_permuted", "last_code_zeroed", "last_code_loss", "nll_last", "target_entropy"),
        "the loss is that of a language model, and reconstructions are fluent nonsense",
        "word dropout, a loss on sentences, the code at every step, a weaker decoder, less KL",
        "the decoder has learned to talk, and another example's code serves it as well",
        {"code-unwired": "the loss changes with the code, if little"},
        "https://github.com/jxhe/vae-lagging-encoder/issues/5",
    ),
    Rule(
        "sequence-too-long", 5, too_long,
        ("recurrence_steps", "short_gap", "last_code_permuted", "last_code_loss", "decades_least", "one_batch_last"),
        "the beginnings of sequences come back, or short ones only",
        "begin with short sequences; chrono initialisation; a hierarchy",
        "cut to a quarter, the same model reads its code within the same steps",
        {"code-ignored": "of shorter sequences the code is read"},
    ),
    Rule(
        "bottleneck-too-small", 4, small,
        ("goal_outside", "goal_beyond", "last_code_width", "one_batch_first", "one_batch_last"),
        "not even one batch can be learned by heart",
        "a wider code; a last layer whose range holds the targets",
        "what has to come out does not fit through",
        {"learning-rate-too-low": "one batch stays unlearned with steps that move weights"},
        "https://github.com/keras-team/keras/issues/11828",
    ),
    Rule(
        "exposure-gap", 5, exposed,
        ("forced_loss", "free_loss", "accuracy", "free_accuracy", "free_agreement", "error_share", "free_error"),
        "the loss is low, and what the model says on its own is bad",
        "check what free running hands from step to step; word dropout; no feedback",
        "with its own outputs for inputs the model is far worse than with the right ones",
        {"target-leak": "logits do not depend on the word that they predict"},
        "https://github.com/tensorflow/nmt/issues/2",
    ),
)  # fmt: skip
