"""How much time do the probes take? A training step with all probes, against the same step without.

    python -m benchmarks run probe_overhead

Both steps train the preset `small` on the same State of the Union batches, each from its own copy of the same state.
They alternate in one process, so that other load affects both equally; the times of each pair are compared. All probes:
gradient curves, slopes, level transitions, gates and update ratios of all levels.

Device: any; two CPU cores take about 2 minutes.
Expected: a ratio of at most 1.03.
"""

import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.harness.record import Benchmark, Cell, Record
from benchmarks.learning.quickstart import as_json
from hae_jax import models
from hae_jax.config.presets import preset
from hae_jax.data.batches import Batches
from hae_jax.data.cache import prepare
from hae_jax.gradients.flow import gradient_flow
from hae_jax.training import optim
from hae_jax.training.step import make_step, start

PAIRS = 120
"""Timed pairs of steps."""
WARM_UP = 4
"""Untimed pairs before, in which both steps are compiled for every shape."""


def cells(quick: bool) -> list[Cell]:
    """Returns one cell; the preset `tiny` and few pairs if `quick`."""
    return [
        Cell(
            "all probes, every step",
            (0,),
            {"pairs": 8 if quick else PAIRS} | as_json(preset("tiny" if quick else "small")),
        )
    ]


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Times pairs of steps; the one without probes comes first in every other pair."""
    config = preset("tiny" if cell.config["pairs"] < PAIRS else "small")
    data = prepare(config.data, folder / "data")
    model = models.build(config.model, data.tokenizer.vocab_size)
    optimizer = optim.build(config.optim, config.train.steps)
    batches = Batches(data.train, config.data, 0)
    params = model.init(jax.random.key(0), batches.batch(0))["params"]
    steps = [make_step(model, optimizer, config, statistics=statistics) for statistics in (None, gradient_flow)]
    states = [start(jax.tree.map(jnp.array, params), optimizer) for _ in steps]
    seconds: list[list[float]] = []
    for pair in range(WARM_UP + cell.config["pairs"]):
        batch, times = jax.device_put(batches.batch(pair)), [0.0, 0.0]
        for which in (0, 1) if pair % 2 else (1, 0):
            started = time.perf_counter()
            states[which], info = steps[which](states[which], batch, jax.random.key(1))
            jax.block_until_ready((states[which], info))
            times[which] = time.perf_counter() - started
        seconds.append(times)
    ratios = np.array([probed / plain for plain, probed in seconds[WARM_UP:]])
    low, median, high = (float(x) for x in np.quantile(ratios, [0.25, 0.5, 0.75]))
    # The median of a sample lies between these order statistics with 95 % confidence.
    spread = 1.96 * np.sqrt(len(ratios)) / 2
    ordered, middle = np.sort(ratios), len(ratios) / 2
    interval = [
        float(ordered[max(int(middle - spread), 0)]),
        float(ordered[min(int(middle + spread), len(ratios) - 1)]),
    ]
    return {"ratio": median, "interval": interval, "quartiles": [low, high], "pairs": len(ratios)}


def render(records: list[Record]) -> str:
    """Renders the ratio of the two times."""
    lines = [
        "| probes | step time with probes / without | 95 % interval of the median | pairs |",
        "|---|---|---|---|",
    ]
    for record in records:
        n = record["numbers"]
        lines.append(
            f"| {record['cell']} | {n['ratio']:.3f} | {n['interval'][0]:.3f}-{n['interval'][1]:.3f} | {n['pairs']} |"
        )
    return "\n".join(lines)


BENCHMARKS = (Benchmark("probe_overhead", cells, measure, render),)
