"""Reconstruction of long excerpts of film reviews from one fixed code: how close to a BLEU-4 of .91?

    python -m benchmarks run long_reviews

Excerpts of up to 250 words, 10 sentences truncated to 25, and a vocabulary of 25,000, with one code. The reference is
the convolutional-deconvolutional autoencoder CNN-DCNN, whose published log has a validation BLEU-4 of .908 for hotel
reviews of up to 253 words and a code of 900 numbers, after 6 to 7 hours on a K80. Its decoder predicts all words in
parallel; ours is scored free-running, and strictly. The first code has a block per sentence vector, as mirror
initialization requires; the second has CNN-DCNN's size, a tenth of the blocks for vectors twice as wide. Minutes are
wall-clock time, `wall_minutes` in the record.

Device: one GPU of the size of an H100, for each code 20 minutes of training and 3 of evaluation; too slow on a CPU.
Expected: not measured yet; the reference is a BLEU-4 of 91.
"""

import dataclasses
from typing import Any

from benchmarks.harness.record import Benchmark, Cell, Record
from benchmarks.learning import quickstart
from benchmarks.learning.reconstruction import measure
from hae_jax.config import Config
from hae_jax.config.presets import preset

MINUTES = 20.0
CODES: dict[str, dict[str, Any]] = {
    "a code of 5,120": {"embed_dim": 512, "hidden_dim": 512, "sentence_dim": 5120, "dtype": "bfloat16"},
    "a code of 1,024": {"embed_dim": 512, "hidden_dim": 1024, "sentence_dim": 1024, "dtype": "bfloat16"},
}
DATA: dict[str, Any] = {
    "corpus": "reviews", "vocab_size": 25_000, "max_sentences": 10, "max_tokens": 25, "batch_size": 128, "buckets": 4,
    "holdout": 0.02,
}  # fmt: skip
"""Changed fields of the preset `reviews`, which has the recipe."""


def cells(quick: bool) -> list[Cell]:
    """Returns one cell per code; a few steps of the preset `tiny` on addresses, with documents as long, if `quick`."""
    base = preset("tiny" if quick else "reviews")
    length = {name: DATA[name] for name in ("max_sentences", "max_tokens")}
    data = dataclasses.replace(base.data, **length | {"holdout": 0.01} if quick else DATA)
    train = dataclasses.replace(base.train, minutes=0.1 if quick else MINUTES)
    models = {"tiny": {"dtype": "bfloat16"}} if quick else CODES
    configs = {
        name: Config(dataclasses.replace(base.model, **fields), data, base.optim, train)
        for name, fields in models.items()
    }
    return [Cell(name, (train.seed,), quickstart.as_json(config) | {"row": name}) for name, config in configs.items()]


def render(records: list[Record]) -> str:
    """Renders the scores of each code."""
    return "\n\n".join(f"With {record['cell']}:\n\n{quickstart.render([record])}" for record in records)


BENCHMARKS = (Benchmark("long_reviews", cells, measure, render),)
