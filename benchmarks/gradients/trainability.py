"""Which fresh weights let an LSTM learn what has to be remembered? Table B.

    python -m benchmarks run gradient_stability

Ten seeds a cell, the same ten everywhere: a seed decides about batches as well as weights, so cells are compared in
pairs. The task that matters is recall, a bare hierarchy that has to carry the first word of each of 8 sentences of 16
words through a code; adding and copy are the classics; reconstruction is this package's own model on real text. Cells
stand in the order of their importance, the longest tasks last, so that a run that is stopped has measured what matters.

Device: one CPU core takes one to four minutes a cell for recall, text, adding and copy of 100, seven for copy of 200,
and sixteen for copy of 500.
Expected: without a forget bias (flax default, no biases) no seed succeeds at recall in time, or a few with
normalised cells; with a forget bias of 2 all do, and none where gradients explode. On text every scheme learns
something, and normalised ones most. Over the 200 steps of adding normalised cells learn, and chrono; to copy over
100 takes a cell that is normalised and forgets next to nothing, and even so few seeds have learned it in so few steps.
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
"""The recipes that every task is tried with, first of all."""
EXPLODING = ("orthogonal, gain 8", "none")
"""Only to see where exploding begins to matter, on recall and adding."""
RECIPES = [
    *FIRST, ("glorot, forget bias 1", "output"), ("glorot, forget bias 1", "cell"), ("glorot, no bias", "none"),
    *((scheme, "none") for scheme in SCHEMES if scheme != EXPLODING[0]),
    ("orthogonal, forget bias 2", "cell"), ("flax default", "cell"), ("orthogonal, forget bias 1", "cell"),
    ("chrono", "cell"), ("glorot, no bias", "cell, gain 0.1"), ("orthogonal, forget bias 2", "cell, gain 0.1"),
    *((scheme, norm) for norm in ("cell, gain 0.1", "cell") for scheme in SCHEMES if scheme != EXPLODING[0]),
]  # fmt: skip
"""All recipes, the most telling first; repetitions are dropped."""
FIRM = "orthogonal, forget bias 2"
READ = [*RECIPES[: len(FIRST) + 3], (FIRM, "cell"), (FIRM, "cell, gain 0.1"), ("chrono", "cell")]
"""The recipes that real text is tried with."""
BEGUN = [
    ("critical", "cell"), ("chrono", "cell"), ("orthogonal, forget bias 5", "cell"), ("critical", "cell, gain 0.1"),
    ("chrono", "cell, gain 0.1"), ("orthogonal, forget bias 5", "cell, gain 0.1"),
]  # fmt: skip
"""The recipes that begin to copy over 100 steps, so that their loss leaves chance; only they are tried over more."""
CORE = len(FIRST) + 3 + len(SCHEMES) - 1 + 6
"""Recipes of recall that are measured before any other task but reconstruction."""


def cells(quick: bool) -> list[Cell]:
    """One cell a task and recipe; three small ones if it has to be quick."""
    if quick:
        return [_cell("recall of 8 x 16", *recipe, SEEDS[:2], 20, 8) for recipe in (*FIRST[:2], (FIRM, "cell"))]
    order = [
        *(("recall of 8 x 16", recipe) for recipe in RECIPES[: len(FIRST)]),
        *(("text", recipe) for recipe in READ),
        *(("recall of 8 x 16", recipe) for recipe in (*RECIPES[:CORE], EXPLODING)),
        *(("adding 200", recipe) for recipe in (*FIRST, EXPLODING)),
        *(("copy 100", recipe) for recipe in FIRST),
        *((task, recipe) for task in ("recall of 8 x 16", "adding 200", "copy 100") for recipe in RECIPES),
        *((task, recipe) for task in ("copy 200", "copy 500") for recipe in BEGUN),
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
    course = multi_seed.MultiSeedRun(task, c["steps"], c["batch"], OptimConfig(**c["optim"]))
    return multi_seed.run(course, config(task, c["scheme"], c["norm"], c["hidden"]), cell.seeds)


def render(records: list[Record]) -> str:
    """One table a task, its recipes in the order of `RECIPES`."""
    parts = []
    for task in STEPS:
        found = [r for r in records if r["config"]["task"] == task]
        if found:
            parts += [*(_text(found) if task == "text" else _task(task, found)), ""]
    return "\n".join(parts).rstrip()


def _task(name: str, records: list[Record]) -> list[str]:
    task = TASKS[name]
    return [
        f"**{name}**: chance {task.chance:.3f}, success under {task.threshold:.3f}, at most {STEPS[name]:,} steps "
        "(a cell whose seeds have all succeeded stops there)",
        "",
        "| weights | layer norm | success | steps to it | final loss | largest gradient norm | last forget gate |",
        "|---|---|---|---|---|---|---|",
        *(
            f"{_head(record)} | {statistics.show(n['arrival'], 0)} | {statistics.show(n['loss'], 3)} "
            f"| {statistics.show(n['norm'], 1)} | {statistics.show(n['forget'])} |"
            for record in _ordered(records)
            for n in [record["numbers"]]
        ),
    ]


def _text(records: list[Record]) -> list[str]:
    return [
        f"**real text**: success where a wrong code costs more than {short_text.GAP} nats a token on held-out "
        f"documents after {STEPS['text']:,} steps",
        "",
        "| weights | layer norm | success | code gap | loss, nats a token | largest gradient norm |",
        "|---|---|---|---|---|---|",
        *(
            f"{_head(record)} | {statistics.show(n['gap'])} | {statistics.show(n['loss'])} "
            f"| {statistics.show(n['norm'], 1)} |"
            for record in _ordered(records)
            for n in [record["numbers"]]
        ),
    ]


def _head(record: Record) -> str:
    arrived = record["numbers"]["arrival"]
    rate = statistics.rate(sum(at is not None for at in arrived), len(arrived))
    return f"| {record['config']['scheme']} | {record['config']['norm']} | {rate}"


def _ordered(records: list[Record]) -> list[Record]:
    schemes = list(SCHEMES)
    return sorted(records, key=lambda r: (schemes.index(r["config"]["scheme"]), r["config"]["norm"] != "none"))


TABLE = Benchmark("gradient_training", cells, measure, render)
