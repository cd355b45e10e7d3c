"""The loss over a large vocabulary, in tiles and with the logits of all tokens; see `speed`."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.harness.record import Benchmark, Cell, Record
from benchmarks.harness.stopwatch import admit, compare, compile_anew, contender, difference, slack
from benchmarks.speed.peers import textbook
from benchmarks.speed.table import render
from hae_jax.layers.losses import cross_entropy

TOLERANCE = 1e-4
"""Of each array's largest number: the smallest gradients are of the size of a probability over the number of tokens."""


def cells(quick: bool) -> list[Cell]:
    """4,096 tokens, 25,000 words."""
    tokens, feat, vocab = (12, 4, 30) if quick else (4096, 512, 25_000)
    config = {"tokens": tokens, "feat": feat, "vocab": vocab, "rounds": 2 if quick else 7}
    return [Cell(f"{tokens:,} tokens x {vocab:,} words", config=config)]


def measure(cell: Cell, _: Path) -> dict[str, Any]:
    """Sees to it that values and gradients are the same, then lets both race.

    Raises:
        ValueError: if they are not.
    """
    tokens, feat, vocab = (cell.config[name] for name in ("tokens", "feat", "vocab"))
    rng = np.random.default_rng(0)
    hidden = jnp.asarray(rng.normal(size=(tokens, feat)), jnp.float32)
    kernel = jnp.asarray(rng.normal(0, feat**-0.5, (feat, vocab)), jnp.float32)
    bias, targets = jnp.zeros(vocab), jnp.asarray(rng.integers(0, vocab, tokens), jnp.int32)
    mask = jnp.ones(tokens, bool)
    entrants, temporary = [], []
    for name, loss in (("ours, in tiles", cross_entropy), ("Optax, all logits", textbook.cross_entropy)):

        def mean(hidden: Any, kernel: Any, bias: Any, targets: Any, mask: Any, loss: Any = loss) -> Any:
            return loss(hidden, kernel, bias, targets, mask).mean

        given = (hidden, kernel, bias, targets, mask)
        program = compile_anew(jax.value_and_grad(mean, (0, 1, 2)), *given)
        entrants.append(contender(name, program, *given))
        temporary.append(program.temporary)
    ours, theirs = (jax.tree.leaves(each.run(1)) for each in entrants)
    error = admit(entrants[1].name, difference(theirs, ours), slack() * TOLERANCE)
    return {
        "rows": compare(entrants, cell.config["rounds"]), "temporary": temporary,
        "errors": {entrants[1].name: error},
    }  # fmt: skip


def standing(records: list[Record]) -> str:
    """The race, and what the losses take besides what they are given and give back."""
    lines = [render(records), ""]
    for record in records:
        ours, theirs = record["numbers"]["temporary"]
        lines.append(
            f"Besides what is given and given back: {ours / 1e6:,.0f} MB in tiles, {theirs / 1e6:,.0f} MB with all "
            f"logits, {theirs / max(ours, 1):.1f} times as much."
        )
    return "\n".join(lines)


TABLE = Benchmark("speed_loss", cells, measure, standing)
