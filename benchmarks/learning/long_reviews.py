"""Long pieces of film reviews through one fixed code: how near to BLEU-4 of .91?

    python -m benchmarks run long_reviews

Pieces of up to 250 words, 10 sentences cut off after 25, and a vocabulary of 25,000, through one code. The mark is the
autoencoder of convolutions and deconvolutions (CNN-DCNN), whose published log has a validation BLEU-4 of .908 for hotel
reviews of up to 253 words and a code of 900 numbers, after 6 to 7 hours on a K80. Its decoder says all words at once;
ours is scored running free, and strictly. The first code has room for a vector a sentence, as mirrored weights want it;
the second is of CNN-DCNN's size, a tenth of the room for vectors twice as wide. The minutes are those by the clock on
the wall, `wall_minutes` in the record.

Device: one GPU of the size of an H100, for each code 20 minutes of training and 3 of evaluation; a CPU is no use.
Expected: not known yet; the mark is a BLEU-4 of 91.
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
"""Fields in which the run differs from the preset `reviews`, which has the recipe."""


def cells(quick: bool) -> list[Cell]:
    """Both codes; a few steps of the preset `tiny` on addresses, with documents as long, if it has to be quick."""
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
    """The scores of each code."""
    return "\n\n".join(f"With {record['cell']}:\n\n{quickstart.render([record])}" for record in records)


BENCHMARKS = (Benchmark("long_reviews", cells, measure, render),)
