"""Accuracy of the doctor: does it report the right cause first, and does it never disturb a healthy model?

    python -m benchmarks run doctor

Small models of every kind, drawn by seed from a grammar of choices (`benchmarks.doctor.models.grammar`): library, cell,
layers, data, shapes of outputs and labels, masks, weights, losses, optimizers. A model counts as healthy if it is shown
to learn without the doctor (`benchmarks.doctor.proof`); its sick twin differs by one injected disease. Diseases that
not every model suffers from count only where the twin learns clearly less. Half of the models, by a hash of their
choices, are held out: rules are corrected on the other half only.

A cell is a group of models of one kind and their twins; cells take kinds in turn, so that any first part is a fair
sample. Further cells examine models alone and beside two busy processes, since verdicts must not depend on the load,
and programs rebuilt from public threads, which were known while the rules were written. The evidence is kept with the
records; `python -m benchmarks.doctor.accuracy` applies the current rules to it.

Device: one CPU core takes about ten seconds a model, six hours for all.
Expected: the right cause first for nine of ten sick models, no finding for a healthy one.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count, islice
from pathlib import Path
from statistics import median
from typing import Any

import jax

from benchmarks.doctor.models.diseases import ACCEPTED, BY_EFFECT, possible, sick_twin
from benchmarks.doctor.models.grammar import KINDS, Variant, draw
from benchmarks.doctor.models.threads import THREADS
from benchmarks.doctor.patient import patient
from benchmarks.doctor.proof import Proof, is_sick, prove
from benchmarks.harness.record import FOLDERS, RESULTS, Benchmark, Cell, Record, Summary, read, slug, write
from benchmarks.harness.statistics import format_rate
from hae_jax.doctor import examine
from hae_jax.doctor.evidence import to_json
from hae_jax.doctor.rules import judge

GROUPS, GROUP = 9, 5
"""Groups of each kind and half, and healthy models in a group."""
LOADED = 2
"""Healthy models of each kind that are also examined beside busy processes, with their twins."""
BUSY = 2
"""Busy processes."""
TURNS = 4
"""Diseases that are tried until one makes the twin sick."""
HALVES = {"held out": True, "tuning": False}

Result = dict[str, Any]
"""`name`, `kind`, `disease`, and, if it was examined, `causes`, `verdict`, `steps`, `seconds`, the `reported` kind."""


@cache
def seeds(kind: str, held_out: bool) -> tuple[int, ...]:
    """Returns the seeds of a kind whose variants are in one of the halves, as many as are examined."""
    return tuple(islice((seed for seed in count() if draw(kind, seed).held_out == held_out), GROUPS * GROUP))


def cells(quick: bool) -> list[Cell]:
    """One cell for each group, those under load, and that of the threads; one group if `quick`."""
    made = []
    for number in range(GROUPS):
        for half, held_out in HALVES.items():
            for kind in KINDS:
                own = seeds(kind, held_out)[GROUP * number : GROUP * (number + 1)]
                made.append(Cell(f"{kind} | {half} | {number}", own, {"group": "models", "kind": kind, "half": half}))
    made += [
        Cell(f"{kind} | under load", seeds(kind, False)[:LOADED], {"group": "load", "kind": kind}) for kind in KINDS
    ]
    made.append(Cell("public threads", (0,), {"group": "threads"}))
    return made[: 1 if quick else None]


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Examines the models of a cell; each result is kept in the folder, so that an interrupted cell is resumed."""
    if cell.config["group"] == "threads":
        found = [examined(name, cause, make(), folder) for name, (cause, make) in THREADS.items() if "#" in name]
        return {"results": found}
    healthy = [draw(cell.config["kind"], seed) for seed in cell.seeds]
    if cell.config["group"] == "load":
        both = [each for v in healthy for each in (v, sick_twin(v))]
        alone = [diagnosis(patient(v).setup) for v in both]
        with busy_processes():
            beside = [diagnosis(patient(v).setup) for v in both]
        return {"names": [v.name for v in both], "alone": alone, "beside": beside}
    return {"results": [result for v in healthy for result in pair(v, folder)]}


def pair(v: Variant, folder: Path) -> list[Result]:
    """Returns the results of a healthy variant and of its sick twin; only its name if it is not shown to learn."""
    jax.clear_caches()
    proof = prove(patient(v))
    if not proof.learns:
        return [{"name": v.name, "kind": v.kind, "disease": "healthy", "proof": list(proof)}]
    facts = {"kind": v.kind, "kinds": v.kinds}
    results = [examined(v.name, "healthy", patient(v).setup, folder) | facts | {"proof": list(proof)}]
    twins = (sick_twin(v, turn) for turn in range(min(TURNS, len(possible(v)))))
    twin = next((twin for twin in twins if is_affected(twin, proof)), None)
    if twin is not None:
        results.append(examined(twin.name, twin.disease, patient(twin).setup, folder) | facts)
    return results


def is_affected(twin: Variant, healthy: Proof) -> bool:
    """Returns whether a twin is sick: it learns less, unless its disease is a fault whatever it does to the loss."""
    return twin.disease not in BY_EFFECT or is_sick(prove(patient(twin)), healthy)


def examined(name: str, disease: str, setup: Any, folder: Path) -> Result:
    """Examines a setup, and keeps the result and the evidence in the folder."""
    path = kept_at(folder, name)
    if path.is_file():
        kept: Result = json.loads(path.read_text(encoding="utf-8"))["result"]
        return kept
    started = time.process_time()
    report = examine(setup)
    result = {
        "name": name, "disease": disease, "causes": [finding.cause for finding in report.findings],
        "verdict": report.verdict, "reported": report.kind, "not_run": sorted(report.not_run),
        "unsettled": report.unsettled, "steps": report.steps, "seconds": round(time.process_time() - started, 1),
    }  # fmt: skip
    path.write_text(json.dumps({"result": result, "evidence": to_json(report.evidence)}), encoding="utf-8")
    return result


def kept_at(folder: Path, name: str) -> Path:
    """Returns the file of an examination."""
    return folder / f"{''.join(c if c.isalnum() else '-' for c in name)}.json"


def diagnosis(setup: Any) -> list[str]:
    """Returns the verdict and the causes of a setup."""
    report = examine(setup)
    return [report.verdict, *(finding.cause for finding in report.findings)]


@contextmanager
def busy_processes() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Keeps processes busy."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(BUSY)]
    try:
        yield busy
    finally:
        for process in busy:
            process.kill()
            process.wait()


def select(records: list[Record], half: str | None = None) -> list[Result]:
    """Returns the results of the models of a half, or of both."""
    groups = (r for r in records if r["config"]["group"] == "models" and half in (None, r["config"]["half"]))
    return [result for record in groups for result in record["numbers"]["results"]]


def of_health(results: list[Result], healthy: bool) -> list[Result]:
    """Returns the results of the examined healthy models, or of the sick ones."""
    return [r for r in results if "causes" in r and (r["disease"] == "healthy") == healthy]


def render(records: list[Record]) -> str:
    """Rates with Wilson intervals."""
    lines = ["| models | result | rate |", "|---|---|---|"]
    for half in HALVES:
        results = select(records, half)
        sick, healthy = of_health(results, False), of_health(results, True)
        mark = "" if half == "held out" else ", tuning half"
        lines += [
            f"| {len(sick)} sick, {half} | right cause first{mark} | {share(sick, is_right)} |",
            f"| | any alarm{mark} | {share(sick, has_finding)} |",
            f"| {len(healthy)} healthy, {half} | false alarm{mark} | {share(healthy, has_finding)} |",
            f"| | reported as healthy{mark} | {share(healthy, lambda r: r['verdict'] == 'healthy')} |",
        ]
    every = select(records)
    healthy = of_health(every, True)
    lines.append(f"| {len(healthy)} healthy, both halves | disturbed | {share(healthy, has_finding)} |")
    drawn = [r for r in every if r["disease"] == "healthy"]
    learn = sum("causes" in r for r in drawn)
    lines.append(f"| {len(drawn)} drawn | do not learn, and are not counted | {len(drawn) - learn} |")
    loaded = [r["numbers"] for r in records if r["config"]["group"] == "load"]
    if loaded:
        same = [a == b for each in loaded for a, b in zip(each["alone"], each["beside"], strict=True)]
        lines.append(
            f"| {len(same)} beside {BUSY} busy processes | same verdict | {format_rate(sum(same), len(same))} |"
        )
    threads = [result for r in records if r["config"]["group"] == "threads" for result in r["numbers"]["results"]]
    if threads:
        known = f"{len(threads)} public threads, known to the rules"
        lines.append(f"| {known} | right cause first | {share(threads, is_right)} |")
    if seconds := [r["seconds"] for r in every if "seconds" in r]:
        lines.append(f"| all | seconds of one core: median, most | {median(seconds):.0f}, {max(seconds):.0f} |")
    left = len(cells(quick=False)) - len(records)
    return "\n".join(lines) + (f"\n\nSo far {left} groups of models have not been examined." if left > 0 else "")


def render_kinds(records: list[Record]) -> str:
    """One row for each kind of model, of the held-out half."""
    lines = ["| kind | healthy disturbed | right cause first | any alarm | kind recognized |", "|---|---|---|---|---|"]
    for kind in KINDS:
        own = [r for r in select(records, "held out") if r["kind"] == kind and "causes" in r]
        sick, healthy = of_health(own, False), of_health(own, True)
        rates = (
            share(healthy, has_finding), share(sick, is_right), share(sick, has_finding),
            share(healthy, lambda r: r["reported"] in r["kinds"]),
        )  # fmt: skip
        lines.append(f"| {kind} | {' | '.join(rates)} |")
    return "\n".join(lines)


def render_causes(records: list[Record]) -> str:
    """One row for each disease, of both halves."""
    lines = ["| cause | right cause first | first finding otherwise |", "|---|---|---|"]
    sick = of_health(select(records), False)
    for disease in sorted({r["disease"] for r in sick}):
        own = [r for r in sick if r["disease"] == disease]
        wrong = [(r["causes"] or ["none"])[0] for r in own if not is_right(r)]
        others = ", ".join(f"{cause} ({wrong.count(cause)})" for cause in sorted(set(wrong)))
        lines.append(f"| `{disease}` | {share(own, is_right)} | {others or '-'} |")
    return "\n".join(lines)


def is_right(result: Result) -> bool:
    """Returns whether the right cause was reported first."""
    return result["causes"][:1] != [] and result["causes"][0] in ACCEPTED.get(result["disease"], (result["disease"],))


def has_finding(result: Result) -> bool:
    """Returns whether anything was found."""
    return bool(result["causes"])


def share(records: list[Any], holds: Any) -> str:
    """Returns the share of records for which something holds, with its interval."""
    return format_rate(sum(map(holds, records)), len(records)) if records else "-"


def rejudge(results: Path, folders: Path) -> int:
    """Applies the rules to the evidence of all records; returns the number of changed verdicts."""
    path, changed = results / f"{TABLE.table}-{slug()}.json", 0
    for record in read(path):
        folder = folders / path.stem / "".join(c if c.isalnum() else "-" for c in record["cell"])
        for result in record["numbers"].get("results", ()):
            kept = kept_at(folder, result["name"])
            if "causes" not in result or not kept.is_file():
                continue
            causes = [finding.cause for finding in judge(json.loads(kept.read_text(encoding="utf-8"))["evidence"])[0]]
            changed += causes != result["causes"]
            # An examination that could not be completed stays unknown.
            result |= {
                "causes": causes,
                "verdict": "findings" if causes else "unknown" if result["unsettled"] else "healthy",
            }
        write(path, record)
    return changed


TABLE = Benchmark("doctor", cells, measure, render)
BENCHMARKS = (TABLE,)
SUMMARY = Summary("doctor_causes", ("doctor",), render_causes)
KIND_SUMMARY = Summary("doctor_kinds", ("doctor",), render_kinds)

if __name__ == "__main__":
    print(f"{rejudge(RESULTS, FOLDERS)} verdicts changed")
