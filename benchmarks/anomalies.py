"""Does an autoencoder's error point at anomalies, better than simpler things do?

    python -m benchmarks run anomalies

Two long series with labelled anomalies, learned from clean data alone: blood pressure (one event of 12 steps among
6,301), and a made electrocardiogram (three events of 100 among 10,000). All detectors see the same windows; thresholds
are the best there are, for all of them. F1 with point adjustment stands there because it is often published: see what
it makes of random numbers.

Device: two CPU cores, 40 minutes; resumable.
Expected: principal components of the same size and distances to the nearest clean window are hard to beat; on the
blood pressure, where a small sharp step is to be found, so is the difference from the value before.
"""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import interval
from benchmarks.detection import detection
from benchmarks.detectors import DETECTORS, LEARNED
from benchmarks.record import Benchmark, Cell, Record
from hae_jax.data import aeon

SEEDS = (0, 1, 2)
STEPS = 1500


def cells(quick: bool) -> list[Cell]:
    """One cell a series and detector."""
    if quick:
        names = (LEARNED[0], "principal components", "random numbers")
        return [_cell("KDD-TSAD_135", name, (0,), 10) for name in names]
    return [_cell(data, name, SEEDS, STEPS) for data in aeon.ANOMALIES for name in DETECTORS]


def _cell(data: str, name: str, seeds: tuple[int, ...], steps: int) -> Cell:
    return Cell(f"{data} | {name}", seeds, {"data": data, "detector": name, "steps": steps})


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Judges a series, once a seed."""
    found = aeon.watched(cell.config["data"])
    judge = DETECTORS[cell.config["detector"]]
    results = [
        detection(judge(found.train[:, 0], found.test[:, 0], cell.config["steps"], seed), found.anomalous)
        for seed in cell.seeds
    ]
    return {name: [float(getattr(each, name)) for each in results] for name in results[0]._fields}


def render(records: list[Record]) -> str:
    """One row a series and detector."""
    lines = [
        "| series | detector | AUC-PR | F1 of steps | F1, point-adjusted | highest score at an event |",
        "|---|---|---|---|---|---|",
    ]
    for record in records:
        numbers, (data, name) = record["numbers"], record["cell"].split(" | ")
        shown = [interval.show(numbers[key]) for key in ("auc_pr", "f1", "adjusted_f1")]
        hits = f"{int(np.sum(numbers['hit']))}/{len(numbers['hit'])}"
        lines.append(f"| {data} | {name} | {' | '.join(shown)} | {hits} |")
    return "\n".join(lines)


BENCHMARKS = [Benchmark("series_anomalies", cells, measure, render)]
