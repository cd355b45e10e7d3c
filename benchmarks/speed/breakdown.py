"""How is a training step's time divided? Prefixes of the step, each one part longer; see `speed`."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from benchmarks.harness.plots import draw_shares
from benchmarks.harness.record import Benchmark, Cell, Record
from benchmarks.harness.stopwatch import Contender, compile_uncached, contender, time_alternately
from benchmarks.learning.quickstart import as_json
from benchmarks.speed.workload import QUICK, Workload, config_of, step, workload
from hae_jax import models
from hae_jax.batch import PAD, Batch
from hae_jax.config.presets import preset
from hae_jax.models import objective
from hae_jax.models.ragged import gather_rows, sentence_mask, shift_right, split_buckets

Prefix = Callable[[nn.Module, Batch], Array]
"""Computes a model up to the end of a part, reduced to one number."""


def sentences(model: nn.Module, batch: Batch) -> Array:
    """Encodes words into sentence vectors."""
    return model.encoder.sentences(model.embedding, batch, True).sum()


def documents(model: nn.Module, batch: Batch) -> Array:
    """Encodes sentence vectors into codes."""
    return model.encoder.documents(model.encoder.sentences(model.embedding, batch, True), batch, True).document.sum()


def vectors(model: nn.Module, batch: Batch) -> Array:
    """Decodes codes into sentence vectors."""
    code = model.encoder.documents(model.encoder.sentences(model.embedding, batch, True), batch, True)
    return model.sentence_decoder(code, None, sentence_mask(batch), True)


def hidden(model: nn.Module, batch: Batch) -> Array:
    """Decodes sentence vectors into the hidden states of words."""
    decoded = split_buckets(gather_rows(vectors(model, batch), batch), batch)
    return sum(
        model.word_decoder(each, model.embedding(shift_right(table)), table != PAD, True, part).sum()
        for part, (each, table) in enumerate(zip(decoded, batch.buckets, strict=True))
    )


PARTS: tuple[tuple[str, Prefix | None], ...] = (
    ("encoder, words", sentences),
    ("encoder, sentences", documents),
    ("decoder, sentences", lambda model, batch: vectors(model, batch).sum()),
    ("decoder, words", hidden),
    ("softmax and losses", None),
    ("clip and Adam", None),
)
"""The parts in order, each with the prefix that ends there; the whole loss and the whole step are last."""
PICTURE = "speed_parts.png"


def cells(quick: bool) -> list[Cell]:
    """Returns the presets `small` and, on a GPU, `reviews`."""
    if quick:
        return [Cell("babble", config={"rounds": 1, "babble": True} | as_json(QUICK))]
    names = ["small", *(["reviews"] if jax.default_backend() == "gpu" else [])]
    return [Cell(f"preset `{name}`", config={"rounds": 9, "babble": False} | as_json(preset(name))) for name in names]


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Times all prefixes in alternation; a part's share is the median over rounds of its increment."""
    load = workload(config_of(cell), folder.parents[1], cell.config["babble"])
    times = time_alternately(
        [*(prefix(load, each) for _, each in PARTS[:-1]), step("step", load)], cell.config["rounds"]
    )
    added = [times[0], *([b - a for a, b in zip(low, high, strict=True)] for low, high in pairwise(times))]
    return {
        "shares": {
            name: median(seconds / total for seconds, total in zip(part, times[-1], strict=True))
            for (name, _), part in zip(PARTS, added, strict=True)
        },
        "seconds": median(times[-1]),
    }


def prefix(load: Workload, part: Prefix | None) -> Contender:
    """Returns the gradient of a prefix with respect to all parameters; of the whole loss if it is None."""
    config = load.config
    model = models.build(config.model, config.data.vocab_size)

    def value(params: PyTree, batch: Batch) -> Array:
        rngs = {"dropout": jax.random.key(0)}
        if part is None:
            losses: Any = model.apply({"params": params}, batch, train=True, rngs=rngs)
            return objective(losses, config.model)
        return nn.apply(part, model)({"params": params}, batch, rngs=rngs).astype(jnp.float32)

    arguments = (load.params, load.batches[0])
    return contender("", compile_uncached(jax.value_and_grad(value), *arguments), *arguments)


def render(records: list[Record]) -> str:
    """Renders the shares, in per cent, and the figure."""
    lines = [f"| | {' | '.join(name for name, _ in PARTS)} |", "|---" * (len(PARTS) + 1) + "|"]
    for record in records:
        shares = record["numbers"]["shares"]
        lines.append(f"| {record['cell']} | {' | '.join(f'{100 * shares[name]:.0f} %' for name, _ in PARTS)} |")
    return "\n".join([*lines, "", f"![Shares of a training step's time]({PICTURE})"])


def draw(records: list[Record], folder: Path) -> None:
    """Draws the shares as stacked bars."""
    bars = {record["cell"].replace("`", ""): record["numbers"]["shares"] for record in records}
    draw_shares(bars, "share of a training step's time", folder / PICTURE)


TABLE = Benchmark("speed_parts", cells, measure, render, draw)
