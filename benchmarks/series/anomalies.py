"""Does an autoencoder's error point at anomalies, better than simpler things do?

    python -m benchmarks run anomalies

Two long series with labelled anomalies, learned from clean data alone: blood pressure (one event of 12 steps among
6,301), and a made electrocardiogram (three events of 100 among 10,000). All detectors see the same windows; thresholds
are the best there are, for all of them. Errors of a model become scores in two ways: squared, and as the surprise that
the estimator scores by. F1 with point adjustment stands there because it is often published: see what it makes of
random numbers.

Device: one CPU core, 20 minutes; resumable.
Expected: surprise points at anomalies better than squared errors do, whatever the model; with squared errors, principal
components and distances to the nearest clean window are hard to beat.
"""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import statistics
from benchmarks.harness.record import Benchmark, Cell, Record
from benchmarks.series.detection_metrics import Detection, detection
from benchmarks.series.detectors import DETECTORS, LEARNED
from hae_jax.data import aeon

SEEDS = (0, 1, 2)
STEPS = 400


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
    found = aeon.monitored(cell.config["data"])
    judge = DETECTORS[cell.config["detector"]]
    results: dict[str, list[Detection]] = {}
    for seed in cell.seeds:
        for way, scores in judge(found.train[:, 0], found.test[:, 0], cell.config["steps"], seed).items():
            results.setdefault(way, []).append(detection(scores, found.anomalous))
    return {
        way: {name: [float(getattr(each, name)) for each in found] for name in Detection._fields}
        for way, found in results.items()
    }


def render(records: list[Record]) -> str:
    """One row a series, detector and way of scoring."""
    lines = [
        "| series | detector | score | AUC-PR | F1 of steps | F1, point-adjusted | highest score at an event |",
        "|---|---|---|---|---|---|---|",
    ]
    for record in records:
        data, name = record["cell"].split(" | ")
        for way, numbers in record["numbers"].items():
            shown = [statistics.show(numbers[key]) for key in ("auc_pr", "f1", "adjusted_f1")]
            hits = f"{int(np.sum(numbers['hit']))}/{len(numbers['hit'])}"
            lines.append(f"| {data} | {name} | {way} | {' | '.join(shown)} | {hits} |")
    return "\n".join(lines)


BENCHMARKS = [Benchmark("series_anomalies", cells, measure, render, peers=("scikit-learn",))]
