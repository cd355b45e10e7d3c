"""Do an autoencoder's reconstruction errors detect anomalies better than simpler methods do?

    python -m benchmarks run anomalies

Two long series with labelled anomalies, with training on clean data only: blood pressure (one event of 12 steps among
6,301), and a synthetic electrocardiogram (three events of 100 steps among 10,000). All detectors get the same windows
and the best possible threshold. A model's errors become scores in two ways: squared, and as the estimator's
`anomaly_score`, here called surprise. F1 with point adjustment is included because it is often published: compare its
value for random scores.

Device: one CPU core, 20 minutes; resumable.
Expected: surprise detects anomalies better than squared errors do, whatever the model; with squared errors, principal
components and distances to the nearest clean window are strong baselines.
"""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import statistics
from benchmarks.harness.record import Benchmark, Cell, Record
from benchmarks.series.aeon import monitored
from benchmarks.series.detection_metrics import Detection, detection
from benchmarks.series.detectors import DETECTORS, LEARNED
from hae_jax.data.aeon import ANOMALIES

SEEDS = (0, 1, 2)
STEPS = 400


def cells(quick: bool) -> list[Cell]:
    """Returns one cell per series and detector."""
    if quick:
        names = (LEARNED[0], "principal components", "random numbers")
        return [_cell("KDD-TSAD_135", name, (0,), 10) for name in names]
    return [_cell(data, name, SEEDS, STEPS) for data in ANOMALIES for name in DETECTORS]


def _cell(data: str, name: str, seeds: tuple[int, ...], steps: int) -> Cell:
    return Cell(f"{data} | {name}", seeds, {"data": data, "detector": name, "steps": steps})


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Scores a series, once per seed."""
    data = monitored(cell.config["data"])
    detect = DETECTORS[cell.config["detector"]]
    results: dict[str, list[Detection]] = {}
    for seed in cell.seeds:
        for kind, scores in detect(data.train[:, 0], data.test[:, 0], cell.config["steps"], seed).items():
            results.setdefault(kind, []).append(detection(scores, data.anomalous))
    return {
        kind: {name: [float(getattr(each, name)) for each in found] for name in Detection._fields}
        for kind, found in results.items()
    }


def render(records: list[Record]) -> str:
    """Renders one row per series, detector and kind of score."""
    lines = [
        "| series | detector | score | AUC-PR | F1 of steps | F1, point-adjusted | highest score in an event |",
        "|---|---|---|---|---|---|---|",
    ]
    for record in records:
        data, name = record["cell"].split(" | ")
        for kind, numbers in record["numbers"].items():
            shown = [statistics.format_median(numbers[key]) for key in ("auc_pr", "f1", "adjusted_f1")]
            hits = f"{int(np.sum(numbers['hit']))}/{len(numbers['hit'])}"
            lines.append(f"| {data} | {name} | {kind} | {' | '.join(shown)} | {hits} |")
    return "\n".join(lines)


BENCHMARKS = [Benchmark("series_anomalies", cells, measure, render, peers=("scikit-learn",))]
