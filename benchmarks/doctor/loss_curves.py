"""What does each cause look like from outside? The loss of a sick run, beside that of its healthy twin.

    python -m benchmarks run courses

Every cause that the generator can make, each in a small autoencoder of `benchmarks.doctor.models`; the twin has the
same sizes, seed, data and optimizer, but for the fault. Shown is the loss as a share of the first one.

Device: one CPU core takes about half a minute a cause.
Expected: curves that cannot be told apart by their looks: several causes let the loss fall as the healthy twin's does.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.doctor import fault_injection
from benchmarks.doctor.models.spec import Spec
from benchmarks.harness.record import Benchmark, Cell, Record
from hae_jax.doctor.inputs.normalize import normalize
from hae_jax.doctor.inputs.setup import parse
from hae_jax.doctor.probes.short_training import ShortTraining
from hae_jax.doctor.sparkline import svg

STEPS, MEAN = 200, 10
"""Steps of training, and how many are averaged to a point."""


def cells(quick: bool) -> list[Cell]:
    """One cell a cause that can be made; one of all if it has to be quick."""
    specs = [fault_injection.sick(style(cause), cause, 2) for cause in fault_injection.causes()]
    return [Cell(spec.fault, (spec.seed,), vars(spec)) for spec in specs[: 1 if quick else None]]


def style(cause: str) -> str:
    """Returns the first style of patient that can have a fault."""
    return next(style for style in fault_injection.STYLES if cause in fault_injection.faults(style))


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Trains twins."""
    sick = Spec(**cell.config)
    twins = {"sick": course(sick), "healthy": course(replace(sick, fault="healthy"))}
    shares = {name: shares for name, (shares, _) in twins.items()}
    return shares | {"steps": {name: steps for name, (_, steps) in twins.items()}}


def course(spec: Spec) -> tuple[list[float], int]:
    """Returns the means of stretches of the loss, as shares of the first, and after how many steps it was no number."""
    case = normalize(parse(fault_injection.patient(spec)))
    loss = np.array(ShortTraining(case).run(case.batches, STEPS, patience=600.0).loss)
    # Training breaks off at the first one that is not finite.
    loss = loss[np.isfinite(loss)]
    return [round(float(loss[at : at + MEAN].mean() / loss[0]), 5) for at in range(0, len(loss), MEAN)], len(loss)


def render(records: list[Record]) -> str:
    """What is left of the loss at the end."""
    lines = [f"| cause | left of the loss after {STEPS} steps | of its healthy twin's |", "|---|---|---|"]
    for record in sorted(records, key=lambda each: each["cell"]):
        ends = []
        for name in ("sick", "healthy"):
            reached = taken(record, name)
            broken = "" if reached == STEPS else f", broken off after {reached}"
            ends.append(f"{record['numbers'][name][-1]:.1%}{broken}")
        lines.append(f"| `{record['cell']}` | {' | '.join(ends)} |")
    return "\n".join(lines)


def taken(record: Record, name: str) -> int:
    """Returns the number of steps that a twin went; old records, of twins that went all, do not say it."""
    return record["numbers"].get("steps", {}).get(name, STEPS)


def draw(records: list[Record], folder: Path) -> None:
    """Draws a picture a cause."""
    (folder / "causes").mkdir(exist_ok=True)
    for record in records:
        lines = {}
        for name in ("sick", "healthy"):
            shares = [1.0, *record["numbers"][name]]
            lines[name] = ([min(MEAN * at, taken(record, name)) for at in range(len(shares))], shares)
        drawn = svg(lines, ("steps of training", "loss, as a share of the first"), record["cell"])
        (folder / "causes" / f"{record['cell']}.svg").write_text(drawn + "\n", encoding="utf-8")


TABLE = Benchmark("courses", cells, measure, render, draw)
BENCHMARKS = (TABLE,)
