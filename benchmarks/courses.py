"""What does each cause look like from outside? The loss of a sick run, beside that of its healthy twin.

    python -m benchmarks run courses

Twelve of the causes that people meet most, each in a small autoencoder of `benchmarks.patients`; the twin has the same
sizes, seed, data and optimizer, but for the fault. Shown is the loss as a share of the first one.

Device: one CPU core takes about two minutes.
Expected: curves that cannot be told apart by their looks: several causes let the loss fall as the healthy twin's does.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import faults
from benchmarks.patients.spec import Spec
from benchmarks.record import Benchmark, Cell, Record
from hae_jax.doctor.case import open_case
from hae_jax.doctor.patient import admit
from hae_jax.doctor.trial import Trial
from hae_jax.plots import draw_lines

GROUPS = {
    "wiring": ("code-unwired", "softmax-twice", "target-leak"),
    "data": ("padding-in-loss", "inputs-unscaled", "data-not-shuffled"),
    "recurrence": ("gates-saturated", "exploding-recurrence", "forget-gate-closed"),
    "optimisation": ("learning-rate-too-high", "learning-rate-too-low", "clip-too-tight"),
}
"""Causes by the picture that they are drawn in."""
STEPS, MEAN = 200, 10
"""Steps of training, and how many are averaged to a point."""


def cells(quick: bool) -> list[Cell]:
    """One cell a cause; one of all if it has to be quick."""
    causes = [cause for group in GROUPS.values() for cause in group]
    specs = [faults.sick("series" if cause == "inputs-unscaled" else "plain", cause, 2) for cause in causes]
    return [Cell(spec.fault, (spec.seed,), vars(spec)) for spec in specs[: 1 if quick else None]]


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Trains twins."""
    sick = Spec(**cell.config)
    return {"sick": course(sick), "healthy": course(replace(sick, fault="healthy"))}


def course(spec: Spec) -> list[float]:
    """Returns the means of stretches of the loss, as shares of the first."""
    case = open_case(admit(faults.patient(spec)))
    loss = np.array(Trial(case).run(case.batches, STEPS, patience=600.0).loss)
    loss = loss[: len(loss) // MEAN * MEAN].reshape(-1, MEAN)
    return [round(float(x), 5) for x in loss.mean(1) / loss[0, 0]]


def render(records: list[Record]) -> str:
    """What is left of the loss at the end."""
    lines = [f"| cause | left of the loss after {STEPS} steps | of its healthy twin's |", "|---|---|---|"]
    for record in records:
        sick, healthy = (f"{record['numbers'][name][-1]:.1%}" for name in ("sick", "healthy"))
        lines.append(f"| `{record['cell']}` | {sick} | {healthy} |")
    return "\n".join(lines)


def draw(records: list[Record], folder: Path) -> None:
    """Draws a picture a group."""
    numbers = {record["cell"]: record["numbers"] for record in records}
    for group, causes in GROUPS.items():
        panels = {
            cause: {
                name: ([MEAN * (at + 1) for at in range(len(numbers[cause][name]))], numbers[cause][name])
                for name in ("sick", "healthy")
            }
            for cause in causes
            if cause in numbers
        }
        draw_lines(panels, ("step", "loss, as a share of the first"), folder / f"causes_{group}.png")


TABLE = Benchmark("courses", cells, measure, render, draw)
BENCHMARKS = (TABLE,)
