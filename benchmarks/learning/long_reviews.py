"""Reconstruction of 250 words of film reviews from one fixed code: how close to a BLEU-4 of .91?

    python -m benchmarks run long_reviews

A code holds 10 rows of at most 25 words, of a vocabulary of 25,000; a longer review has several codes, each of which is
a document here. The reference is the convolutional-deconvolutional autoencoder CNN-DCNN, whose published log has a
validation BLEU-4 of .908 for hotel reviews of up to 253 words and a code of 900 numbers, after 6 to 7 hours on a K80.
Its decoder predicts all words in parallel; ours is scored free-running, and strictly. The first code has a block per
sentence vector. The second has CNN-DCNN's size: the sentence vectors share two blocks, and the decoder subtracts each
sentence that it has decoded, as in the preset `small-512`. Minutes are wall-clock time, `wall_minutes` in the record.

Device: one GPU of the size of an H100, for each code 20 minutes of training and 3 of evaluation; too slow on a CPU.
Expected: not measured yet; the reference is a BLEU-4 of 91.
"""

import dataclasses
from typing import Any

from benchmarks.harness.record import Benchmark, Cell, Record
from benchmarks.learning import quickstart
from benchmarks.learning.ablation import with_fields
from benchmarks.learning.reconstruction import measure
from hae_jax.config.presets import preset

MINUTES = 20.0
WIDTHS: dict[str, Any] = {"model.embed_dim": 512, "model.hidden_dim": 512}
CODES: dict[str, dict[str, Any]] = {
    "a code of 5,120": WIDTHS | {"model.sentence_dim": 5120, "model.dtype": "bfloat16"},
    "a code of 1,024": WIDTHS | {
        "model.sentence_dim": 1024, "model.feedback": "sentence", "model.sentence_gain": 0.6, "optim.clip_norm": 1000.0,
    },
}  # fmt: skip
"""Changed fields by code. The last of ten sentences that share units has 0.6^9, 1 %, of the amplitude of the first:
near the precision of bfloat16, so that the narrow code has float32. Of such a model untrained, random words are
decoded worse with a gain of 0.5, and with a single block."""
DATA: dict[str, Any] = {
    "corpus": "reviews", "vocab_size": 25_000, "max_sentences": 10, "max_tokens": 25, "batch_size": 128, "buckets": 4,
    "holdout": 0.02,
}  # fmt: skip
"""Changed fields of the data of the preset `reviews`, which has the recipe."""


def cells(quick: bool) -> list[Cell]:
    """Returns one cell per code; a few steps of the preset `tiny` on addresses, with documents as long, if `quick`."""
    base = preset("tiny" if quick else "reviews")
    length = {name: DATA[name] for name in ("max_sentences", "max_tokens")}
    data = dataclasses.replace(base.data, **length | {"holdout": 0.01} if quick else DATA)
    train = dataclasses.replace(base.train, minutes=0.1 if quick else MINUTES)
    base = dataclasses.replace(base, data=data, train=train)
    codes = {"tiny": {"model.dtype": "bfloat16"}} if quick else CODES
    configs = {name: with_fields(base, fields) for name, fields in codes.items()}
    return [Cell(name, (train.seed,), quickstart.as_json(config) | {"row": name}) for name, config in configs.items()]


def render(records: list[Record]) -> str:
    """Renders the scores of each code."""
    return "\n\n".join(f"With {record['cell']}:\n\n{quickstart.render([record])}" for record in records)


BENCHMARKS = (Benchmark("long_reviews", cells, measure, render),)
