"""How much can a code store, and how fast does a model learn to use it?

    python -m benchmarks run memory

Sequences of random symbols out of 50, newly drawn for every step, are reconstructed from their codes. `memory` is
keras-team/keras#12489, where nothing was learned within ten hours: 100 symbols, an LSTM of 200 units. The hierarchical
model reads them as 10 sentences of 10, the flat one as a single sentence; the flat model has the 200 units of the
issue, with mirrored and with naive initialization, or as many parameters as the hierarchical model. `capacity` varies
the length and the size of the code and gives every model the same few minutes; a flat model has as many parameters as
the hierarchical one in the same row. Minutes are compute time of a CPU's cores. A symbol has 5.64 bits; bits per code
dimension are computed from the teacher-forced loss. The memory of a bare hierarchy by initialization is measured by
`gradient_stability`.

Device: two CPU cores, eight minutes for each of the six models of `memory`, two for each of the 24 of `capacity`.
Expected: the hierarchical model with a code of 1,024 numbers reconstructs all symbols, free-running; naive ones none.
"""

import dataclasses
from pathlib import Path
from typing import Any

from benchmarks.harness.matched_size import count_parameters, match_size
from benchmarks.harness.plots import draw_lines
from benchmarks.harness.record import Benchmark, Cell, Record
from benchmarks.learning.random_sequences import VOCAB, Setting, train
from hae_jax.config import ModelConfig, OptimConfig
from hae_jax.config.presets import preset

RECIPE: dict[str, Any] = {"embed_dim": 9, "hidden_dim": 102, "topic_dim": 0}
"""Fields of the model's config that differ from the preset `small`: register blocks for the ten symbols of a sentence
and its end mark, and in the code for ten sentences."""
NAIVE: dict[str, Any] = {
    "initializer": "keras", "layer_norm": "none", "sentence_loss": 0.0, "vector_loss": 0.0,
    "conditioning": "initial_state",
    "reverse": False, "tie_embeddings": False, "feedback": "word", "embed_dim": 64,
}  # fmt: skip
"""The model of the issue: Keras' initialization, without any ingredient of the recipe."""
OPTIM: dict[str, Any] = {"final": 0.02, "clip_norm": 1.0}
"""Fields of the optimizer's config that differ from the preset."""
WIDE = 512
"""Least units of a flat layer that is trained with the sentence level's learning rate."""
LENGTH, SEGMENT, BATCH = 100, 10, 32
MINUTES, CAPACITY_MINUTES = 8.0, 2.0
"""Minutes of training per cell of `memory`, and per cell of `capacity`."""
FLAT_GAIN = 0.985
"""`word_gain` of a flat model, whose register holds a whole sequence."""
SHARED: dict[str, Any] = {
    "embed_dim": 4, "hidden_dim": 44, "feedback": "sentence", "word_gain": 1.0, "sentence_gain": 0.5,
    "layer_norm": "none", "vector_loss": 0.0,
}  # fmt: skip
"""Fields of a hierarchical model whose sentences share the units of the code: each symbol of a sentence has four units
of its own, and three sentences share them, with amplitudes of 1, 1/16 and 1/256."""
SHARED_RATE = 1e-5
"""Learning rate of this model: its weights are exact before training, and small amplitudes need precise weights."""
CODE, UNITS = 1024, 200
"""Code size of the model that is expected to succeed, and units of the LSTM of the issue."""
CODES, LENGTHS = (64, 256, 1024), (10, 50, 100, 400)
TARGETS = (0.5, 0.9, 0.99)
"""Shares of correct symbols for which the table gives the minutes to reach them."""


def hierarchical(code: int, recipe: dict[str, Any] = RECIPE) -> ModelConfig:
    """Returns the hierarchical model with the given code size."""
    return dataclasses.replace(preset("small").model, **recipe | {"sentence_dim": code})


def flat(target: int, recipe: dict[str, Any] = RECIPE) -> ModelConfig:
    """Returns the flat model with about as many parameters as the hierarchical one with the given code size."""
    like = dataclasses.replace(preset("small").model, **recipe | {"kind": "flat", "word_gain": FLAT_GAIN})
    return match_size(like, VOCAB, count_parameters(hierarchical(target, recipe), VOCAB))


def setting(model: ModelConfig, length: int, minutes: float) -> Setting:
    """Returns the setting of a cell; a flat model reads a sequence as one sentence."""
    optim: OptimConfig = dataclasses.replace(preset("small").optim, **OPTIM)
    if model.initializer != "mirror":
        optim = dataclasses.replace(optim, sentence_lr_scale=1.0)
    elif model.layer_norm == "none":
        optim = dataclasses.replace(optim, learning_rate=SHARED_RATE)
    elif model.kind == "flat" and model.hidden_dim >= WIDE:
        # Its one layer is as wide as the sentence level, whose learning rate is scaled by this factor.
        optim = dataclasses.replace(optim, learning_rate=optim.learning_rate * optim.sentence_lr_scale)
    return Setting(length, length if model.kind == "flat" else SEGMENT, BATCH, minutes, model, optim)


def cells(quick: bool) -> list[Cell]:
    """Returns one cell per model; two tiny ones for seconds if `quick`."""
    if quick:
        small = {"embed_dim": 16, "hidden_dim": 32, "topic_dim": 0}
        chosen = {"hierarchical, code 48": hierarchical(48, small), "flat": flat(48, small)}
        return [Cell(name, (0,), setting(model, 20, 0.05).to_dict()) for name, model in chosen.items()]
    chosen = {
        f"hierarchical, code of {CODE:,}": hierarchical(CODE),
        f"flat, {UNITS} units, naive": dataclasses.replace(flat(CODE), hidden_dim=UNITS, **NAIVE),
        "flat, as many parameters": flat(CODE),
        f"hierarchical, code of {CODE:,}, naive": hierarchical(CODE, NAIVE | {"hidden_dim": 128}),
        f"flat, {UNITS} units": dataclasses.replace(flat(CODE), hidden_dim=UNITS),
        f"hierarchical, {UNITS} units": hierarchical(UNITS, RECIPE | SHARED),
    }
    return [Cell(name, (0,), setting(model, LENGTH, MINUTES).to_dict()) for name, model in chosen.items()]


def capacity_cells(quick: bool) -> list[Cell]:
    """Returns one cell per kind, length and code size, those of 100 symbols first; one if `quick`."""
    sizes = [(16, 10)] if quick else [(code, length) for code in CODES for length in LENGTHS]
    sizes.sort(key=lambda size: (abs(size[1] - LENGTH), size[0]) if not quick else 0)
    recipe, minutes = (
        ({"embed_dim": 8, "hidden_dim": 16, "topic_dim": 0}, 0.05) if quick else (RECIPE, CAPACITY_MINUTES)
    )
    return [
        Cell(f"{kind}, length {length}, code {code}", (0,), setting(model(code, recipe), length, minutes).to_dict()
             | {"column": code})
        for code, length in sizes
        for kind, model in (("hierarchical", hierarchical), ("flat", flat))[: 1 if quick else 2]
    ]  # fmt: skip


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Trains one model and evaluates its reconstructions."""
    raw = {name: value for name, value in cell.config.items() if name != "column"}
    return train(Setting.of(raw), cell.seeds[0], folder)


def render(records: list[Record]) -> str:
    """Renders the scores of each model, and the minutes to reach the targets."""
    lines = [
        "| model | parameters | code | symbols, teacher-forced | free-running | exact | bits per code dimension | "
        + " | ".join(f"{target:.0%} after" for target in TARGETS)
        + " | steps | minutes |",
        "|---" * (9 + len(TARGETS)) + "|",
    ]
    for record in records:
        n = record["numbers"]
        lines.append(
            f"| {record['cell']} | {n['parameters']:,} | {n['code']:,} | {n['forced']:.1%} | {n['free']:.1%} "
            f"| {n['exact']:.1%} | {n['bits'] / n['code']:.2f} | "
            + " | ".join(minutes_to_reach(n["curve"], target) for target in TARGETS)
            + f" | {n['steps']:,} | {n['minutes']:.0f} |"
        )
    return "\n".join(lines)


def minutes_to_reach(curve: list[dict[str, float]], target: float) -> str:
    """Formats the minutes until a share of the symbols was first correct, free-running, at an evaluation."""
    return next((f"{at['minutes']:.0f} min" for at in curve if at["free"] >= target), "-")


def render_capacity(records: list[Record]) -> str:
    """Renders one table per kind: correct symbols and sequences, free-running, and bits per code dimension."""
    parts = []
    for kind in ("hierarchical", "flat"):
        found = {
            (r["config"]["length"], r["config"]["column"]): r["numbers"]
            for r in records
            if r["config"]["model"]["kind"] == kind
        }
        columns = sorted({column for _, column in found})
        sizes = {column: next(n["code"] for (_, c), n in found.items() if c == column) for column in columns}
        parts += [
            f"**{kind}**: symbols / sequences reconstructed free-running, bits per code dimension",
            "",
            "| length | " + " | ".join(f"code of {sizes[column]:,}" for column in columns) + " |",
            "|---" * (len(columns) + 1) + "|",
            *(
                f"| {length} | " + " | ".join(format_entry(found.get((length, column))) for column in columns) + " |"
                for length in sorted({length for length, _ in found})
            ),
            "",
        ]
    return "\n".join(parts).rstrip()


def format_entry(numbers: dict[str, Any] | None) -> str:
    """Formats one entry of the table."""
    if numbers is None:
        return ""
    return f"{numbers['free']:.0%} / {numbers['exact']:.0%}, {numbers['bits'] / numbers['code']:.2f}"


def draw(records: list[Record], folder: Path) -> None:
    """Draws the learning curves."""
    panels = {
        title: {
            record["cell"]: ([at["minutes"] for at in curve], [at[key] for at in curve])
            for record in records
            for curve in [record["numbers"]["curve"]]
        }
        for key, title in (("forced", "symbols, teacher-forced"), ("free", "symbols, free-running"))
    }
    draw_lines(panels, ("minutes of training", "share"), folder / "memory.png")


def draw_capacity(records: list[Record], folder: Path) -> None:
    """Draws bits per code dimension against length, one line per code size."""
    panels: dict[str, dict[str, tuple[list[float], list[float]]]] = {"hierarchical": {}, "flat": {}}
    for r in sorted(records, key=lambda r: (r["config"]["column"], r["config"]["length"])):
        lines = panels[r["config"]["model"]["kind"]]
        lengths, bits = lines.setdefault(f"code of {r['numbers']['code']:,}", ([], []))
        lengths.append(r["config"]["length"])
        bits.append(r["numbers"]["bits"] / r["numbers"]["code"])
    draw_lines(panels, ("length", "bits per code dimension"), folder / "capacity.png")


BENCHMARKS = (
    Benchmark("memory", cells, measure, render, draw),
    Benchmark("capacity", capacity_cells, measure, render_capacity, draw_capacity),
)
