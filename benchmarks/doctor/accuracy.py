"""Accuracy of the doctor: does it report the right cause, and nothing for healthy models?

    python -m benchmarks run doctor

Small autoencoders in five styles (dictionaries and scans, Flax, a class in the manner of Equinox, a hierarchy mapped
over documents, real-valued series), each with one fault; as many healthy ones of many sizes and learning rates; and
programs rebuilt from public threads. Thresholds were set on even variants, then corrected on the first odd ones; the
table is of the variants after those, on which the rules were not tuned. Exposure gaps, and healthy models with free
running, count from later variants only, since that rule was corrected once more. The threads were known while the rules
were written, and are counted separately. The order of examination makes any first part a fair sample. The evidence is
kept with the records; `python -m benchmarks.doctor.accuracy` applies the current rules to it, so that a better rule
needs no new measurement.

Device: one CPU core takes about a quarter of a minute a model, hours for all.
Expected: the right cause first for nine of ten faulty models, no finding for a healthy one.
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
from benchmarks.harness.statistics import format_rate
from hae_jax.doctor import examine
from hae_jax.doctor.evidence import to_json
from hae_jax.doctor.probes.training import STEPS
from hae_jax.doctor.rules import RULES, judge

VARIANTS = 16
"""Variants of each cause."""
TUNED_ON = 6
"""First variants of each cause, on which rules were corrected; they do not count."""
REPLACING_FAULTY, REPLACING_HEALTHY = range(26, 36), range(1001, 1125, 2)
"""Variants with an exposure gap, and healthy ones with free running, that replace all earlier ones: the rule was
corrected once more on those."""


def first_cells(variants: int = VARIANTS) -> Iterator[Cell]:
    """Yields a variant of every cause, each followed by a healthy model, then the threads, then the next variants."""
    healthy = 1
    for number in range(variants):
        for cause in fault_injection.causes():
            yield faulty_cell(cause, number)
            yield cell_of(
                fault_injection.healthy(fault_injection.STYLES[healthy // 2 % len(fault_injection.STYLES)], healthy)
            )
            healthy += 2
        if number == 0:
            for name, (cause, _) in THREADS.items():
                yield Cell(f"thread | {name}", (0,), {"thread": name, "fault": cause})


def replacing_cells() -> Iterator[Cell]:
    """Yields the models that replace others."""
    yield from (faulty_cell("exposure-gap", number) for number in REPLACING_FAULTY)
    yield from (cell_of(fault_injection.healthy("plain", number)) for number in REPLACING_HEALTHY)


def is_replaced(config: dict[str, Any]) -> bool:
    """Returns whether a model is of a kind that was replaced."""
    return config["fault"] == "exposure-gap" or (config["fault"], config.get("style")) == ("healthy", "plain")


def faulty_cell(cause: str, number: int) -> Cell:
    """Returns the cell of a faulty model; styles that can have the fault take turns."""
    styles = [style for style in fault_injection.STYLES if cause in fault_injection.faults(style)]
    return cell_of(fault_injection.faulty(styles[number % len(styles)], cause, 2 * number + 1))


def cell_of(spec: Spec) -> Cell:
    """Returns the cell of a spec."""
    return Cell(f"{spec.style} | {spec.fault} | {spec.seed}", (spec.seed,), vars(spec))


def cells(quick: bool) -> list[Cell]:
    """One cell for each model; a faulty and a healthy one if `quick`."""
    return [*first_cells(), *replacing_cells()][: 2 if quick else None]


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Examines a model; the evidence is written into the folder."""
    config = dict(cell.config)
    setup = THREADS[config["thread"]][1]() if "thread" in config else fault_injection.setup(Spec(**config))
    started = time.process_time()
    report = examine(setup)
    (folder / "evidence.json").write_text(json.dumps(to_json(report.evidence)), encoding="utf-8")
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
    faulty, healthy = held_out(records)
    lines = ["| models | result | rate |", "|---|---|---|"]
    if faulty:
        trained = [r["numbers"]["steps"] for r in faulty if has_finding(r) and r["numbers"]["steps"]]
        lines += [
            f"| {len(faulty)} faulty | right cause first | {share(faulty, is_right)} |",
            f"| | right cause among the first three | {share(faulty, in_first_three)} |",
            f"| | any finding | {share(faulty, has_finding)} |",
            f"| | settled before the first step | {share(faulty, lambda r: r['numbers']['steps'] == 0)} |",
            f"| | training steps before the verdict of the others, median | {median(trained or [0]):.0f} |",
            f"| | rules of {len(RULES)} that abstained, median | {median(abstentions(faulty)):.0f} |",
        ]
    if healthy:
        lines += [
            f"| {len(healthy)} healthy | false alarm | {share(healthy, has_finding)} |",
            f"| | reported as healthy | {share(healthy, lambda r: r['numbers']['healthy'])} |",
        ]
    if threads:
        lines.append(
            f"| {len(threads)} public threads, known to the rules | right cause first | {share(threads, is_right)} |"
        )
    lines.append(f"| all | seconds of one core, median | {median(r['numbers']['seconds'] for r in records):.0f} |")
    left = len(cells(quick=False)) - len(records)
    return "\n".join(lines) + (f"\n\nSo far {left} models have not been examined." if left > 0 else "")


def render_causes(records: list[Record]) -> str:
    """One row for each cause."""
    faulty, _ = held_out(records)
    lines = ["| cause | right cause first | first finding otherwise |", "|---|---|---|"]
    for fault in sorted({r["config"]["fault"] for r in faulty}):
        own = [r for r in faulty if r["config"]["fault"] == fault]
        wrong = [(r["numbers"]["causes"] or ["none"])[0] for r in own if not is_right(r)]
        others = ", ".join(f"{cause} ({wrong.count(cause)})" for cause in sorted(set(wrong)))
        lines.append(f"| `{fault}` | {share(own, is_right)} | {others or '-'} |")
    return "\n".join(lines)


def held_out(records: list[Record]) -> tuple[list[Record], list[Record]]:
    """Returns the faulty and the healthy models on which the rules were not tuned."""
    tuned_on, replacing = ({cell.name for cell in cells} for cells in (first_cells(TUNED_ON), replacing_cells()))
    held = [
        r
        for r in records
        if r["cell"] in replacing or not (r["cell"] in tuned_on or "thread" in r["config"] or is_replaced(r["config"]))
    ]
    return [r for r in held if r["config"]["fault"] != "healthy"], [
        r for r in held if r["config"]["fault"] == "healthy"
    ]


def is_right(record: Record) -> bool:
    """Returns whether the right cause was reported first."""
    return record["numbers"]["causes"][:1] == [record["config"]["fault"]]


def in_first_three(record: Record) -> bool:
    """Returns whether the right cause was among the first three."""
    return record["config"]["fault"] in record["numbers"]["causes"][:3]


def has_finding(record: Record) -> bool:
    """Returns whether anything was found."""
    return bool(record["numbers"]["causes"])


def abstentions(records: list[Record]) -> list[int]:
    """Returns how many rules abstained for each model that was trained; before training most have no evidence."""
    return [len(r["numbers"]["abstained"]) for r in records if r["numbers"]["steps"]] or [0]


def share(records: list[Record], holds: Any) -> str:
    """Returns the share of records for which something holds, with its interval."""
    return format_rate(sum(map(holds, records)), len(records)) if records else "-"


def rejudge(results: Path, folders: Path) -> int:
    """Applies the rules to the evidence of all records; returns the number of changed verdicts."""
    path, changed = results / f"{TABLE.table}-{slug()}.json", 0
    for record in read(path):
        name = "".join(c if c.isalnum() else "-" for c in record["cell"])
        evidence = json.loads((folders / path.stem / name / "evidence.json").read_text(encoding="utf-8"))
        findings, abstained = judge(evidence)
        causes = [finding.cause for finding in findings]
        changed += causes != record["numbers"]["causes"]
        # A model without sufficient evidence is not healthy.
        healthy = not causes and record["numbers"]["steps"] >= STEPS
        record["numbers"] |= {"causes": causes, "abstained": abstained, "healthy": healthy}
        write(path, record)
    return changed


TABLE = Benchmark("doctor", cells, measure, render)
BENCHMARKS = (TABLE,)
SUMMARY: Summary = Summary("doctor_causes", ("doctor",), render_causes)

if __name__ == "__main__":
    print(f"{rejudge(RESULTS, FOLDERS)} verdicts changed")
