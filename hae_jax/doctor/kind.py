"""What kind of model it is, which decides which causes it can have."""

from hae_jax.doctor.evidence import Evidence

KINDS = (
    "autoencoder", "seq2seq", "language model", "forecaster", "classifier", "regressor", "VAE", "unknown",
)  # fmt: skip
"""All kinds of models."""


def find_kind(e: Evidence) -> str:
    """Returns the kind of a model from its form.

    Args:
        e: evidence of the probes `form`, `wiring` and `causal`.

    Example:
        >>> find_kind({"output": "numbers", "output_steps": 1, "goal": "other"}), find_kind({})
        ('regressor', 'unknown')
    """
    if e.get("learned_noise"):
        return "VAE"
    if e.get("decodes_code"):
        return "autoencoder"
    output, goal = e.get("output"), e.get("goal")
    if output is None or goal is None:
        return "unknown"
    if e["output_steps"] <= 1:
        return of_one_step(e, output, goal)
    words = output == "logits"
    if goal == "other" or (goal == "own" and not words and output != "numbers"):
        if e.get("sees_other_whole") and (e.get("reads_goal") or e.get("bottleneck")):
            return "seq2seq"
        return "regressor" if output == "numbers" else "classifier"
    if goal == "pool":
        return "seq2seq" if e.get("reads_goal") and e.get("sees_other_whole") else "forecaster"
    if e.get("sees_other_whole") and e.get("reads_goal") and goal != "copy":
        return "seq2seq"
    causal = "language model" if words else "forecaster"
    if goal == "next" or e.get("goal_shift", 0) > 0:
        # A sentence may start with a word that is not predicted.
        coded = e.get("bottleneck") or e.get("unused_loops") or (e.get("attends") and e.get("reach_back"))
        return "autoencoder" if coded and words else causal
    if goal == "copy" and not words:
        return "autoencoder"
    # Outputs depend on later steps than they predict; or they would, if all that is computed were used.
    coded = e.get("bottleneck") or e.get("unused_loops") or e.get("sees_other_whole") or e.get("reach_back", 1)
    return "autoencoder" if coded or not words else causal


def of_one_step(e: Evidence, output: str, goal: str) -> str:
    """Returns the kind of a model with one output for each example."""
    if output == "numbers":
        return "regressor" if goal == "other" else "forecaster"
    if output == "logits" and (goal in ("own", "next") or (e.get("classes_are_words") and goal != "other")):
        return "language model"
    return "language model" if output == "logits" and e.get("classes_are_words") else "classifier"
