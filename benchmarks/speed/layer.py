"""One LSTM layer, forward and backward with all gradients, beside other people's; see `speed`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from benchmarks.harness.record import Benchmark, Cell
from benchmarks.harness.stopwatch import admit, compare, difference, slack
from benchmarks.speed.peers import layers
from benchmarks.speed.peers.equipment import missing
from benchmarks.speed.table import render

PEERS: dict[str, tuple[str, Callable[[layers.Case, str], layers.Entrant]]] = {
    "flax": ("flax", layers.flax),
    "keras": ("keras", layers.keras),
    "torch": ("torch", layers.torch),
    "cudnn": ("cudnn", layers.cudnn),
}
"""By name: what has to be there, and how it is built."""
TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2, "float16": 1e-2}
"""Of the numbers' largest, by type; on a GPU float32 is multiplied in TensorFloat-32 by all of them."""


def cells(quick: bool) -> list[Cell]:
    """Two sizes on a CPU; on a GPU those of the literature; one tiny size of each kind if it has to be quick."""
    everybody, narrow = ["flax", "keras", "torch"], ["flax", "torch"]
    if jax.default_backend() == "gpu":
        sizes = [
            (32, 256, 1024, 1024, "float32", [*everybody, "cudnn"]),
            *((batch, 32, 1024, 1024, "bfloat16", narrow) for batch in (350, 2048)),
            *((batch, 1024, 768, 768, dtype, narrow) for batch in (16, 128) for dtype in ("float16", "bfloat16")),
        ]
    else:
        sizes = [(64, 32, hidden, hidden, "float32", everybody) for hidden in (256, 512)]
    if quick:
        kinds = {(dtype, *peers): peers for *_, dtype, peers in sizes}
        sizes = [(3, 5, 8, 8, dtype, peers) for (dtype, *_), peers in kinds.items()]
    return [
        Cell(
            f"batch {batch}, {time} steps, {hidden} units, {dtype}",
            config={"sizes": [batch, time, feat, hidden], "dtype": dtype, "peers": peers,
                    "rounds": 2 if quick else 20},
        )
        for batch, time, feat, hidden, dtype, peers in sizes
    ]  # fmt: skip


def measure(cell: Cell, _: Path) -> dict[str, Any]:
    """Sees to it that all find the same, then lets them race.

    Raises:
        ValueError: if somebody's numbers are others.
    """
    case, dtype = layers.draw(*cell.config["sizes"]), cell.config["dtype"]
    absent = [name for name in cell.config["peers"] if missing(PEERS[name][0])]
    present = [PEERS[name][1] for name in cell.config["peers"] if name not in absent]
    entrants = [build(case, dtype) for build in (layers.ours, *present)]
    errors = {}
    expected = entrants[0][1](entrants[0][0].run(1))
    for contender, read in entrants[1:]:
        off = difference(read(contender.run(1)), expected)
        errors[contender.name] = admit(contender.name, off, slack(dtype) * TOLERANCE[dtype])
    everybody = [contender for contender, _ in entrants]
    return {"rows": compare([*everybody, layers.products(case, dtype)], cell.config["rounds"]), "errors": errors,
            "skipped": absent}  # fmt: skip


TABLE = Benchmark("speed_layer", cells, measure, render, peers=("keras", "torch"))
