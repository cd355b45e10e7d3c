"""Is the standard model limited by its learning rate, or by time? Tuning of its row in `reconstruction`.

    python -m benchmarks run standard

One wide layer takes few steps in the time budget of all models. Here it is trained with other peak learning rates, a
shorter warm-up, and four times the minutes, which is about as many steps as the hierarchy takes.

Device: two CPU cores, 6 cells of 3 minutes of training, the last of 12: half an hour. On a GPU, as `reconstruction`.
Expected: no other learning rate or warm-up is better by more than the variation over seeds; with as many steps its
scores are closer to those of the hierarchy.
"""

from typing import Any

from benchmarks.harness.record import Benchmark, Cell, Record
from benchmarks.learning import quickstart
from benchmarks.learning.ablation import with_fields
from benchmarks.learning.reconstruction import SEEDS, base_config, measure, row_config

TRIALS: dict[str, dict[str, Any]] = {
    "as in the table above": {},
    "half the rate": {"optim.learning_rate": 1e-4},
    "2.5 times the rate": {"optim.learning_rate": 5e-4},
    "a warm-up of 20 steps": {"optim.warmup": 20},
    "both of these": {"optim.learning_rate": 5e-4, "optim.warmup": 20},
}
"""Changed fields of the standard model's config by trial."""
TIME_FACTOR = 4
"""Factor of the minutes in the last trial."""


def cells(quick: bool) -> list[Cell]:
    """Returns one cell per trial, on the addresses with the first seed; the first one if `quick`."""
    config = row_config(base_config("sotu", quick), "standard", SEEDS[0])
    longer = {f"{TIME_FACTOR} times the minutes": {"train.minutes": TIME_FACTOR * config.train.minutes}}
    trials = dict(list(TRIALS.items())[:1]) if quick else TRIALS | longer
    return [
        Cell(name, SEEDS[:1], quickstart.as_json(with_fields(config, fields)) | {"corpus": "sotu", "row": "standard"})
        for name, fields in trials.items()
    ]


def render(records: list[Record]) -> str:
    """Renders one row per trial."""
    return "\n".join(
        [
            "| standard model | peak learning rate | warm-up, steps | loss | code gap | BLEU-4, free-running | steps "
            "| minutes, planned |",
            "|---" * 8 + "|",
            *(
                f"| {record['cell']} | {optim['learning_rate']:g} | {optim['warmup']} | {n['loss']:.2f} "
                f"| {n['code_gap']:.2f} | {n['bleu']:.1f} | {n['steps']:,} | {n['minutes']:.1f} |"
                for record in records
                for n, optim in [(record["numbers"], record["config"]["optim"])]
            ),
        ]
    )


BENCHMARKS = (Benchmark("standard", cells, measure, render),)
