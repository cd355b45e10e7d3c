"""With which initializations does an LSTM learn tasks that require memory? Table B.

    python -m benchmarks run gradient_stability

Ten seeds per cell, the same ten in all cells: a seed determines batches as well as weights, so cells are paired. The
main task is recall, in which a bare hierarchy has to store the first word of each of 8 sentences of 16 words in a code;
adding and copy are the classical tasks; `text` is this package's own model on real text. Cells are ordered by
importance, the longest tasks last, so that an interrupted run has the most important ones.

Device: one CPU core takes one to four minutes per cell for recall, text, adding and copy of 100, seven for copy of 200,
and sixteen for copy of 500.
Expected: without a forget bias (flax default, no biases) no seed succeeds at recall within the budget, or a few with
normalized cells; with a forget bias of 2 all do, and none where gradients explode. On text every scheme learns
something, and normalized ones most. Over the 200 steps of adding, normalized cells and chrono learn; copying over 100
steps requires a normalized cell with a forget gate near 1, and even then few seeds succeed within the budget.
"""

import dataclasses
from pathlib import Path
from typing import Any

from benchmarks.gradients import multi_seed, short_text
from benchmarks.gradients.schemes import SCHEMES, config
from benchmarks.gradients.tasks import TASKS
from benchmarks.harness import statistics
from benchmarks.harness.record import Benchmark, Cell, Record
from hae_jax.config import OptimConfig

SEEDS = tuple(range(10))
STEPS = {
    "recall of 8 x 16": 1000,
    "adding 200": 1500,
    "copy 100": 1500,
    "copy 200": 1500,
    "copy 500": 1500,
    "text": 1000,
}
HIDDEN, BATCH = 64, 16
OPTIM = OptimConfig(learning_rate=3e-3, warmup=20, final=0.2)

FIRST = [
    ("flax default", "none"), ("orthogonal, forget bias 1", "none"), ("orthogonal, forget bias 2", "none"),
    ("glorot, no bias", "cell"), ("glorot, no bias", "output"), ("chrono", "none"), ("Keras default", "none"),
]  # fmt: skip
"""Recipes measured on every task, before all others."""
EXPLODING = ("orthogonal, gain 8", "none")
"""Measured on recall and adding only, for the effect of exploding gradients."""
RECIPES = [
    *FIRST, ("glorot, forget bias 1", "output"), ("glorot, forget bias 1", "cell"), ("glorot, no bias", "none"),
    *((scheme, "none") for scheme in SCHEMES if scheme != EXPLODING[0]),
    ("orthogonal, forget bias 2", "cell"), ("flax default", "cell"), ("orthogonal, forget bias 1", "cell"),
    ("chrono", "cell"), ("glorot, no bias", "cell, gain 0.1"), ("orthogonal, forget bias 2", "cell, gain 0.1"),
    *((scheme, norm) for norm in ("cell, gain 0.1", "cell") for scheme in SCHEMES if scheme != EXPLODING[0]),
]  # fmt: skip
"""All recipes, the most informative first; duplicates are dropped."""
BEST = "orthogonal, forget bias 2"
TEXT_RECIPES = [*RECIPES[: len(FIRST) + 3], (BEST, "cell"), (BEST, "cell, gain 0.1"), ("chrono", "cell")]
"""Recipes measured on real text."""
LONG_COPY_RECIPES = [
    ("critical", "cell"), ("chrono", "cell"), ("orthogonal, forget bias 5", "cell"), ("critical", "cell, gain 0.1"),
    ("chrono", "cell, gain 0.1"), ("orthogonal, forget bias 5", "cell, gain 0.1"),
]  # fmt: skip
"""Recipes whose loss leaves chance on copying over 100 steps; only they are measured on longer copies."""
FIRST_RECALL = len(FIRST) + 3 + len(SCHEMES) - 1 + 6
"""Number of recipes measured on recall before any other task but text."""


def cells(quick: bool) -> list[Cell]:
    """Returns one cell per task and recipe; three small ones if `quick`."""
    if quick:
        return [_cell("recall of 8 x 16", *recipe, SEEDS[:2], 20, 8) for recipe in (*FIRST[:2], (BEST, "cell"))]
    order = [
        *(("recall of 8 x 16", recipe) for recipe in RECIPES[: len(FIRST)]),
        *(("text", recipe) for recipe in TEXT_RECIPES),
        *(("recall of 8 x 16", recipe) for recipe in (*RECIPES[:FIRST_RECALL], EXPLODING)),
        *(("adding 200", recipe) for recipe in (*FIRST, EXPLODING)),
        *(("copy 100", recipe) for recipe in FIRST),
        *((task, recipe) for task in ("recall of 8 x 16", "adding 200", "copy 100") for recipe in RECIPES),
        *((task, recipe) for task in ("copy 200", "copy 500") for recipe in LONG_COPY_RECIPES),
    ]
    return [_cell(task, *recipe, SEEDS, STEPS[task], HIDDEN) for task, recipe in dict.fromkeys(order)]


def _cell(task: str, scheme: str, norm: str, seeds: tuple[int, ...], steps: int, hidden: int) -> Cell:
    what = {"task": task, "scheme": scheme, "norm": norm, "steps": steps}
    if task != "text":
        what |= {"hidden": hidden, "batch": BATCH, "optim": dataclasses.asdict(OPTIM)}
    return Cell(f"{task} | {scheme} | {norm}", seeds, what)


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Trains all seeds of a cell."""
    c = cell.config
    if c["task"] == "text":
        return short_text.run(short_text.config(c["scheme"], c["norm"]), c["steps"], cell.seeds, folder)
    task = TASKS[c["task"]]
    spec = multi_seed.MultiSeedRun(task, c["steps"], c["batch"], OptimConfig(**c["optim"]))
    return multi_seed.run(spec, config(task, c["scheme"], c["norm"], c["hidden"]), cell.seeds)


def render(records: list[Record]) -> str:
    """Renders one table per task, with one row per recipe."""
    parts = []
    for task in STEPS:
        measured = [r for r in records if r["config"]["task"] == task]
        if measured:
            parts += [*(_text(measured) if task == "text" else _task(task, measured)), ""]
    return "\n".join(parts).rstrip()


def _task(name: str, records: list[Record]) -> list[str]:
    task = TASKS[name]
    return [
        f"**{name}**: chance {task.chance:.3f}, success below {task.threshold:.3f}, at most {STEPS[name]:,} steps "
        "(training stops when all seeds have succeeded)",
        "",
        "| initialization | layer norm | success | steps to success | final loss | largest gradient norm "
        "| final forget gate |",
        "|---|---|---|---|---|---|---|",
        *(
            f"{_head(record)} | {statistics.format_median(n['arrival'], 0)} | {statistics.format_median(n['loss'], 3)} "
            f"| {statistics.format_median(n['norm'], 1)} | {statistics.format_median(n['forget'])} |"
            for record in _ordered(records)
            for n in [record["numbers"]]
        ),
    ]


def _text(records: list[Record]) -> list[str]:
    return [
        f"**real text**: success is a code gap of more than {short_text.GAP} nats per token on held-out documents "
        f"after {STEPS['text']:,} steps",
        "",
        "| initialization | layer norm | success | code gap | loss, nats per token | largest gradient norm |",
        "|---|---|---|---|---|---|",
        *(
            f"{_head(record)} | {statistics.format_median(n['gap'])} | {statistics.format_median(n['loss'])} "
            f"| {statistics.format_median(n['norm'], 1)} |"
            for record in _ordered(records)
            for n in [record["numbers"]]
        ),
    ]


def _head(record: Record) -> str:
    steps = record["numbers"]["arrival"]
    rate = statistics.format_rate(sum(step is not None for step in steps), len(steps))
    return f"| {record['config']['scheme']} | {record['config']['norm']} | {rate}"


def _ordered(records: list[Record]) -> list[Record]:
    schemes = list(SCHEMES)
    return sorted(records, key=lambda r: (schemes.index(r["config"]["scheme"]), r["config"]["norm"] != "none"))


TABLE = Benchmark("gradient_training", cells, measure, render)
