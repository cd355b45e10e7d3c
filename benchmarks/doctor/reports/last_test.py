"""Public reports that were kept for the last test: causes and false alarms.

    python -m benchmarks run doctor_reports_last

Ten reports drawn at random before any was examined. They are examined once, with the rules as they are then.

Device: one CPU core takes about half a minute a model.
Expected: as for the other reports.
"""

from benchmarks.doctor.reports.accuracy import cells_of, measure, render, render_causes
from benchmarks.doctor.reports.catalogue import CASES
from benchmarks.harness.record import Benchmark, Cell, Summary


def cells(quick: bool) -> list[Cell]:
    """One cell for each model of the reports that are held out; none if `quick`, since each is examined once."""
    return [] if quick else [cell for case in CASES if case.held_out for cell in cells_of(case)]


TABLE = Benchmark("doctor_reports_last", cells, measure, render)
BENCHMARKS = (TABLE,)
SUMMARY: Summary = Summary("doctor_reports_last_causes", ("doctor_reports_last",), render_causes)
