"""Loss curves of every cause: the losses of a faulty run and of its healthy twin.

    python -m benchmarks run courses

Every cause that can be injected, each in a small autoencoder of `benchmarks.doctor.models`; the twin has the same
sizes, seed, data and optimizer, but not the fault. Losses are relative to the first one.

Device: one CPU core takes about half a minute a cause.
Expected: curves that do not identify the cause: with several faults the loss falls like that of the healthy twin.
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
"""Steps of training, and steps averaged to a point."""
NAMES = {"sick": "faulty", "healthy": "healthy"}
"""Names of the twins in records, with their labels in figures."""


def cells(quick: bool) -> list[Cell]:
    """One cell for each cause that can be injected; the first one if `quick`."""
    specs = [fault_injection.faulty(style(cause), cause, 2) for cause in fault_injection.causes()]
    return [Cell(spec.fault, (spec.seed,), vars(spec)) for spec in specs[: 1 if quick else None]]


def style(cause: str) -> str:
    """Returns the first style that can have a fault."""
    return next(style for style in fault_injection.STYLES if cause in fault_injection.faults(style))


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Trains twins."""
    faulty = Spec(**cell.config)
    twins = {"sick": loss_curve(faulty), "healthy": loss_curve(replace(faulty, fault="healthy"))}
    points = {name: points for name, (points, _) in twins.items()}
    return points | {"steps": {name: steps for name, (_, steps) in twins.items()}}


def loss_curve(spec: Spec) -> tuple[list[float], int]:
    """Returns the means of intervals of the loss, relative to the first one, and the number of finite losses."""
    setup = normalize(parse(fault_injection.setup(spec)))
    loss = np.array(ShortTraining(setup).run(setup.batches, STEPS).loss)
    # Training ends at the first value that is not finite.
    loss = loss[np.isfinite(loss)]
    return [round(float(loss[at : at + MEAN].mean() / loss[0]), 5) for at in range(0, len(loss), MEAN)], len(loss)


def render(records: list[Record]) -> str:
    """The loss at the end, relative to the first one."""
    lines = [f"| cause | loss left after {STEPS} steps | loss left of the healthy twin |", "|---|---|---|"]
    for record in sorted(records, key=lambda each: each["cell"]):
        ends = []
        for name in NAMES:
            steps = steps_of(record, name)
            broken = "" if steps == STEPS else f", not finite after {steps}"
            ends.append(f"{record['numbers'][name][-1]:.1%}{broken}")
        lines.append(f"| `{record['cell']}` | {' | '.join(ends)} |")
    return "\n".join(lines)


def steps_of(record: Record, name: str) -> int:
    """Returns the number of steps of a twin; old records, whose twins took all of them, do not contain it."""
    return record["numbers"].get("steps", {}).get(name, STEPS)


def draw(records: list[Record], folder: Path) -> None:
    """Draws a figure for each cause."""
    (folder / "causes").mkdir(exist_ok=True)
    for record in records:
        lines = {}
        for name, label in NAMES.items():
            points = [1.0, *record["numbers"][name]]
            lines[label] = ([min(MEAN * at, steps_of(record, name)) for at in range(len(points))], points)
        figure = svg(lines, ("steps of training", "loss, as a share of the first"), record["cell"])
        (folder / "causes" / f"{record['cell']}.svg").write_text(figure + "\n", encoding="utf-8")


TABLE = Benchmark("courses", cells, measure, render, draw)
BENCHMARKS = (TABLE,)
