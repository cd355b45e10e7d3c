"""The command line of all benchmarks: `python -m benchmarks list`, `run NAME` or `report`."""

import argparse
import shutil
import sys
from pathlib import Path

from benchmarks import highlights
from benchmarks.doctor import accuracy, frameworks, loss_curves, repairs
from benchmarks.doctor.reports import accuracy as reports_accuracy
from benchmarks.doctor.reports import last_test
from benchmarks.gradients import common_advice, phase_diagram, prediction, probe_overhead, stability
from benchmarks.gradients import summary as gradients_summary
from benchmarks.harness import report
from benchmarks.harness.record import (
    FOLDERS,
    RESULTS,
    ROOT,
    Benchmark,
    Cell,
    Record,
    Summary,
    device,
    now,
    read,
    revision,
    slug,
    versions,
    write,
)
from benchmarks.learning import (
    ablation,
    capacity,
    flat_tuning,
    frontier,
    long_reviews,
    overfit,
    quickstart,
    reconstruction,
    untrained,
    usefulness,
    whole_texts,
)
from benchmarks.series import anomalies, classification, diagnosis, keras_examples, speed
from benchmarks.speed import long_step
from benchmarks.speed import summary as speed_summary

MODULES = {
    "first_run": quickstart,
    "overfit": overfit,
    "recipe": ablation,
    "memory": capacity,
    "untrained": untrained,
    "reconstruction": reconstruction,
    "standard": flat_tuning,
    "long_reviews": long_reviews,
    "content": usefulness,
    "frontier": frontier,
    "whole_texts": whole_texts,
    "gradient_stability": stability,
    "gradient_map": phase_diagram,
    "probe_overhead": probe_overhead,
    "speed": speed_summary,
    "long_step": long_step,
    "remedies": keras_examples,
    "verdicts": diagnosis,
    "series_speed": speed,
    "anomalies": anomalies,
    "classification": classification,
    "doctor": accuracy,
    "doctor_reports": reports_accuracy,
    "doctor_reports_last": last_test,
    "doctor_frameworks": frameworks,
    "repairs": repairs,
    "courses": loss_curves,
}
"""All benchmarks by name; the docstring of each states its question, device, duration and expected outcome."""
_MEASURED = [table for module in MODULES.values() for table in module.BENCHMARKS]
SUMMARIES = (
    gradients_summary.SUMMARY,
    prediction.SUMMARY,
    common_advice.SUMMARY,
    accuracy.SUMMARY,
    accuracy.KIND_SUMMARY,
    reports_accuracy.SUMMARY,
    last_test.SUMMARY,
    speed_summary.SUMMARY,
    *highlights.SUMMARIES,
)
TABLES: dict[str, Benchmark | Summary] = {table.table: table for table in (*_MEASURED, *SUMMARIES)}
"""All tables by name; a benchmark has one or more."""


def main(arguments: list[str] | None = None) -> int:
    """Lists, runs or reports; returns the exit code."""
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="print the names of all benchmarks, and the questions they answer")
    command = commands.add_parser("run", help="measure what has not been measured yet on this device")
    command.add_argument("name", choices=MODULES)
    command.add_argument("--quick", action="store_true", help="a short run that checks whether the benchmark works")
    command.add_argument("--force", action="store_true", help="measure everything again")
    commands.add_parser("report", help="render the results into the README and the docs")
    chosen = parser.parse_args(arguments)
    if chosen.command == "list":
        for name, module in MODULES.items():
            print(f"{name:12} {(module.__doc__ or '').splitlines()[0]}")
    elif chosen.command == "run":
        return max(run(table, chosen.quick, chosen.force) for table in MODULES[chosen.name].BENCHMARKS)
    else:
        report.update(ROOT, TABLES, RESULTS)
    return 0


def run(benchmark: Benchmark, quick: bool, force: bool, results: Path = RESULTS, folders: Path = FOLDERS) -> int:
    """Measures the cells that have no record yet, and writes each as soon as it is measured.

    Args:
        benchmark: the benchmark.
        quick: whether to measure less; such results are written to a file of their own, and not rendered.
        force: whether to measure cells again that have a record.
        results: folder of the records.
        folders: folder with one folder per cell, in which an interrupted measurement is resumed.

    Returns:
        The exit code: 1 if a cell was started by another revision of the code, so that it cannot be resumed.
    """
    name = f"{benchmark.table}-{slug()}{'-quick' if quick else ''}"
    path = results / f"{name}.json"
    for cell in benchmark.cells(quick):
        folder = folders / name / "".join(c if c.isalnum() else "-" for c in cell.name)
        measured = {record["cell"] for record in read(path)}
        if force:
            shutil.rmtree(folder, ignore_errors=True)
        elif cell.name in measured:
            print(f"{cell.name}: already measured")
            continue
        started = start_record(cell, folder, benchmark.peers)
        if started["revision"] != revision():
            print(
                f"{folder} must have been started by this revision, got commit {started['revision']['commit']}. "
                "Measure again: --force.",
                file=sys.stderr,
            )
            return 1
        numbers = benchmark.measure(cell, folder)
        skipped = numbers.get("skipped", ())
        versions_used = {name: version for name, version in started["versions"].items() if name not in skipped}
        write(path, started | {"versions": versions_used, "numbers": numbers, "finished": now()})
        print(f"{cell.name}: {path}")
    return 0


def start_record(cell: Cell, folder: Path, peers: tuple[str, ...]) -> Record:
    """Returns the provenance of a cell's numbers, as of the start of its measurement."""
    path = folder / "begun.json"
    if not read(path):
        record: Record = {
            "cell": cell.name, "config": dict(cell.config), "seeds": list(cell.seeds),
            "versions": versions(peers), "device": device(), "revision": revision(), "started": now(),
        }  # fmt: skip
        write(path, record)
    return read(path)[0]


if __name__ == "__main__":
    sys.exit(main())
