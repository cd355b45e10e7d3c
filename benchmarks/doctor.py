"""Does the doctor name the right cause, and keep silent about the healthy?

    python -m benchmarks run doctor

Small autoencoders in five styles (dictionaries and scans, Flax, a class in Equinox's manner, a hierarchy mapped over
documents, continuous series), each with one fault, and healthy ones of many sizes and rates. Thresholds were set on
even variants; the table is of odd ones, which the rules have not seen.

Device: two CPU cores take about a quarter of a minute a patient, hours for all.
Expected: the right cause first for nine of ten sick patients, no finding on a healthy one.
"""

from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks import faults
from benchmarks.interval import rate
from benchmarks.patients.spec import Spec
from benchmarks.record import Benchmark, Cell, Record
from hae_jax.doctor import examine

NUMBERS, WELLS = range(1, 10, 2), range(1, 601, 2)
"""Variants of the faults, and of the healthy."""


def cells(quick: bool) -> list[Cell]:
    """One cell a patient; a sick one and a healthy one if it has to be quick."""
    every = list(faults.variants(NUMBERS, WELLS))
    chosen = [every[0], every[-1]] if quick else every
    return [Cell(f"{spec.style} | {spec.fault} | {spec.seed}", (spec.seed,), vars(spec)) for spec in chosen]


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Examines a patient."""
    report = examine(faults.patient(Spec(**cell.config)))
    return {
        "causes": [finding.cause for finding in report.findings],
        "healthy": report.healthy,
        "abstained": report.abstained,
        "seconds": round(report.seconds, 1),
        "steps": report.steps,
    }


def render(records: list[Record]) -> str:
    """Rates with Wilson intervals, then one row a fault."""
    ill = [r for r in records if r["config"]["fault"] != "healthy"]
    well = [r for r in records if r["config"]["fault"] == "healthy"]
    first = [r for r in ill if r["numbers"]["causes"][:1] == [r["config"]["fault"]]]
    three = [r for r in ill if r["config"]["fault"] in r["numbers"]["causes"][:3]]
    alarm = [r for r in ill if r["numbers"]["causes"]]
    false = [r for r in well if r["numbers"]["causes"]]
    lines = ["| of | what | rate |", "|---|---|---|"]
    for name, group, what, part in (
        ("sick", ill, "right cause first", first), ("sick", ill, "right cause among the first three", three),
        ("sick", ill, "any alarm", alarm), ("healthy", well, "false alarm", false),
    ):  # fmt: skip
        lines.append(f"| {len(group)} {name} | {what} | {shown(len(part), len(group))} |")
    lines += ["", "| cause | right first | what was said instead |", "|---|---|---|"]
    for fault in sorted({r["config"]["fault"] for r in ill}):
        own = [r for r in ill if r["config"]["fault"] == fault]
        said = Counter((r["numbers"]["causes"] or ["nothing"])[0] for r in own)
        others = ", ".join(f"{cause} ({number})" for cause, number in said.most_common() if cause != fault)
        lines.append(f"| `{fault}` | {shown(said[fault], len(own))} | {others or '-'} |")
    return "\n".join(lines)


def shown(part: int, whole: int) -> str:
    """Writes a rate with its interval."""
    return rate(part, whole) if whole else "-"


TABLE = Benchmark("doctor", cells, measure, render)
BENCHMARKS = (TABLE,)
