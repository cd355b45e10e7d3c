"""How long does a training step of the examples' 128 -> 64 autoencoder take, here and in Keras?

    python -m benchmarks run series_speed

Both start from the same weights and the same batch, hence the same loss; then rounds of a few steps here and a few in
Keras 3 on JAX alternate, so that other load slows both equally. Keras trains by `train_on_batch`, as is usual. The
numbers are medians over rounds; the ratio is the median of the rounds' ratios.

Device: two CPU cores, no other load, 5 minutes.
Expected: Keras takes 1.6 to 2.1 times as long on two cores; the target is twice. Here the input products of all steps
are computed at once, and the backward loop contains a single product; but a stack of 64 and 128 units has little to
multiply.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.harness.record import Benchmark, Cell, Record
from benchmarks.series.keras_examples import PRESETS, load
from benchmarks.series.keras_models import keras_twin, keras_weights
from hae_jax.batch import Signals
from hae_jax.config.series import SERIES
from hae_jax.training.series import initial_params, shared_step
from hae_jax.training.step import start

ROUNDS, STEPS, BATCH = 15, 4, 32


def cells(quick: bool) -> list[Cell]:
    """Returns one cell per preset."""
    names, rounds = (PRESETS[:1], 2) if quick else (PRESETS, ROUNDS)
    return [Cell(name, (0,), {"data": "BasicMotions", "batch": BATCH, "rounds": rounds}) for name in names]


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Times both in alternation; returns seconds per step, one number per round."""
    data, _ = load(cell.config["data"])
    batch = jax.tree.map(lambda x: jnp.asarray(x[: cell.config["batch"]]), data)
    ours, keras = our_step(cell.name, data, batch), keras_step(cell.name, data, batch)
    first, other = ours(), keras()
    seconds: dict[str, list[float]] = {"ours": [], "keras": []}
    for _ in range(cell.config["rounds"]):
        for name, step in (("ours", ours), ("keras", keras)):
            started = time.perf_counter()
            for _ in range(STEPS):
                step()
            seconds[name].append((time.perf_counter() - started) / STEPS)
    return {"first": {"ours": first, "keras": other}, **seconds}


def our_step(name: str, data: Signals, batch: Signals) -> Callable[[], float]:
    """Returns a function that takes one training step and returns its loss."""
    config = SERIES[name]
    optimizer, step = shared_step(config.architecture, config.optim, config.steps, data.values.shape[-1])
    # The step donates its state.
    state, key = start(jax.tree.map(jnp.array, initial_params(config, data)), optimizer), jax.random.key(1)

    def advance() -> float:
        nonlocal state
        state, info = step(state, batch, key)
        return float(info.loss)

    return advance


def keras_step(name: str, data: Signals, batch: Signals) -> Callable[[], float]:
    """Returns the same function for Keras."""
    config = SERIES[name]
    model = keras_twin(config, data.values.shape[-1], data.values.shape[1])
    import keras

    model.set_weights(keras_weights(initial_params(config, data)))
    model.compile(keras.optimizers.Adam(config.optim.learning_rate, clipnorm=config.optim.clip_norm), "mse")
    values, mask = np.asarray(batch.values), np.asarray(batch.mask)

    def advance() -> float:
        loss = float(model.train_on_batch([values, mask], values))
        model.reset_metrics()
        return loss

    return advance


def render(records: list[Record]) -> str:
    """Renders one row per preset."""
    lines = [
        "| model | loss of step 0: here | in Keras | step time of Keras relative to ours |",
        "|---|---|---|---|",
    ]
    for record in records:
        numbers = record["numbers"]
        ours, keras = np.array(numbers["ours"]), np.array(numbers["keras"])
        # With dropout, each draws its own masks.
        firsts = [f"{numbers['first'][name]:.5f}" for name in ("ours", "keras")]
        name = record["cell"].removeprefix("remedy-")
        lines.append(f"| {name} | {' | '.join(firsts)} | {np.median(keras / ours):.1f} |")
    return "\n".join(lines)


BENCHMARKS = [Benchmark("series_speed", cells, measure, render, peers=("keras",))]
