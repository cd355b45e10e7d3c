"""Do the doctor's repairs heal, and more often than a repair at random?

    python -m benchmarks run repairs

Sick patients whose fault can be repaired from outside, of variants that nobody looked at while rules and repairs were
written. The repair of whatever cause is named first is tried beside the sick model, and so is, with the same means and
as many steps, the repair of another cause, drawn at random among those that can be applied. Healed is what gets as far
as the healthy twin, of the same sizes, seed and data, in as many steps: what is left of the first loss is 5 % more at
most. How far luck goes is shown by the healthy twin with other fresh weights. Something to heal is there where the
fault costs more than 5 points of the first loss, and does not lie in the loss itself, which only its author can change.

Device: one CPU core takes about half a minute a patient, twenty minutes for all.
Expected: of those with something to heal, all are clearly better by the doctor's repair, and nine of ten arrive within
5 %, as many as with other weights; a random repair does little.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.doctor import fault_injection
from benchmarks.doctor.accuracy import PATIENCE, share
from benchmarks.doctor.models.spec import Spec
from benchmarks.harness.record import Benchmark, Cell, Record
from hae_jax.doctor import Repair, repair
from hae_jax.doctor.fixes import FIXES, outside
from hae_jax.doctor.inputs.fields import read_fields
from hae_jax.doctor.inputs.normalize import NormalizedSetup, normalize
from hae_jax.doctor.inputs.setup import parse
from hae_jax.doctor.probes.short_training import ShortTraining
from hae_jax.doctor.probes.training import STEPS
from hae_jax.doctor.repair import MORE, left, trial
from hae_jax.doctor.report import Evidence

FIRST, VARIANTS = 13, 4
"""Which variant of each cause comes first, of those that nobody looked at while repairs were written, and how many."""
OTHER = 1000
"""What is added to a healthy twin's seed for other weights."""


def cells(quick: bool) -> list[Cell]:
    """One cell a patient; one patient if it has to be quick."""
    made = []
    for number in range(FIRST, FIRST + VARIANTS):
        for cause in sorted(FIXES):
            styles = [style for style in fault_injection.STYLES if cause in fault_injection.faults(style)]
            spec = fault_injection.sick(styles[number % len(styles)], cause, 2 * number + 1)
            made.append(Cell(f"{spec.style} | {spec.fault} | {spec.seed}", (spec.seed,), vars(spec)))
    return made[: 1 if quick else None]


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Tries the doctor's repair, and a random one."""
    spec = Spec(**cell.config)
    report = repair(fault_injection.patient(spec), PATIENCE)
    other = random(normalize(parse(fault_injection.patient(spec))), spec, report.evidence)
    twin = replace(spec, fault="healthy")
    weights = fault_injection.patient(replace(twin, seed=spec.seed + OTHER))["params"]
    return {
        "causes": [finding.cause for finding in report.findings],
        "healthy": trained(fault_injection.patient(twin)),
        "again": trained(fault_injection.patient(twin) | {"params": weights}),
        "repair": None if report.repair is None else vars(report.repair) | {"losses": None},
        "random": None if other is None else vars(other) | {"losses": None},
    }


def trained(patient: dict[str, Any]) -> float:
    """Trains a patient for as many steps; returns which share of its first loss is left."""
    trial = ShortTraining(normalize(parse(patient)))
    course = trial.run(trial.case.batches, STEPS, patience=PATIENCE)
    return left(trial, course, len(course.loss))


def random(case: NormalizedSetup, spec: Spec, evidence: Evidence) -> Repair | None:
    """Tries the repair of another cause; None if none can be applied."""
    others = sorted(set(FIXES) - {spec.fault})
    for cause in np.random.default_rng(spec.seed).permutation(others).tolist():
        try:
            twins = outside(case, read_fields(case), cause, evidence)
        except (KeyError, TypeError):
            # It needs a number that was not measured.
            continue
        if twins is not None:
            return trial(cause, twins, evidence, PATIENCE)
    return None


def render(records: list[Record]) -> str:
    """Rates with Wilson intervals, then one row a cause."""
    lines = [
        "| patients | repair | better than the sick | of the way to the healthy twin, median | as far as it | worse |",
        "|---|---|---|---|---|---|",
    ]
    for group, own in (("all", records), ("with something to heal", list(filter(curable, records)))):
        if not own:
            continue
        for said, name in (("the doctor's", "repair"), ("a random one", "random")):
            rates = (share(own, lambda r, holds=holds, name=name: holds(r, name)) for holds in (better, healed, worse))
            ahead, arrived, behind = rates
            lines.append(f"| {group} | {said} | {ahead} | {distance(own, name)} | {arrived} | {behind} |")
        lines.append(f"| {group} | the healthy twin, other weights | - | - | {share(own, same)} | - |")
    lines += ["", "| cause | as far as the healthy twin | by a random repair |", "|---|---|---|"]
    for fault in sorted({r["config"]["fault"] for r in records}):
        own = [r for r in records if r["config"]["fault"] == fault]
        both = (share(own, lambda r, name=name: healed(r, name)) for name in ("repair", "random"))
        lines.append(f"| `{fault}` | {' | '.join(both)} |")
    return "\n".join(lines)


def curable(record: Record) -> bool:
    """Says whether the fault costs anything, and is not a part of the user's program."""
    numbers = record["numbers"]
    tried = [each for each in (numbers["repair"], numbers["random"]) if each and each["left"]]
    inside = numbers["repair"] and not numbers["repair"]["change"]
    return bool(tried) and not inside and tried[0]["left"]["sick"] > numbers["healthy"] + MORE


def same(record: Record) -> bool:
    """Says whether other weights bring the healthy twin as far."""
    return record["numbers"]["again"] <= (1 + MORE) * record["numbers"]["healthy"]


def better(record: Record, name: str) -> bool:
    """Says whether the repaired twin got rid of clearly more than the sick one, which `repair` calls healed."""
    tried = record["numbers"][name]
    return bool(tried and tried["healed"])


def distance(records: list[Record], name: str) -> str:
    """Writes how much of the way from the sick to the healthy twin a repair went; no repair went nowhere."""
    ways = []
    for numbers in (record["numbers"] for record in records):
        tried = numbers[name]
        if not (tried and tried["change"]):
            ways.append(0.0)
        elif (whole := tried["left"]["sick"] - numbers["healthy"]) > MORE:
            # Where the sick one is nearly as good there is no way to go.
            ways.append((tried["left"]["sick"] - tried["left"]["repaired"]) / whole)
    return f"{100 * float(np.median(ways)):.0f} %" if ways else "-"


def healed(record: Record, name: str) -> bool:
    """Says whether a repaired twin has as little of its loss left as the healthy twin, and 5 % more at most."""
    tried = record["numbers"][name]
    return bool(tried and tried["change"]) and tried["left"]["repaired"] <= (1 + MORE) * record["numbers"]["healthy"]


def worse(record: Record, name: str) -> bool:
    """Says whether it has clearly more left than the sick one."""
    tried = record["numbers"][name]
    return bool(tried and tried["change"]) and tried["left"]["repaired"] > tried["left"]["sick"] + MORE


TABLE = Benchmark("repairs", cells, measure, render)
BENCHMARKS = (TABLE,)
