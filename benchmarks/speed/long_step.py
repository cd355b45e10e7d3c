"""Does a training step over 64 documents of 2,000 words fit into 8 GiB?

    python -m benchmarks run long_step

Real text, documents joined to 125 sentences of at most 16 words, 25,000 words of vocabulary, 512 units at both levels;
one batch, two steps. The arrays hold 2,000 words per document, and a step computes all of them. Some sentences are
shorter: a document has 1,909 words on average, and 125 end marks, which are counted as words. Gates and cells are
stored in the forward pass, or recomputed in the backward pass (`model.remat`).

Device: one CPU core, ten minutes and 8 GiB; resumable.
Expected: both fit, the latter in half of it.
"""

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.record import Benchmark, Cell, Record
from benchmarks.learning.quickstart import as_json
from benchmarks.speed.workload import QUICK, config_of, step, texts, workload, workload_of
from hae_jax.config import Config, DataConfig, ModelConfig

LONG = Config(
    ModelConfig(embed_dim=512, hidden_dim=512, sentence_dim=512),
    DataConfig(corpus="sotu", vocab_size=25_000, max_sentences=125, max_tokens=16, batch_size=64, buckets=1),
)
STEPS = 2


def cells(quick: bool) -> list[Cell]:
    """Returns one cell with and one without rematerialization; small ones if `quick`."""
    base = QUICK if quick else LONG
    return [
        Cell(name, config={"babble": quick} | as_json(dataclasses.replace(base, model=model)))
        for name, model in (
            ("kept", base.model), ("found again", dataclasses.replace(base.model, remat=True))
        )
    ]  # fmt: skip


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Takes training steps on one batch."""
    config = config_of(cell)
    if cell.config["babble"]:
        load = workload(config, folder.parents[1], babble=True)
    else:
        load = workload_of(config, join_documents(texts(config.data.corpus, 4, folder.parents[1]), config.data))
    load = load._replace(batches=load.batches[:1])
    contender = step(cell.name, load)
    losses = [float(contender.run(1).loss) for _ in range(STEPS)]
    return {"memory": contender.memory, "losses": losses, "size": load.size._asdict()}


def join_documents(documents: list[list[np.ndarray]], data: DataConfig) -> list[list[np.ndarray]]:
    """Joins documents into a batch of long ones, repeating them if necessary."""
    sentences = itertools.cycle(itertools.chain.from_iterable(documents))
    return [list(itertools.islice(sentences, data.max_sentences)) for _ in range(data.batch_size)]


def render(records: list[Record]) -> str:
    """Renders one row per cell."""
    lines = [
        "| gates and cells | real tokens per batch | peak memory, GiB | losses of two steps |",
        "|---|---|---|---|",
    ]
    for record in records:
        numbers = record["numbers"]
        losses = ", ".join(f"{loss:.2f}" for loss in numbers["losses"])
        lines.append(
            f"| {record['cell']} | {numbers['size']['words']:,} | {numbers['memory'] / 2**30:.1f} | {losses} |"
        )  # fmt: skip
    return "\n".join(lines)


TABLE = Benchmark("long_step", cells, measure, render)
BENCHMARKS = [TABLE]
