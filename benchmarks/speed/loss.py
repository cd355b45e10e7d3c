"""The cross-entropy over a large vocabulary, in tiles and with the logits of all tokens; see `speed`."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.harness.record import Benchmark, Cell, Record
from benchmarks.harness.stopwatch import (
    check_difference,
    compare,
    compile_uncached,
    contender,
    relative_difference,
    tolerance_factor,
)
from benchmarks.speed.peers import textbook
from benchmarks.speed.table import render
from hae_jax.layers.losses import cross_entropy

TOLERANCE = 1e-4
"""Relative to each array's maximum; the smallest gradients are a probability divided by the number of tokens."""


def cells(quick: bool) -> list[Cell]:
    """Returns one cell: 4,096 tokens, 25,000 words."""
    tokens, feat, vocab = (12, 4, 30) if quick else (4096, 512, 25_000)
    config = {"tokens": tokens, "feat": feat, "vocab": vocab, "rounds": 2 if quick else 7}
    return [Cell(f"{tokens:,} tokens x {vocab:,} words", config=config)]


def measure(cell: Cell, _: Path) -> dict[str, Any]:
    """Checks that values and gradients are equal, then times both.

    Raises:
        ValueError: if they are not equal.
    """
    tokens, feat, vocab = (cell.config[name] for name in ("tokens", "feat", "vocab"))
    rng = np.random.default_rng(0)
    hidden = jnp.asarray(rng.normal(size=(tokens, feat)), jnp.float32)
    kernel = jnp.asarray(rng.normal(0, feat**-0.5, (feat, vocab)), jnp.float32)
    bias, targets = jnp.zeros(vocab), jnp.asarray(rng.integers(0, vocab, tokens), jnp.int32)
    mask = jnp.ones(tokens, bool)
    contenders, temporary = [], []
    for name, loss in (("ours, in tiles", cross_entropy), ("Optax, all logits", textbook.cross_entropy)):

        def mean(hidden: Any, kernel: Any, bias: Any, targets: Any, mask: Any, loss: Any = loss) -> Any:
            return loss(hidden, kernel, bias, targets, mask).mean

        arguments = (hidden, kernel, bias, targets, mask)
        program = compile_uncached(jax.value_and_grad(mean, (0, 1, 2)), *arguments)
        contenders.append(contender(name, program, *arguments))
        temporary.append(program.temporary)
    ours, theirs = (jax.tree.leaves(each.run(1)) for each in contenders)
    error = check_difference(contenders[1].name, relative_difference(theirs, ours), tolerance_factor() * TOLERANCE)
    return {
        "rows": compare(contenders, cell.config["rounds"]), "temporary": temporary,
        "errors": {contenders[1].name: error},
    }  # fmt: skip


def render_loss(records: list[Record]) -> str:
    """Renders the timings, and the memory of temporaries."""
    lines = [render(records), ""]
    for record in records:
        ours, theirs = record["numbers"]["temporary"]
        lines.append(
            f"Temporaries, besides arguments and results: {ours / 1e6:,.0f} MB in tiles, {theirs / 1e6:,.0f} MB with "
            f"all logits, {theirs / max(ours, 1):.1f} times as much."
        )
    return "\n".join(lines)


TABLE = Benchmark("speed_loss", cells, measure, render_loss)
