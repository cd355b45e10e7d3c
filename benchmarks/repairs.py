"""Do the doctor's repairs heal, and more often than a repair at random?

    python -m benchmarks run repairs

Sick patients whose fault can be repaired from outside, of variants that the rules have not seen, as in `doctor`. The
repair of whatever cause is named first is tried beside the sick model, and so is, with the same means and as many
steps, the repair of another cause, drawn at random among those that can be applied. Healed is what gets as far as the
healthy twin, of the same sizes, seed and data, in as many steps: what is left of the first loss is 5 % more at most.
Beside this the table says how often the sick twin is left behind, and how much of the way was made.

Device: one CPU core takes about half a minute a patient, a quarter of an hour for all.
Expected: three of four are clearly better by the doctor's repair, and make nearly the whole way; half of them arrive
within 5 %. A random repair does little. Wanted: nine of ten.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import faults
from benchmarks.doctor import PATIENCE, SEEN, share
from benchmarks.patients.spec import Spec
from benchmarks.record import Benchmark, Cell, Record
from hae_jax.doctor import Repair, repair
from hae_jax.doctor.case import Case, open_case
from hae_jax.doctor.fields import read_fields
from hae_jax.doctor.finding import Evidence
from hae_jax.doctor.patient import admit
from hae_jax.doctor.probes.training import STEPS
from hae_jax.doctor.proof import MORE, left, trial
from hae_jax.doctor.remedy import REMEDIES, outside
from hae_jax.doctor.trial import Trial

VARIANTS = 3
"""Of each cause."""


def cells(quick: bool) -> list[Cell]:
    """One cell a patient; one patient if it has to be quick."""
    made = []
    for number in range(SEEN, SEEN + VARIANTS):
        for cause in sorted(REMEDIES):
            styles = [style for style in faults.STYLES if cause in faults.faults(style)]
            spec = faults.sick(styles[number % len(styles)], cause, 2 * number + 1)
            made.append(Cell(f"{spec.style} | {spec.fault} | {spec.seed}", (spec.seed,), vars(spec)))
    return made[: 1 if quick else None]


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Tries the doctor's repair, and a random one."""
    spec = Spec(**cell.config)
    report = repair(faults.patient(spec), PATIENCE)
    other = random(open_case(admit(faults.patient(spec))), spec, report.evidence)
    healthy = Trial(open_case(admit(faults.patient(replace(spec, fault="healthy")))))
    course = healthy.run(healthy.case.batches, STEPS, patience=PATIENCE)
    return {
        "causes": [finding.cause for finding in report.findings],
        "healthy": left(healthy, course, len(course.loss)),
        "repair": None if report.repair is None else vars(report.repair) | {"losses": None},
        "random": None if other is None else vars(other) | {"losses": None},
    }


def random(case: Case, spec: Spec, evidence: Evidence) -> Repair | None:
    """Tries the repair of another cause; None if none can be applied."""
    others = sorted(set(REMEDIES) - {spec.fault})
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
        "| repair | better than the sick | of the distance to the healthy twin, median | as far as it | made worse |",
        "|---|---|---|---|---|",
        *(
            f"| {said} | {share(records, lambda r, name=name: better(r, name))} | {distance(records, name)} | "
            f"{share(records, lambda r, name=name: healed(r, name))} | "
            f"{share(records, lambda r, name=name: worse(r, name))} |"
            for said, name in (("the doctor's", "repair"), ("a random one", "random"))
        ),
        "", "| cause | as far as the healthy twin | by a random repair |", "|---|---|---|",
    ]  # fmt: skip
    for fault in sorted({r["config"]["fault"] for r in records}):
        own = [r for r in records if r["config"]["fault"] == fault]
        both = (share(own, lambda r, name=name: healed(r, name)) for name in ("repair", "random"))
        lines.append(f"| `{fault}` | {' | '.join(both)} |")
    return "\n".join(lines)


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
    return bool(tried and tried["change"]) and tried["left"]["repaired"] <= 1.05 * record["numbers"]["healthy"]


def worse(record: Record, name: str) -> bool:
    """Says whether it has clearly more left than the sick one."""
    tried = record["numbers"][name]
    return bool(tried and tried["change"]) and tried["left"]["repaired"] > tried["left"]["sick"] + MORE


TABLE = Benchmark("repairs", cells, measure, render)
BENCHMARKS = (TABLE,)
