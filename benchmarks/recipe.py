"""What makes it train? The default recipe with one ingredient taken away at a time, and the naive model.

    python -m benchmarks run recipe

Every row trains the preset `small` on the State of the Union addresses for the same 600 steps, a quarter of its usual
training, with one field of the config changed; the naive row changes those six that the README counts. Read the code
gap and BLEU before the loss: a decoder that ignores its code may have a handsome loss. Rows are measured seed by seed,
so that a table of one seed is whole early on.

Device: two CPU cores, 3 minutes a row and seed.
Expected: no row beats the recipe by more than seeds differ; the naive row has a code gap near 0.
"""

import dataclasses
from statistics import mean
from typing import Any

from benchmarks.first_run import as_json, measure
from benchmarks.record import Benchmark, Cell, Record
from hae_jax.config import Config, TrainConfig
from hae_jax.presets import preset

SEEDS = (0, 1, 2)
STEPS = 600
NAIVE: dict[str, Any] = {
    "sentence_loss": 0.0, "vector_loss": 0.0, "feed": "start", "reverse": False, "tied": False, "feedback": "word",
}  # fmt: skip
"""What the README's section on the recipe counts, undone: the model as published, but for its sizes and optimizer."""
VARIANTS: dict[str, dict[str, Any]] = {
    "the recipe": {},
    "naive": NAIVE,
    "no vector loss": {"vector_loss": 0.0},
    "no sentence loss": {"sentence_loss": 0.0},
    "neither of the two": {"vector_loss": 0.0, "sentence_loss": 0.0},
    "vector at the start only": {"feed": "start"},
    "reads forwards": {"reverse": False},
    "untied softmax": {"tied": False},
    "forget bias 0": {"forget_bias": 0.0},
    "feedback sentence": {"feedback": "sentence"},
    "feedback word": {"feedback": "word"},
}
"""Fields of the model's config in which a row differs from the preset."""


def cells(quick: bool) -> list[Cell]:
    """All rows of the first seed, then those of the next; two rows of a few steps if it has to be quick."""
    base = preset("tiny" if quick else "small")
    steps, seeds, names = (20, SEEDS[:1], list(VARIANTS)[:2]) if quick else (STEPS, SEEDS, list(VARIANTS))
    return [
        Cell(f"{name}, seed {seed}", (seed,), as_json(varied(base, VARIANTS[name], seed, steps)))
        for seed in seeds
        for name in names
    ]


def varied(base: Config, changes: dict[str, Any], seed: int, steps: int) -> Config:
    """Returns a config with other fields of the model, another seed and another number of steps."""
    train = TrainConfig(seed=seed, steps=steps, eval_every=steps, save_every=steps)
    return dataclasses.replace(base, model=dataclasses.replace(base.model, **changes), train=train)


def render(records: list[Record]) -> str:
    """Means over the seeds that have been measured."""
    lines = [
        "| recipe | loss, nats a token | code gap | BLEU-4 | tokens, teacher-forced | training time | seeds |",
        "|---|---|---|---|---|---|---|",
    ]
    groups = {name: [r["numbers"] for r in records if r["cell"].startswith(f"{name}, seed ")] for name in VARIANTS}
    for name, numbers in groups.items():
        if not numbers:
            continue
        loss, gap, bleu, hits, minutes = (
            mean(n[key] for n in numbers) for key in ("loss", "code_gap", "bleu", "token_accuracy", "minutes")
        )
        time = minutes / mean(n["minutes"] for n in groups["the recipe"])
        lines.append(f"| {name} | {loss:.2f} | {gap:.2f} | {bleu:.1f} | {hits:.1%} | {time:.1f}x | {len(numbers)} |")
    return "\n".join(lines)


BENCHMARKS = (Benchmark("recipe", cells, measure, render),)
