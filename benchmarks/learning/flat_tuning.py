"""Does the standard model lack a learning rate, or time? The trial behind its row in `reconstruction`.

    python -m benchmarks run standard

One wide layer takes few steps in the minutes that all models are given. So here it has other peaks of the learning
rate, a shorter way to them, and four times the minutes, which is about as many steps as the hierarchy takes.

Device: two CPU cores, 6 cells of 3 minutes of training, the last of 12: half an hour. A GPU takes what it takes for
`reconstruction`.
Expected: no other rate or warm-up is better by more than seeds differ; with as many steps it comes nearer to the
hierarchy.
"""

from typing import Any

from benchmarks.harness.record import Benchmark, Cell, Record
from benchmarks.learning import quickstart
from benchmarks.learning.ablation import changed
from benchmarks.learning.reconstruction import SEEDS, base, measure, varied

TRIALS: dict[str, dict[str, Any]] = {
    "as in the table above": {},
    "half the rate": {"optim.learning_rate": 1e-4},
    "2.5 times the rate": {"optim.learning_rate": 5e-4},
    "a warm-up of 20 steps": {"optim.warmup": 20},
    "both of these": {"optim.learning_rate": 5e-4, "optim.warmup": 20},
}
"""Fields of the config in which a trial differs from the standard model of the table."""
LONGER = 4
"""Times the minutes in the last trial."""


def cells(quick: bool) -> list[Cell]:
    """All trials on the addresses with the first seed; the first one if it has to be quick."""
    config = varied(base("sotu", quick), "standard", SEEDS[0])
    longer = {f"{LONGER} times the minutes": {"train.minutes": LONGER * config.train.minutes}}
    trials = dict(list(TRIALS.items())[:1]) if quick else TRIALS | longer
    return [
        Cell(name, SEEDS[:1], quickstart.as_json(changed(config, fields)) | {"corpus": "sotu", "row": "standard"})
        for name, fields in trials.items()
    ]


def render(records: list[Record]) -> str:
    """One row a trial."""
    return "\n".join(
        [
            "| standard model | peak of the rate | warm-up, steps | loss | code gap | BLEU-4, running free | steps "
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
