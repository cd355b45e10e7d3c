"""Faulty and healthy models as PyTorch users write them: does the doctor report the right cause, or nothing?

    python -m benchmarks run doctor_torch

Each is examined by `examine(module, loss_fn, batches, optimizer)`.

Device: one CPU core takes about half a minute a model.
Expected: the right cause first for ten of twelve faults, no finding for a healthy model.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.harness.record import Benchmark, Cell, Record
from benchmarks.harness.statistics import format_rate

Patient = tuple[str, Callable[[], Any], str]
"""Name, function that builds the arguments of `examine`, and the cause to be reported, or "healthy"."""
SECONDS = 120.0
"""Upper limit of an examination."""


def patients() -> list[Patient]:
    """Returns all patients; PyTorch is imported here, since it is not needed to list the benchmarks."""
    from benchmarks.doctor.torch_faulty import FAULTY
    from benchmarks.doctor.torch_healthy import HEALTHY

    return [*FAULTY, *HEALTHY]


def cells(quick: bool) -> list[Cell]:
    """One cell for each patient; the first one if `quick`."""
    return [Cell(name, config={"cause": cause}) for name, _, cause in patients()[: 1 if quick else None]]


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Examines a patient."""
    from hae_jax.doctor import examine

    module, loss_fn, batches, optimizer, options = build(cell.name)
    report = examine(module, loss_fn, batches, optimizer, seconds=SECONDS, **options)
    causes = [finding.cause for finding in report.findings]
    return {"verdict": report.verdict, "kind": report.kind, "causes": causes, "seconds": round(report.seconds, 1)}


def build(name: str) -> Any:
    """Returns the arguments of `examine` for a patient; its weights are the same each time."""
    import torch

    torch.manual_seed(0)
    return next(make for own, make, _ in patients() if own == name)()


def is_right(record: Record) -> bool:
    """Returns whether the right cause is first, or a healthy model is called healthy."""
    expected, numbers = record["config"]["cause"], record["numbers"]
    return numbers["verdict"] == "healthy" if expected == "healthy" else numbers["causes"][:1] == [expected]


def render(records: list[Record]) -> str:
    """A row for each patient, and the shares that are right."""
    lines = ["| model | right | verdict | kind |", "|---|---|---|---|"]
    for record in records:
        numbers = record["numbers"]
        verdict = numbers["causes"][0] if numbers["causes"] else numbers["verdict"]
        lines.append(f"| {record['cell']} | {record['config']['cause']} | {verdict} | {numbers['kind']} |")
    for label, chosen in (
        ("faulty", [each for each in records if each["config"]["cause"] != "healthy"]),
        ("healthy", [each for each in records if each["config"]["cause"] == "healthy"]),
    ):
        if chosen:
            lines.append(f"| **{label}, right** | | **{format_rate(sum(map(is_right, chosen)), len(chosen))}** | |")
    return "\n".join(lines)


TABLE = Benchmark("doctor_torch", cells, measure, render, peers=("torch", "torchax"))
BENCHMARKS = (TABLE,)
