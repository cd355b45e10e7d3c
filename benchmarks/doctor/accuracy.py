"""Does the doctor name the right cause, and keep silent about the healthy?

    python -m benchmarks run doctor

Small autoencoders in five styles (dictionaries and scans, Flax, a class in Equinox's manner, a hierarchy mapped over
documents, continuous series), each with one fault, as many healthy ones of many sizes and rates, and programs rebuilt
from public threads. Thresholds were set on even variants, then mended on the first odd ones; the table is of those
after them, which the rules have not seen; of exposure gaps, and of the healthy that speak freely, of those after all
of them, since that rule was mended once more. The threads were known while rules were written, and are counted by
themselves. Patients are examined in an order in which any beginning is a fair sample. What was measured stays beside
the records; `python -m benchmarks.doctor` judges it anew by the rules as they are, so that a better rule needs no new
measurement.

Device: one CPU core takes about a quarter of a minute a patient, hours for all.
Expected: the right cause first for nine of ten sick patients, no finding on a healthy one.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.doctor import fault_injection
from benchmarks.doctor.models.spec import Spec
from benchmarks.doctor.models.threads import THREADS
from benchmarks.harness.record import FOLDERS, RESULTS, Benchmark, Cell, Record, Summary, read, slug, write
from benchmarks.harness.statistics import rate
from hae_jax.doctor import examine
from hae_jax.doctor.probes.short_training import MIN_STEPS
from hae_jax.doctor.report import plain
from hae_jax.doctor.rules import RULES, judge

VARIANTS = 16
"""Of each cause."""
SEEN = 6
"""So many of them showed what rules had missed, and count no more."""
EXPOSED, WELL = range(26, 36), range(1001, 1125, 2)
"""Variants with an exposure gap, and healthy ones that speak freely, that count in the place of all earlier ones: the
rule was mended once more when those had been looked at."""
PATIENCE = 600.0
"""Seconds that an examination may take: so many that a busy machine does not cut short what it trains."""


def patients(variants: int = VARIANTS) -> Iterator[Cell]:
    """Yields a variant of every cause, each followed by a healthy run, then the threads, then the next variants."""
    well = 1
    for number in range(variants):
        for cause in fault_injection.causes():
            yield variant(cause, number)
            yield cell(fault_injection.healthy(fault_injection.STYLES[well // 2 % len(fault_injection.STYLES)], well))
            well += 2
        if number == 0:
            for name, (cause, _) in THREADS.items():
                yield Cell(f"thread | {name}", (0,), {"thread": name, "fault": cause})


def later() -> Iterator[Cell]:
    """Yields the patients that count in the place of others."""
    yield from (variant("exposure-gap", number) for number in EXPOSED)
    yield from (cell(fault_injection.healthy("plain", number)) for number in WELL)


def replaced(config: dict[str, Any]) -> bool:
    """Says whether a patient is one of those that others count for."""
    return config["fault"] == "exposure-gap" or (config["fault"], config.get("style")) == ("healthy", "plain")


def variant(cause: str, number: int) -> Cell:
    """Returns the cell of a sick patient; styles that can have the fault take turns."""
    styles = [style for style in fault_injection.STYLES if cause in fault_injection.faults(style)]
    return cell(fault_injection.sick(styles[number % len(styles)], cause, 2 * number + 1))


def cell(spec: Spec) -> Cell:
    """Returns the cell of a patient."""
    return Cell(f"{spec.style} | {spec.fault} | {spec.seed}", (spec.seed,), vars(spec))


def cells(quick: bool) -> list[Cell]:
    """One cell a patient; a sick one and a healthy one if it has to be quick."""
    return [*patients(), *later()][: 2 if quick else None]


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Examines a patient; all that was measured stays in the folder."""
    config = dict(cell.config)
    patient = THREADS[config["thread"]][1]() if "thread" in config else fault_injection.patient(Spec(**config))
    started = time.process_time()
    report = examine(patient, PATIENCE)
    (folder / "evidence.json").write_text(json.dumps(plain(report.evidence)), encoding="utf-8")
    return {
        "causes": [finding.cause for finding in report.findings],
        "healthy": report.healthy,
        "abstained": report.abstained,
        "not_run": sorted(report.not_run),
        "seconds": round(time.process_time() - started, 1),
        "steps": report.steps,
    }


def render(records: list[Record]) -> str:
    """Rates with Wilson intervals."""
    threads = [r for r in records if "#" in r["config"].get("thread", "")]
    ill, well = held_out(records)
    lines = ["| of | what | rate |", "|---|---|---|"]
    # Groups of which nobody has been examined yet say nothing.
    if ill:
        trained = [r["numbers"]["steps"] for r in ill if alarmed(r) and r["numbers"]["steps"]]
        lines += [
            f"| {len(ill)} sick | right cause first | {share(ill, right)} |",
            f"| | right cause among the first three | {share(ill, among)} |",
            f"| | any alarm | {share(ill, alarmed)} |",
            f"| | settled before the first step | {share(ill, lambda r: r['numbers']['steps'] == 0)} |",
            f"| | of the others, steps of training before the verdict, median | {median(trained or [0]):.0f} |",
            f"| | causes of {len(RULES)} that nothing could be said about, median | {median(quiet(ill)):.0f} |",
        ]
    if well:
        lines += [
            f"| {len(well)} healthy | false alarm | {share(well, alarmed)} |",
            f"| | no finding, and enough seen to say so | {share(well, lambda r: r['numbers']['healthy'])} |",
        ]
    if threads:
        known = f"{len(threads)} public threads, known to the rules"
        lines.append(f"| {known} | right cause first | {share(threads, right)} |")
    lines.append(f"| all | seconds of one core, median | {median(r['numbers']['seconds'] for r in records):.0f} |")
    left = len(cells(quick=False)) - len(records)
    return "\n".join(lines) + (f"\n\nSo far: {left} patients have not been examined yet." if left > 0 else "")


def render_causes(records: list[Record]) -> str:
    """One row a cause."""
    ill, _ = held_out(records)
    lines = ["| cause | right first | what was said instead |", "|---|---|---|"]
    for fault in sorted({r["config"]["fault"] for r in ill}):
        own = [r for r in ill if r["config"]["fault"] == fault]
        said = [(r["numbers"]["causes"] or ["nothing"])[0] for r in own if not right(r)]
        others = ", ".join(f"{cause} ({said.count(cause)})" for cause in sorted(set(said)))
        lines.append(f"| `{fault}` | {share(own, right)} | {others or '-'} |")
    return "\n".join(lines)


def held_out(records: list[Record]) -> tuple[list[Record], list[Record]]:
    """Returns the sick and the healthy that the rules have not seen."""
    seen, fresh = ({cell.name for cell in cells} for cells in (patients(SEEN), later()))
    held = [
        r
        for r in records
        if r["cell"] in fresh or not (r["cell"] in seen or "thread" in r["config"] or replaced(r["config"]))
    ]
    return [r for r in held if r["config"]["fault"] != "healthy"], [
        r for r in held if r["config"]["fault"] == "healthy"
    ]


def right(record: Record) -> bool:
    """Says whether the right cause was named first."""
    return record["numbers"]["causes"][:1] == [record["config"]["fault"]]


def among(record: Record) -> bool:
    """Says whether it was among the first three."""
    return record["config"]["fault"] in record["numbers"]["causes"][:3]


def alarmed(record: Record) -> bool:
    """Says whether anything was found."""
    return bool(record["numbers"]["causes"])


def quiet(records: list[Record]) -> list[int]:
    """Counts the causes that rules abstained about where there was a training; before it most have no evidence."""
    return [len(r["numbers"]["abstained"]) for r in records if r["numbers"]["steps"]] or [0]


def share(records: list[Record], holds: Any) -> str:
    """Writes of how many records something holds, with the interval."""
    return rate(sum(map(holds, records)), len(records)) if records else "-"


def rejudge(results: Path, folders: Path) -> int:
    """Judges the evidence of all records anew; returns how many verdicts changed."""
    path, changed = results / f"{TABLE.table}-{slug()}.json", 0
    for record in read(path):
        name = "".join(c if c.isalnum() else "-" for c in record["cell"])
        found, abstained = judge(json.loads((folders / path.stem / name / "evidence.json").read_text(encoding="utf-8")))
        causes = [finding.cause for finding in found]
        changed += causes != record["numbers"]["causes"]
        # Nobody becomes healthy of whom too little is known.
        healthy = not causes and record["numbers"]["steps"] >= MIN_STEPS
        record["numbers"] |= {"causes": causes, "abstained": abstained, "healthy": healthy}
        write(path, record)
    return changed


TABLE = Benchmark("doctor", cells, measure, render)
BENCHMARKS = (TABLE,)
SUMMARY: Summary = Summary("doctor_causes", ("doctor",), render_causes)

if __name__ == "__main__":
    print(f"{rejudge(RESULTS, FOLDERS)} verdicts changed")
