"""The whole training step on ragged text, compared with the same model in PyTorch; see `speed`."""

import dataclasses
from pathlib import Path
from textwrap import fill
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.harness.record import Benchmark, Cell, Record
from benchmarks.harness.stopwatch import Contender, compare, compile_uncached, contender, tolerance_factor
from benchmarks.learning.ablation import with_fields
from benchmarks.learning.quickstart import as_json
from benchmarks.speed import flops
from benchmarks.speed.peers.equipment import unavailable
from benchmarks.speed.table import render
from benchmarks.speed.workload import MEASURED, Workload, config_of, step, workload
from hae_jax.config import Config
from hae_jax.config.presets import preset
from hae_jax.layers.losses import tile_size
from hae_jax.models.ragged import dense_tokens

TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2}
"""Relative tolerance of losses and gradient norms, by type."""
GROWTH = (1, 10, 10)
"""Factors of the tolerance at each compared step: Adam divides by gradients near 0, which amplifies rounding."""


def plain_config(config: Config, **model: Any) -> Config:
    """Returns a config without what the PyTorch model lacks: mirror initialization, normalization, auxiliary losses and
    a schedule. Sentence vectors are fed at every step, and batches have 32 documents, independently of the presets."""
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
    """Returns the preset `small` on a CPU; four layers of 1,000 units, 25,000 words on a GPU; tiny ones if `quick`."""
    if jax.default_backend() == "gpu":
        sizes = {"embed_dim": 1000, "hidden_dim": 1000, "sentence_dim": 1000, "layers": 4}
        runs = {
            f"4 x 1,000 units, 25,000 words, {dtype}": plain_config(preset("reviews"), **sizes, dtype=dtype)
            for dtype in ("float32", "bfloat16")
        }
    else:
        runs = {"preset `small`, plain": plain_config(with_fields(preset("small"), MEASURED))}
    if quick:
        runs = {f"babble, {config.model.dtype}": tiny_config(config) for config in runs.values()}
    return [
        Cell(name, config={"rounds": 2 if quick else 40, "babble": quick} | as_json(config))
        for name, config in runs.items()
    ]


def tiny_config(config: Config) -> Config:
    """Returns the config with a model of a few units, for a few random words."""
    return dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, embed_dim=8, hidden_dim=8, sentence_dim=12, layers=2),
        data=dataclasses.replace(config.data, vocab_size=20, max_sentences=3, max_tokens=6, batch_size=5, buckets=1),
    )


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Checks that the PyTorch models have the same losses, then times all steps, and matrix products for reference.

    Raises:
        ValueError: if the losses or gradients of a PyTorch model differ.
    """
    config = config_of(cell)
    load = workload(config, folder.parents[1], cell.config["babble"])
    ours = step("ours", load)
    twins, errors = {}, {}
    if not (absent := unavailable("torch")):
        expected = [(float(info.loss), float(info.norm)) for info in (ours.run(1) for _ in GROWTH)]
        for name, packed in (("PyTorch, padded", False), ("PyTorch, packed sequences", True)):
            trainer = torch_trainer(load, packed)
            losses = [[float(number) for number in trainer.advance()] for _ in GROWTH]
            errors[name] = error = np.abs(np.divide(losses, expected) - 1).max(axis=1).tolist()
            bound = tolerance_factor(config.model.dtype) * TOLERANCE[config.model.dtype]
            if not all(difference <= bound * growth for difference, growth in zip(error, GROWTH, strict=True)):
                raise ValueError(f"{name} must have the losses of ours, got {losses} for {expected}. Compare them.")
            twins[name] = Contender(name, trainer.run)
    models = [ours, *twins.values()]
    dense = [*products(config), copy(1 if cell.config["babble"] else 1 << 26)]
    rows = compare([*models, *(each for each, _ in dense)], cell.config["rounds"])
    rates = {each.name: amount / row["seconds"] for (each, amount), row in zip(dense, rows[len(models) :], strict=True)}
    vocab = config.data.vocab_size
    return {
        "rows": rows[: len(models)], "errors": errors, "skipped": absent, "bandwidth": rates.pop("copy"),
        "rates": rates,
        "useful": flops.training_flops(config.model, vocab, load.size),
        "padded": flops.training_flops(config.model, vocab, flops.padded_size(load.batches[0])),
        "words": load.size.words, "cells": flops.padded_size(load.batches[0]).words,
    }  # fmt: skip


def torch_trainer(load: Workload, packed: bool) -> Any:
    """Returns the PyTorch model and its training loop over the same batches."""
    import torch

    from benchmarks.speed.peers.equipment import configure_torch
    from benchmarks.speed.peers.twin import Trainer, prepare_text

    device = configure_torch(torch)
    texts = [prepare_text(np.asarray(dense_tokens(batch)), device) for batch in load.batches]
    return Trainer(load.config, load.params, texts, packed)


def products(config: Config) -> list[tuple[Contender, int]]:
    """Returns matrix products of the sizes of the step, each with its number of operations."""
    model, data = config.model, config.data
    tokens = data.batch_size * data.max_sentences * data.max_tokens
    sizes = {
        "softmax": (tile_size(tokens), model.embed_dim, data.vocab_size),
        "inputs": (tokens, model.embed_dim, 4 * model.hidden_dim),
        "recurrence": (data.batch_size * data.max_sentences, model.hidden_dim, 4 * model.hidden_dim),
    }
    result: list[tuple[Contender, int]] = []
    for name, (rows, inner, columns) in sizes.items():
        left, right = (jnp.ones(shape, model.dtype) for shape in ((rows, inner), (inner, columns)))
        result.append(
            (contender(name, compile_uncached(jnp.matmul, left, right), left, right), 2 * rows * inner * columns)
        )
    return result


def copy(numbers: int) -> tuple[Contender, int]:
    """Returns a copy of an array, with the number of bytes read and written."""
    array = jnp.ones(numbers)
    return contender("copy", compile_uncached(lambda x: x + 1, array), array), 2 * array.nbytes


def render_step(records: list[Record]) -> str:
    """Renders the timings, and the rate of our step relative to that of dense matrix products."""
    lines = [render(records), ""]
    for record in records:
        n = record["numbers"]
        best, seconds = max(n["rates"].values()), n["rows"][0]["seconds"]
        absolute = record["device"]["platform"] != "cpu"
        softmax = n["useful"]["softmax"] / sum(n["useful"].values())
        useful, padded = (sum(n[key].values()) / seconds / best for key in ("useful", "padded"))
        text = (
            f"{record['cell']}: {n['words']:,} real tokens in {n['cells']:,} positions per step. Relative to the "
            f"fastest matrix product, timed in alternation, our step reaches {useful:.0%} counting operations for real "
            f"tokens only, {padded:.0%} including padding; the softmax is {softmax:.0%} of the operations."
            + (f" Products: {best / 1e12:.1f} TFLOP/s; copies: {n['bandwidth'] / 1e9:,.0f} GB/s." if absolute else "")
        )
        lines.append(fill(text, 128))
    return "\n".join(lines)


TABLE = Benchmark("speed_step", cells, measure, render_step, peers=("torch",))
