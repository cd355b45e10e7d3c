"""Public reports: does the doctor report the accepted cause, and nothing for the repaired model?

    python -m benchmarks run doctor_reports

Threads of issue trackers about recurrent models that do not train or seem not to, each with a known cause, rebuilt
small, and each beside a twin to which the accepted answer is applied. The twin learns; in some threads the accepted
answer is that nothing is wrong. Ten reports drawn at random are kept for another table, `doctor_reports_last`.

Device: one CPU core takes about half a minute a model, half an hour for all.
Expected: the accepted cause first for four of five reports, no finding for healthy models.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.doctor.reports.case import HEALTHY, Case
from benchmarks.doctor.reports.catalogue import CASES
from benchmarks.harness.record import Benchmark, Cell, Record, Summary
from benchmarks.harness.statistics import format_rate
from hae_jax.doctor import examine
from hae_jax.doctor.evidence import to_json

SECONDS = 600.0
"""Upper limit of an examination in seconds, so long that a busy machine does not shorten the trainings."""


def cells_of(case: Case) -> Iterator[Cell]:
    """Yields a cell for each of a report's models; `fault` is that of the model."""
    roles = ("report",) if case.cause == HEALTHY else ("report", "twin")
    for role in roles:
        fault = case.cause if role == "report" else HEALTHY
        facts = {"kind": case.kind, "cause": case.cause, "url": case.url, "seen": case.seen}
        yield Cell(f"{case.name} | {role}", (0,), {"report": case.name, "role": role, "fault": fault, **facts})


def cells(quick: bool) -> list[Cell]:
    """One cell for each model of the reports that are not held out; those of one report if `quick`."""
    shown = [case for case in CASES if not case.held_out]
    return [cell for case in shown[: 1 if quick else None] for cell in cells_of(case)]


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Examines a model; the evidence is written into the folder."""
    (case,) = (case for case in CASES if case.name == cell.config["report"])
    started = time.process_time()
    report = examine(case.models[cell.config["role"]], seconds=SECONDS)
    (folder / "evidence.json").write_text(json.dumps(to_json(report.evidence)), encoding="utf-8")
    return {
        "causes": [finding.cause for finding in report.findings],
        "verdict": report.verdict,
        "kind": report.kind,
        "not_run": report.not_run,
        "seconds": round(time.process_time() - started, 1),
        "steps": report.steps,
    }


def render(records: list[Record]) -> str:
    """Rates with Wilson intervals, for all reports and for each kind of model."""
    lines = ["| kind | right cause first | any finding | healthy models disturbed |", "|---|---|---|---|"]
    kinds = sorted({record["config"]["kind"] for record in records})
    for kind in (None, *kinds):
        own = [record for record in records if kind in (None, record["config"]["kind"])]
        faulty = [record for record in own if record["config"]["fault"] != HEALTHY]
        healthy = [record for record in own if record["config"]["fault"] == HEALTHY]
        rates = (share(faulty, is_right), share(faulty, has_finding), share(healthy, has_finding))
        lines.append(f"| {kind or 'all'} | {' | '.join(rates)} |")
    return "\n".join(lines)


def render_causes(records: list[Record]) -> str:
    """One row for each report, by cause."""
    by_name: dict[str, dict[str, Record]] = {}
    for record in records:
        by_name.setdefault(record["config"]["report"], {})[record["config"]["role"]] = record
    lines = ["| accepted cause | report | what was seen | found first | found in the repaired model |"]
    lines.append("|---|---|---|---|---|")
    complete = [roles for roles in by_name.values() if "report" in roles]
    for roles in sorted(complete, key=lambda roles: (roles["report"]["config"]["cause"], roles["report"]["cell"])):
        config = roles["report"]["config"]
        link = f"[{config['report']}]({config['url']})"
        twin = found_first(roles["twin"]) if "twin" in roles else "-"
        lines.append(f"| `{config['cause']}` | {link} | {config['seen']} | {found_first(roles['report'])} | {twin} |")
    return "\n".join(lines)


def found_first(record: Record) -> str:
    """Returns the first cause that was reported for a model."""
    causes = record["numbers"]["causes"]
    return f"`{causes[0]}`" if causes else "nothing"


def is_right(record: Record) -> bool:
    """Returns whether the accepted cause was reported first."""
    return record["numbers"]["causes"][:1] == [record["config"]["fault"]]


def has_finding(record: Record) -> bool:
    """Returns whether anything was found."""
    return bool(record["numbers"]["causes"])


def share(records: list[Record], holds: Any) -> str:
    """Returns the share of records for which something holds, with its interval."""
    return format_rate(sum(map(holds, records)), len(records)) if records else "-"


TABLE = Benchmark("doctor_reports", cells, measure, render)
BENCHMARKS = (TABLE,)
SUMMARY: Summary = Summary("doctor_reports_causes", ("doctor_reports",), render_causes)
