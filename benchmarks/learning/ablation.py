"""What makes the model train? The preset's recipe with one ingredient removed at a time, and the naive model.

    python -m benchmarks run recipe

Every row trains the preset `small` on the State of the Union addresses for the same 300 steps, an eighth of its usual
training, with some fields of the config changed. The code gap and BLEU matter more than the loss: a decoder that
ignores its code may have a low loss. The computation per step is given relative to the recipe's, as measured by
`time_budget`: where it is 1, equal steps are equal time. Rows are measured seed by seed, so that a table of one seed is
complete early.

Device: two CPU cores, 2 minutes per row and seed.
Expected: no row is notably better than the recipe, but for what it costs a code to hold its topic as well; the naive
row has a code gap near 0.
"""

import dataclasses
import json
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from benchmarks.harness import statistics
from benchmarks.harness.record import Benchmark, Cell, Record
from benchmarks.harness.time_budget import initial_state_and_step, step_seconds
from benchmarks.learning import quickstart
from hae_jax.config import Config, TrainConfig
from hae_jax.config.presets import preset
from hae_jax.data import Dataset

SEEDS = (0, 1, 2)
STEPS = 300
NAIVE: dict[str, Any] = {
    "model.initializer": "keras", "model.layer_norm": "none", "model.sentence_loss": 0.0, "model.vector_loss": 0.0,
    "model.conditioning": "initial_state", "model.reverse": False, "model.tie_embeddings": False,
    "model.feedback": "word", "model.topic_dim": 0,
    "optim.sentence_lr_scale": 1.0, "optim.clip_norm": 1.0,
}  # fmt: skip
"""None of the ingredients: the model as published, except for its sizes and optimizer, initialized as in Keras."""
WIDE: dict[str, Any] = {
    "model.embed_dim": 256, "model.hidden_dim": 256, "model.sentence_dim": 1024, "model.topic_dim": 0,
}  # fmt: skip
"""A code of as many numbers as the preset's, all of them for the order of the words."""
ORTHOGONAL: dict[str, Any] = WIDE | {
    "model.initializer": "orthogonal", "model.layer_norm": "none", "model.vector_loss": 0.3,
    "model.conditioning": "every_step", "model.sentence_dim": 512,
    "optim.learning_rate": 4e-3, "optim.sentence_lr_scale": 1.0, "optim.clip_norm": 1.0,
}  # fmt: skip
"""The best recipe found for orthogonal initialization, with its learning rate."""
PACKED: dict[str, Any] = {f"model.{name}": value for name, value in vars(preset("small-512").model).items()} | {
    f"optim.{name}": value for name, value in vars(preset("small-512").optim).items()
}
"""All fields of the preset `small-512`."""
RECIPE: dict[str, dict[str, Any]] = {
    "the recipe": {},
    "one learning rate for both levels": {"optim.sentence_lr_scale": 1.0},
    "constant learning rate": {"optim.final": 1.0},
    "no layer norm": {"model.layer_norm": "none", "model.vector_loss": 0.3},
    "word gain of 0.98": {"model.word_gain": 0.98},
    "no topic part, 1,024 numbers for order": WIDE,
    "words instead of BPE": {"data.tokenizer": "word"},
    "no sentence loss": {"model.sentence_loss": 0.0},
    "no vector loss": {"model.vector_loss": 0.0},
    "vector beside every word": {"model.conditioning": "every_step"},
    "untied softmax": {"model.tie_embeddings": False},
    "no clip": {"optim.clip": "none"},
    "code of 512": PACKED,
    "code of 512, sentences not subtracted": PACKED | {"model.feedback": "none", "model.sentence_gain": 1.0},
    "orthogonal weights": {"model.initializer": "orthogonal"},
    "Flax's weights": {"model.initializer": "flax"},
}
"""The preset with one ingredient changed."""
NAIVE_CHANGES: dict[str, dict[str, Any]] = {
    "naive": {},
    "mirrored weights, with what they need": {
        "model.initializer": "mirror", "model.layer_norm": "output", "model.reverse": True,
        "optim.sentence_lr_scale": 0.1, "optim.clip_norm": 200.0,
    },
    "sentence and vector loss": {"model.sentence_loss": 1.0, "model.vector_loss": 0.3},
    "layer norm of outputs": {"model.layer_norm": "output"},
    "orthogonal weights, forget bias 2": {"model.initializer": "orthogonal", "model.forget_bias": 2.0},
    "learning rate of 0.004": {"optim.learning_rate": 4e-3},
}  # fmt: skip
"""The naive model with one ingredient of the recipe."""
ORTHOGONAL_CHANGES: dict[str, dict[str, Any]] = {
    "orthogonal weights, at their best": {},
    "forget bias 2": {"model.forget_bias": 2.0},
    "layer norm in the cell": {"model.layer_norm": "cell"},
}
"""The best recipe for orthogonal initialization, with one option changed that mirror initialization fixes."""
VARIANTS: dict[str, dict[str, Any]] = (
    RECIPE
    | {
        name if name == "naive" else f"naive, but {name}": WIDE | NAIVE | changes
        for name, changes in NAIVE_CHANGES.items()
    }
    | {
        name if not changes else f"orthogonal, {name}": ORTHOGONAL | changes
        for name, changes in ORTHOGONAL_CHANGES.items()
    }
)
"""Changed fields of the config by row."""


def cells(quick: bool) -> list[Cell]:
    """Returns all rows of the first seed, then those of the next; two rows of a few steps if `quick`."""
    base = preset("tiny" if quick else "small")
    steps, seeds, names = (20, SEEDS[:1], list(VARIANTS)[:2]) if quick else (STEPS, SEEDS, list(VARIANTS))
    return [
        Cell(f"{name}, seed {seed}", (seed,), quickstart.as_json(row_config(base, VARIANTS[name], seed, steps)))
        for seed in seeds
        for name in names
    ]


def row_config(base: Config, changes: dict[str, Any], seed: int, steps: int) -> Config:
    """Returns a config with changed fields, seed and number of steps."""
    train = TrainConfig(seed=seed, steps=steps, eval_every=max(steps // 6, 1), eval_documents=128, save_every=steps)
    return dataclasses.replace(with_fields(base, changes), train=train)


def with_fields(base: Config, changes: dict[str, Any]) -> Config:
    """Returns a config with changed fields, given by dotted names."""
    sections: dict[str, dict[str, Any]] = {}
    for name, value in changes.items():
        section, field = name.split(".")
        sections.setdefault(section, {})[field] = value
    return dataclasses.replace(
        base, **{name: dataclasses.replace(getattr(base, name), **fields) for name, fields in sections.items()}
    )


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Trains and evaluates as `first_run` does, and measures the computation per step."""
    numbers = quickstart.measure(cell, folder)
    config, dataset = Config.from_json(json.dumps(cell.config)), Dataset.load(folder / "workdir" / "data")
    return numbers | {"work": step_seconds(*initial_state_and_step(config, dataset))}


def render(records: list[Record]) -> str:
    """Renders means over the measured seeds, after equal steps and after equal time."""
    groups = {name: [r for r in records if r["cell"].startswith(f"{name}, seed ")] for name in VARIANTS}
    recipe = next(iter(groups.values()))
    costs = {
        name: fmean(r["numbers"]["work"] / recipe_work(recipe, r["device"]) for r in group)
        for name, group in groups.items()
        if group
    }
    lines = [
        "| recipe | loss, nats per token | code gap | BLEU-4 | work per step | code gap at equal time "
        "| BLEU-4 at equal time | seeds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, cost in costs.items():
        numbers = [r["numbers"] for r in groups[name]]
        loss = fmean(n["loss"] for n in numbers)
        gap, bleu = (
            statistics.format_mean([n[key] for n in numbers], digits) for key, digits in (("code_gap", 2), ("bleu", 1))
        )
        share = min(costs.values()) / cost
        early_gap, early_bleu = (
            fmean(score_at(n["curve"], key, share) for n in numbers) for key in ("code_gap", "bleu")
        )
        lines.append(
            f"| {name} | {loss:.2f} | {gap} | {bleu} | {cost:.1f} | {early_gap:.2f} | {early_bleu:.1f} "
            f"| {len(numbers)} |"
        )
    return "\n".join(lines)


def score_at(curve: list[dict[str, float]], score: str, share: float) -> float:
    """Returns a score after a share of the steps, interpolated linearly between evaluations."""
    steps = [0.0, *(at["step"] for at in curve)]
    return float(np.interp(share * steps[-1], steps, [0.0, *(at[score] for at in curve)]))


def recipe_work(recipe: list[Record], device: dict[str, Any]) -> float:
    """Returns the recipe's computation per step on a device, or the mean over devices if it was not measured there."""
    works = [r["numbers"]["work"] for r in recipe if r["device"] == device]
    return fmean(works or [r["numbers"]["work"] for r in recipe])


BENCHMARKS = (Benchmark("recipe", cells, measure, render),)
