"""How much can a code hold, and how fast does a model learn to use it?

    python -m benchmarks run memory

Sequences of random symbols out of 50, drawn anew for every step, have to come back from their codes. `memory` is
keras-team/keras#12489, whose reporter saw nothing learned within ten hours: 100 symbols, an LSTM of 200 units. The
hierarchical model reads them as 10 sentences of 10, the flat one as a single sentence; it stands here with the
reporter's 200 units, with mirrored weights and with naive ones, and with as many parameters as the hierarchical model.
`capacity` varies the length and the size of the code and gives every model the same few minutes; a flat model has as
many parameters as the hierarchical one beside it. Minutes are those that a CPU's cores work. A symbol has 5.64 bits;
bits a number of the code are counted from the teacher-forced loss. What a bare hierarchy remembers with different
weights is asked by `gradient_stability`.

Device: two CPU cores, eight minutes for each of the six models of `memory`, two for each of the 24 of `capacity`.
Expected: the hierarchical model with a code of 1,024 numbers returns all symbols, running free; naive ones none.
"""

import dataclasses
from pathlib import Path
from typing import Any

from benchmarks.harness.matched_size import equalised, parameters
from benchmarks.harness.plots import draw_lines
from benchmarks.harness.record import Benchmark, Cell, Record
from benchmarks.learning.random_sequences import VOCAB, Setting, learn
from hae_jax.config import ModelConfig, OptimConfig
from hae_jax.config.presets import preset

RECIPE: dict[str, Any] = {"embed_dim": 9, "hidden_dim": 102}
"""Fields of the model's config in which all models here differ from the preset `small`: room for the ten symbols of a
sentence and its end mark, and in the code for ten sentences."""
NAIVE: dict[str, Any] = {
    "initializer": "keras", "layer_norm": "none", "sentence_loss": 0.0, "vector_loss": 0.0,
    "conditioning": "initial_state",
    "reverse": False, "tie_embeddings": False, "feedback": "word", "embed_dim": 64,
}  # fmt: skip
"""What the reporter had, and anybody else would: the weights of Keras, and nothing that makes it train."""
OPTIM: dict[str, Any] = {"final": 0.02}
"""The same of the optimizer's config."""
WIDE = 512
"""Units of a layer from which on it is given the sentence level's rate."""
LENGTH, SEGMENT, BATCH = 100, 10, 32
MINUTES, FEW = 8.0, 2.0
"""Training time of a cell of `memory`, and of one of `capacity`."""
CODE, UNITS = 1024, 200
"""Size of the code of the model that has to succeed, and of the reporter's LSTM."""
CODES, LENGTHS = (64, 256, 1024), (10, 50, 100, 400)
TARGETS = (0.5, 0.9, 0.99)
"""Shares of symbols whose first minute the table tells."""


def hierarchical(code: int, recipe: dict[str, Any] = RECIPE) -> ModelConfig:
    """Returns the hierarchical model with a code of that size."""
    return dataclasses.replace(preset("small").model, **recipe | {"sentence_dim": code})


def flat(target: int, recipe: dict[str, Any] = RECIPE) -> ModelConfig:
    """Returns the flat model with about as many parameters as the hierarchical one with a code of that size."""
    like = dataclasses.replace(preset("small").model, **recipe | {"kind": "flat"})
    return equalised(like, VOCAB, parameters(hierarchical(target, recipe), VOCAB))


def setting(model: ModelConfig, length: int, minutes: float) -> Setting:
    """Returns what a cell is about; a flat model reads a sequence as one sentence."""
    optim: OptimConfig = dataclasses.replace(preset("small").optim, **OPTIM)
    if model.initializer != "mirror":
        optim = dataclasses.replace(optim, sentence_lr_scale=1.0)
    elif model.kind == "flat" and model.hidden_dim >= WIDE:
        # Its one layer is as wide as the sentence level, which has this share of the rate.
        optim = dataclasses.replace(optim, learning_rate=optim.learning_rate * optim.sentence_lr_scale)
    return Setting(length, length if model.kind == "flat" else SEGMENT, BATCH, minutes, model, optim)


def cells(quick: bool) -> list[Cell]:
    """All models; two tiny ones for seconds if it has to be quick."""
    if quick:
        small = {"embed_dim": 16, "hidden_dim": 32}
        chosen = {"hierarchical, code 48": hierarchical(48, small), "flat": flat(48, small)}
        return [Cell(name, (0,), setting(model, 20, 0.05).to_dict()) for name, model in chosen.items()]
    chosen = {
        f"hierarchical, code of {CODE:,}": hierarchical(CODE),
        f"flat, {UNITS} units, naive": dataclasses.replace(flat(CODE), hidden_dim=UNITS, **NAIVE),
        "flat, as many parameters": flat(CODE),
        f"hierarchical, code of {CODE:,}, naive": hierarchical(CODE, NAIVE | {"hidden_dim": 128}),
        f"flat, {UNITS} units": dataclasses.replace(flat(CODE), hidden_dim=UNITS),
        f"hierarchical, {UNITS} units": hierarchical(UNITS, RECIPE | {"hidden_dim": UNITS}),
    }
    return [Cell(name, (0,), setting(model, LENGTH, MINUTES).to_dict()) for name, model in chosen.items()]


def grid(quick: bool) -> list[Cell]:
    """One cell a kind, length and size of the code, those of 100 symbols first; one if it has to be quick."""
    sizes = [(16, 10)] if quick else [(code, length) for code in CODES for length in LENGTHS]
    sizes.sort(key=lambda size: (abs(size[1] - LENGTH), size[0]) if not quick else 0)
    recipe, minutes = ({"embed_dim": 8, "hidden_dim": 16}, 0.05) if quick else (RECIPE, FEW)
    return [
        Cell(f"{kind}, length {length}, code {code}", (0,), setting(model(code, recipe), length, minutes).to_dict()
             | {"column": code})
        for code, length in sizes
        for kind, model in (("hierarchical", hierarchical), ("flat", flat))[: 1 if quick else 2]
    ]  # fmt: skip


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Trains one model and looks at what comes back."""
    raw = {name: value for name, value in cell.config.items() if name != "column"}
    return learn(Setting.of(raw), cell.seeds[0], folder)


def render(records: list[Record]) -> str:
    """How far each model got, and when."""
    lines = [
        "| model | parameters | code | symbols, teacher-forced | running free | exact | bits a number of the code | "
        + " | ".join(f"{target:.0%} after" for target in TARGETS)
        + " | steps | minutes |",
        "|---" * (9 + len(TARGETS)) + "|",
    ]
    for record in records:
        n = record["numbers"]
        lines.append(
            f"| {record['cell']} | {n['parameters']:,} | {n['code']:,} | {n['forced']:.1%} | {n['free']:.1%} "
            f"| {n['exact']:.1%} | {n['bits'] / n['code']:.2f} | "
            + " | ".join(arrival(n["curve"], target) for target in TARGETS)
            + f" | {n['steps']:,} | {n['minutes']:.0f} |"
        )
    return "\n".join(lines)


def arrival(curve: list[dict[str, float]], target: float) -> str:
    """Says after how many minutes that share of the symbols first came back, running free, at a look."""
    return next((f"{at['minutes']:.0f} min" for at in curve if at["free"] >= target), "-")


def render_grid(records: list[Record]) -> str:
    """One table a kind: symbols that come back running free, whole sequences, and bits a number of the code."""
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
            f"**{kind}**: symbols / sequences that come back running free, bits a number of the code",
            "",
            "| length | " + " | ".join(f"code of {sizes[column]:,}" for column in columns) + " |",
            "|---" * (len(columns) + 1) + "|",
            *(
                f"| {length} | " + " | ".join(entry(found.get((length, column))) for column in columns) + " |"
                for length in sorted({length for length, _ in found})
            ),
            "",
        ]
    return "\n".join(parts).rstrip()


def entry(numbers: dict[str, Any] | None) -> str:
    """Writes one place of the table."""
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
        for key, title in (("forced", "symbols, teacher-forced"), ("free", "symbols, running free"))
    }
    draw_lines(panels, ("minutes of training", "share"), folder / "memory.png")


def draw_grid(records: list[Record], folder: Path) -> None:
    """Draws the bits a number of the code over the length, one line a size of the code."""
    panels: dict[str, dict[str, tuple[list[float], list[float]]]] = {"hierarchical": {}, "flat": {}}
    for r in sorted(records, key=lambda r: (r["config"]["column"], r["config"]["length"])):
        lines = panels[r["config"]["model"]["kind"]]
        lengths, bits = lines.setdefault(f"code of {r['numbers']['code']:,}", ([], []))
        lengths.append(r["config"]["length"])
        bits.append(r["numbers"]["bits"] / r["numbers"]["code"])
    draw_lines(panels, ("length", "bits a number of the code"), folder / "capacity.png")


BENCHMARKS = (
    Benchmark("memory", cells, measure, render, draw),
    Benchmark("capacity", grid, measure, render_grid, draw_grid),
)
