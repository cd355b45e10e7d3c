"""The whole training step on ragged text, beside the same model in PyTorch; see `speed`."""

import dataclasses
from pathlib import Path
from textwrap import fill
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.harness.record import Benchmark, Cell, Record
from benchmarks.harness.stopwatch import Contender, compare, compile_anew, contender, slack
from benchmarks.learning.quickstart import as_json
from benchmarks.speed import flops
from benchmarks.speed.peers.equipment import missing
from benchmarks.speed.table import render
from benchmarks.speed.workload import Workload, config_of, step, workload
from hae_jax.config import Config
from hae_jax.config.presets import preset
from hae_jax.layers.losses import tile_size
from hae_jax.models.ragged import dense_tokens

TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2}
"""Of losses and norms of gradients, relative, by type."""
GROWTH = (1, 10, 10)
"""What may be left of it at each step that is compared: Adam divides by gradients near 0, and so magnifies rounding."""


def plain(config: Config, **model: Any) -> Config:
    """Takes away what the twin has not: mirrored weights, normalisation, auxiliary losses, a schedule. Vectors stand
    beside every word, as the twin has them, and batches hold 32 documents, whatever the presets have come to."""
    fields: dict[str, Any] = {
        "initializer": "orthogonal",
        "layer_norm": "none",
        "conditioning": "every_step",
        "sentence_loss": 0.0,
        "vector_loss": 0.0,
    }
    return dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, **fields | model),
        data=dataclasses.replace(config.data, batch_size=32),
        optim=dataclasses.replace(config.optim, warmup=0, final=1.0),
    )


def cells(quick: bool) -> list[Cell]:
    """The preset `small` on a CPU; four layers of 1,000 units and 25,000 words on a GPU; each tiny if it is quick."""
    if jax.default_backend() == "gpu":
        sizes = {"embed_dim": 1000, "hidden_dim": 1000, "sentence_dim": 1000, "layers": 4}
        runs = {
            f"4 x 1,000 units, 25,000 words, {dtype}": plain(preset("reviews"), **sizes, dtype=dtype)
            for dtype in ("float32", "bfloat16")
        }
    else:
        runs = {"preset `small`, plain": plain(preset("small"))}
    if quick:
        runs = {f"babble, {config.model.dtype}": tiny(config) for config in runs.values()}
    return [
        Cell(name, config={"rounds": 2 if quick else 40, "babble": quick} | as_json(config))
        for name, config in runs.items()
    ]


def tiny(config: Config) -> Config:
    """Returns the run with a model of a few units, for a few random words."""
    return dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, embed_dim=8, hidden_dim=8, sentence_dim=12, layers=2),
        data=dataclasses.replace(config.data, vocab_size=20, max_sentences=3, max_tokens=6, batch_size=5, buckets=1),
    )


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Sees to it that the twins lose the same, then lets them race; products of matrices run along.

    Raises:
        ValueError: if a twin's losses or gradients are others.
    """
    config = config_of(cell)
    load = workload(config, folder.parents[1], cell.config["babble"])
    ours = step("ours", load)
    twins, errors = {}, {}
    if not (absent := missing("torch")):
        expected = [(float(info.loss), float(info.norm)) for info in (ours.run(1) for _ in GROWTH)]
        for name, packed in (("PyTorch, padded", False), ("PyTorch, packed sequences", True)):
            trainer = twin(load, packed)
            found = [[float(number) for number in trainer.advance()] for _ in GROWTH]
            errors[name] = error = np.abs(np.divide(found, expected) - 1).max(axis=1).tolist()
            bound = slack(config.model.dtype) * TOLERANCE[config.model.dtype]
            if not all(off <= bound * growth for off, growth in zip(error, GROWTH, strict=True)):
                raise ValueError(f"{name} must lose what ours loses, got {found} for {expected}. Compare.")
            twins[name] = Contender(name, trainer.run)
    everybody = [ours, *twins.values()]
    dense = [*products(config), copy(1 if cell.config["babble"] else 1 << 26)]
    rows = compare([*everybody, *(each for each, _ in dense)], cell.config["rounds"])
    rates = {
        each.name: amount / row["seconds"] for (each, amount), row in zip(dense, rows[len(everybody) :], strict=True)
    }
    vocab = config.data.vocab_size
    return {
        "rows": rows[: len(everybody)], "errors": errors, "skipped": absent, "bandwidth": rates.pop("copy"),
        "rates": rates,
        "useful": flops.training(config.model, vocab, load.size),
        "padded": flops.training(config.model, vocab, flops.room(load.batches[0])),
        "words": load.size.words, "cells": flops.room(load.batches[0]).words,
    }  # fmt: skip


def twin(load: Workload, packed: bool) -> Any:
    """Returns the PyTorch model over the same batches."""
    import torch

    from benchmarks.speed.peers.equipment import equip
    from benchmarks.speed.peers.twin import Trainer, text

    device = equip(torch)
    texts = [text(np.asarray(dense_tokens(batch)), device) for batch in load.batches]
    return Trainer(load.config, load.params, texts, packed)


def products(config: Config) -> list[tuple[Contender, int]]:
    """Returns products of matrices as the step has them, and how many operations each is."""
    model, data = config.model, config.data
    tokens = data.batch_size * data.max_sentences * data.max_tokens
    sizes = {
        "softmax": (tile_size(tokens), model.embed_dim, data.vocab_size),
        "inputs": (tokens, model.embed_dim, 4 * model.hidden_dim),
        "recurrence": (data.batch_size * data.max_sentences, model.hidden_dim, 4 * model.hidden_dim),
    }
    made = []
    for name, (rows, inner, columns) in sizes.items():
        left, right = (jnp.ones(shape, model.dtype) for shape in ((rows, inner), (inner, columns)))
        made.append((contender(name, compile_anew(jnp.matmul, left, right), left, right), 2 * rows * inner * columns))
    return made


def copy(numbers: int) -> tuple[Contender, int]:
    """Returns a reading and writing of so many numbers, and how many bytes pass."""
    given = jnp.ones(numbers)
    return contender("copy", compile_anew(lambda x: x + 1, given), given), 2 * given.nbytes


def standing(records: list[Record]) -> str:
    """The race, and how near our step comes to the dense products of the same minutes."""
    lines = [render(records), ""]
    for record in records:
        n = record["numbers"]
        best, seconds = max(n["rates"].values()), n["rows"][0]["seconds"]
        absolute = record["device"]["platform"] != "cpu"
        softmax = n["useful"]["softmax"] / sum(n["useful"].values())
        useful, padded = (sum(n[which].values()) / seconds / best for which in ("useful", "padded"))
        told = (
            f"{record['cell']}: {n['words']:,} real words in {n['cells']:,} cells a step. Of the rate of the fastest "
            f"product of matrices in the same minutes our step reaches {useful:.0%} with the work for real words "
            f"alone, {padded:.0%} with that for padding; the softmax is {softmax:.0%} of the work."
            + (f" Products: {best / 1e12:.1f} TFLOP/s; copies: {n['bandwidth'] / 1e9:,.0f} GB/s." if absolute else "")
        )
        lines.append(fill(told, 128))
    return "\n".join(lines)


TABLE = Benchmark("speed_step", cells, measure, standing, peers=("torch",))
