"""Diseases: which of them a variant can have, and the sick twin of a healthy variant.

Each is one word of the grammar; what it changes is where that part of the model is written.
"""

from dataclasses import replace

import numpy as np

from benchmarks.doctor.models.architectures import handed_over
from benchmarks.doctor.models.grammar import WITH_CODE, Variant

BY_EFFECT = (
    "learning-rate-too-high", "learning-rate-too-low", "clip-too-tight", "over-regularised", "exploding-recurrence",
    "forget-gate-closed", "gates-saturated", "unbounded-activation", "inputs-unscaled", "low-precision",
    "codes-collapsed", "code-ignored", "bottleneck-too-small",
)  # fmt: skip
"""Diseases that some models do not suffer from; a twin that learns as well as the healthy one is not sick."""
WEIGHTS = {
    "state-swapped": 40, "code-ignored": 2, "labels-out-of-range": 9, "targets-broadcast": 6, "blank-sentences": 3,
    "masked-nan": 3, "code-unwired": 3, "targets-scrambled": 3, "codes-collapsed": 2, "low-precision": 2,
    "constant-output": 2, "target-leak": 2, "vocabulary-collapse": 2, "data-not-finite": 2, "loss-negated": 2,
    "softmax-twice": 2, "padding-in-encoder": 2, "bottleneck-too-small": 2,
}  # fmt: skip
"""Weights with which diseases are drawn, 1 if not given: few variants can have these."""
ACCEPTED = {
    "schedule-ended": ("schedule-ended", "learning-rate-too-low"),
    "code-ignored": ("code-ignored", "kl-dominates"),
}
"""Slugs that count as right if they are several."""


def possible(v: Variant) -> list[str]:
    """Returns the diseases that a variant can have."""
    decodes, per_step = v.kind in WITH_CODE, v.shape.startswith("time") and v.task not in ("next", "horizon")
    ahead = v.kind == "language model" or v.task == "every"
    feeds = decodes and v.feed != "code"
    gated, numbers, ragged = v.cell != "rnn", not v.of_ids, v.real != "all"
    # Sorted series resemble each other if their level or their size is sorted, and labels if they are.
    labelled = v.kind in ("classifier", "regressor") and v.task == "whole"
    targets_are_numbers = numbers and v.error in ("square", "absolute", "huber")
    holds = {
        "learning-rate-too-high": True,
        "learning-rate-too-low": True,
        "schedule-ended": v.schedule != "accumulate",
        "clip-too-tight": True,
        "over-regularised": True,
        "loss-reduction": True,
        "data-not-shuffled": v.of_ids or v.windows or labelled or v.data in ("seasons", "squares", "sunspots"),
        "dropout-wrong": True,
        "frozen-parameters": not (v.kind == "seq2seq" and v.attention),
        "layer-norm-misuse": v.layers == 1,
        "axes-swapped": not (decodes and v.attention),
        "exploding-recurrence": v.norm is False,
        "unbounded-activation": v.library != "equinox",
        "forget-gate-closed": gated and not ahead,
        "gates-saturated": gated,
        "inputs-unscaled": numbers,
        "bottleneck-too-small": targets_are_numbers or (v.of_ids and decodes and v.feed == "code"),
        "softmax-twice": v.error in ("ids", "one-hot", "binary"),
        "padding-in-loss": ragged and per_step,
        "padding-in-encoder": ragged and not ahead and (decodes or v.task == "whole"),
        "masked-nan": ragged and v.task == "whole" and v.library != "linen",
        "blank-sentences": v.kind == "hierarchy",
        "vocabulary-collapse": v.of_ids and (decodes or ahead),
        "targets-scrambled": v.kind == "seq2seq" or (ahead and not v.joined),
        "target-leak": feeds or ahead,
        "code-unwired": decodes,
        "codes-collapsed": decodes and not v.attention,
        "code-ignored": decodes and not v.attention and v.feed != "code",
        "constant-output": decodes and not v.attention and v.error != "ids",
        "state-swapped": v.cell == "lstm" and handed_over(v),
        "low-precision": v.library == "plain" and v.loop == "scan" and numbers is False,
        "targets-broadcast": v.shape == "" and (v.kind != "classifier" or v.error == "binary"),
        "labels-out-of-range": v.kind == "classifier" and v.error == "ids",
        "loss-negated": v.error in ("ids", "one-hot"),
        "data-not-finite": numbers,
    }
    return [disease for disease, can in holds.items() if can]


def sick_twin(v: Variant, turn: int = 0) -> Variant:
    """Returns a variant with one of its possible diseases, drawn by its seed.

    Args:
        v: the healthy variant.
        turn: how many drawn diseases are passed over.
    """
    rng = np.random.default_rng((v.seed, 11))
    can = possible(v)
    weights = np.array([WEIGHTS.get(disease, 1) for disease in can])
    order = rng.choice(can, len(can), replace=False, p=weights / weights.sum()).tolist()
    return replace(v, disease=order[turn % len(order)], severity=float(rng.random()))
