"""One LSTM layer, forward and backward with all gradients, compared with other libraries; see `speed`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from benchmarks.harness.record import Benchmark, Cell
from benchmarks.harness.stopwatch import check_difference, compare, relative_difference, tolerance_factor
from benchmarks.speed.peers import layers
from benchmarks.speed.peers.equipment import unavailable
from benchmarks.speed.table import render

PEERS: dict[str, tuple[str, Callable[[layers.Case, str], layers.LayerPeer]]] = {
    "flax": ("flax", layers.flax),
    "keras": ("keras", layers.keras),
    "torch": ("torch", layers.torch),
    "cudnn": ("cudnn", layers.cudnn),
}
"""By name: the required package, and the function that builds the layer."""
TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2, "float16": 1e-2}
"""Tolerance relative to the maximum, by type; on a GPU all multiply float32 in TensorFloat-32."""


def cells(quick: bool) -> list[Cell]:
    """Returns two sizes on a CPU; on a GPU those of the literature; one tiny size of each kind if `quick`."""
    all_peers, few = ["flax", "keras", "torch"], ["flax", "torch"]
    if jax.default_backend() == "gpu":
        sizes = [
            (32, 256, 1024, 1024, "float32", [*all_peers, "cudnn"]),
            *((batch, 32, 1024, 1024, "bfloat16", few) for batch in (350, 2048)),
            *((batch, 1024, 768, 768, dtype, few) for batch in (16, 128) for dtype in ("float16", "bfloat16")),
        ]
    else:
        sizes = [(64, 32, hidden, hidden, "float32", all_peers) for hidden in (256, 512)]
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
    """Checks that all results are equal, then times the layers.

    Raises:
        ValueError: if a result differs.
    """
    case, dtype = layers.random_case(*cell.config["sizes"]), cell.config["dtype"]
    absent = [name for name in cell.config["peers"] if unavailable(PEERS[name][0])]
    present = [PEERS[name][1] for name in cell.config["peers"] if name not in absent]
    entrants = [build(case, dtype) for build in (layers.ours, *present)]
    errors = {}
    expected = entrants[0][1](entrants[0][0].run(1))
    for contender, read in entrants[1:]:
        difference = relative_difference(read(contender.run(1)), expected)
        errors[contender.name] = check_difference(
            contender.name, difference, tolerance_factor(dtype) * TOLERANCE[dtype]
        )
    contenders = [contender for contender, _ in entrants]
    return {"rows": compare([*contenders, layers.products(case, dtype)], cell.config["rounds"]), "errors": errors,
            "skipped": absent}  # fmt: skip


TABLE = Benchmark("speed_layer", cells, measure, render, peers=("keras", "torch"))
