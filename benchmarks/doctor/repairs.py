"""Repairs of the doctor: do they reduce the loss, and more often than a random repair?

    python -m benchmarks run repairs

Faulty models whose fault can be repaired from outside, of variants that were not used while rules and repairs were
written. The repair of the first finding is tested, and so is, in the same way and for as many steps, the repair of
another cause, drawn at random among those that can be applied. A repair arrives if it gets as far as the healthy twin
of the same sizes, seed and data in as many steps: at most 5 % more of the first loss is left. The healthy twin with
other initial weights shows how much of that is chance. There is something to repair if the fault costs more than 5
points of the first loss and is not a part of the loss itself, which only its author can change.

Device: one CPU core takes about half a minute a model, twenty minutes for all.
Expected: with something to repair, all are clearly better with the doctor's repair, and nine of ten arrive, as many as
with other initial weights; a random repair does little.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.doctor import fault_injection
from benchmarks.doctor.accuracy import share
from benchmarks.doctor.models.spec import Spec
from benchmarks.harness.record import Benchmark, Cell, Record
from hae_jax.doctor import Repair, repair
from hae_jax.doctor.evidence import Evidence
from hae_jax.doctor.fixes import FIXES, fix_setup
from hae_jax.doctor.inputs.fields import read_fields
from hae_jax.doctor.inputs.normalize import NormalizedSetup, normalize
from hae_jax.doctor.inputs.setup import parse
from hae_jax.doctor.probes.short_training import ShortTraining
from hae_jax.doctor.probes.training import STEPS
from hae_jax.doctor.repair import MARGIN, compare, loss_left

FIRST, VARIANTS = 13, 4
"""First variant of each cause, of those not used while repairs were written, and their number."""
OTHER = 1000
"""Added to the seed of a healthy twin for other initial weights."""


def cells(quick: bool) -> list[Cell]:
    """One cell for each model; one if `quick`."""
    made = []
    for number in range(FIRST, FIRST + VARIANTS):
        for cause in sorted(FIXES):
            styles = [style for style in fault_injection.STYLES if cause in fault_injection.faults(style)]
            spec = fault_injection.faulty(styles[number % len(styles)], cause, 2 * number + 1)
            made.append(Cell(f"{spec.style} | {spec.fault} | {spec.seed}", (spec.seed,), vars(spec)))
    return made[: 1 if quick else None]


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Tries the doctor's repair, and a random one."""
    spec = Spec(**cell.config)
    report = repair(fault_injection.setup(spec))
    other = random_repair(normalize(parse(fault_injection.setup(spec))), spec, report.evidence)
    twin = replace(spec, fault="healthy")
    weights = fault_injection.setup(replace(twin, seed=spec.seed + OTHER))["params"]
    return {
        "causes": [finding.cause for finding in report.findings],
        "healthy": loss_left_after_training(fault_injection.setup(twin)),
        "again": loss_left_after_training(fault_injection.setup(twin) | {"params": weights}),
        "repair": None if report.repair is None else vars(report.repair) | {"losses": None},
        "random": None if other is None else vars(other) | {"losses": None},
    }


def loss_left_after_training(setup: dict[str, Any]) -> float:
    """Trains a setup for as many steps; returns the loss that is left, relative to the first one."""
    trainer = ShortTraining(normalize(parse(setup)))
    curve = trainer.run(trainer.setup.batches, STEPS)
    return loss_left(trainer, curve, len(curve.loss))


def random_repair(setup: NormalizedSetup, spec: Spec, evidence: Evidence) -> Repair | None:
    """Tries the repair of another cause; returns None if none can be applied."""
    others = sorted(set(FIXES) - {spec.fault})
    for cause in np.random.default_rng(spec.seed).permutation(others).tolist():
        try:
            twins = fix_setup(setup, read_fields(setup), cause, evidence)
        except (KeyError, TypeError):
            # It needs evidence that was not measured.
            continue
        if twins is not None:
            return compare(cause, twins, evidence)
    return None


def render(records: list[Record]) -> str:
    """Rates with Wilson intervals, then one row for each cause."""
    lines = [
        "| models | repair | better than without | of the way to the healthy twin, median | as far as it | worse |",
        "|---|---|---|---|---|---|",
    ]
    for group, own in (("all", records), ("with something to repair", list(filter(is_repairable, records)))):
        if not own:
            continue
        for label, name in (("the doctor's", "repair"), ("a random one", "random")):
            better, arrived, worse = (
                share(own, lambda r, holds=holds, name=name: holds(r, name)) for holds in (is_better, arrives, is_worse)
            )
            lines.append(f"| {group} | {label} | {better} | {median_way(own, name)} | {arrived} | {worse} |")
        lines.append(f"| {group} | the healthy twin, other weights | - | - | {share(own, other_weights_arrive)} | - |")
    lines += ["", "| cause | as far as the healthy twin | by a random repair |", "|---|---|---|"]
    for fault in sorted({r["config"]["fault"] for r in records}):
        own = [r for r in records if r["config"]["fault"] == fault]
        both = (share(own, lambda r, name=name: arrives(r, name)) for name in ("repair", "random"))
        lines.append(f"| `{fault}` | {' | '.join(both)} |")
    return "\n".join(lines)


def is_repairable(record: Record) -> bool:
    """Returns whether the fault increases the loss, and is not a part of the user's program."""
    numbers = record["numbers"]
    tried = [each for each in (numbers["repair"], numbers["random"]) if each and each["left"]]
    in_program = numbers["repair"] and not numbers["repair"]["change"]
    return bool(tried) and not in_program and tried[0]["left"]["sick"] > numbers["healthy"] + MARGIN


def other_weights_arrive(record: Record) -> bool:
    """Returns whether the healthy twin gets as far with other initial weights."""
    return record["numbers"]["again"] <= (1 + MARGIN) * record["numbers"]["healthy"]


def is_better(record: Record, name: str) -> bool:
    """Returns whether the repaired run loses a clearly larger share of its loss, which `repair` calls healed."""
    tried = record["numbers"][name]
    return bool(tried and tried["healed"])


def median_way(records: list[Record], name: str) -> str:
    """Returns the median part of the way from the faulty run to the healthy twin that a repair covers; 0 if none."""
    ways = []
    for numbers in (record["numbers"] for record in records):
        tried = numbers[name]
        if not (tried and tried["change"]):
            ways.append(0.0)
        elif (whole := tried["left"]["sick"] - numbers["healthy"]) > MARGIN:
            # If the faulty run is nearly as good, there is no way to go.
            ways.append((tried["left"]["sick"] - tried["left"]["repaired"]) / whole)
    return f"{100 * float(np.median(ways)):.0f} %" if ways else "-"


def arrives(record: Record, name: str) -> bool:
    """Returns whether a repaired run has at most 5 % more of its loss left than the healthy twin."""
    tried = record["numbers"][name]
    return bool(tried and tried["change"]) and tried["left"]["repaired"] <= (1 + MARGIN) * record["numbers"]["healthy"]


def is_worse(record: Record, name: str) -> bool:
    """Returns whether a repaired run has clearly more of its loss left than the faulty one."""
    tried = record["numbers"][name]
    return bool(tried and tried["change"]) and tried["left"]["repaired"] > tried["left"]["sick"] + MARGIN


TABLE = Benchmark("repairs", cells, measure, render)
BENCHMARKS = (TABLE,)
