"""How much does an untrained model reconstruct?

    python -m benchmarks run untrained

Initial weights, without a step of training, reconstruct 128 held-out documents of the State of the Union addresses, and
64 sequences of 100 random symbols of 50, which no language model could predict. Rows of the first kind take back one
property of mirror initialization at a time, by a change of the initial weights or of the config, or change the size of
the code. A token counts teacher-forced if it is the most probable one after the true tokens before it, and free-running
if greedy decoding has it in the same place of the same row.

Device: any; two CPU cores take about 5 minutes.
Expected: the preset has nearly all tokens right, and without a single one of the properties the model has fewer.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from benchmarks.harness.record import Benchmark, Cell, Record
from benchmarks.learning.capacity import SHARED
from benchmarks.learning.random_sequences import VOCAB, draw
from hae_jax import models
from hae_jax.batch import EOD
from hae_jax.config import DataConfig, ModelConfig
from hae_jax.config.presets import preset
from hae_jax.data import prepare, sequential_batches
from hae_jax.inference.generate import greedy, split
from hae_jax.inference.teacher_forcing import encode, score
from hae_jax.layers.mirror_init import GATE, GATE_GAIN, SERIES_SIGNAL, SIGNAL

DOCUMENTS, BATCH, SEQUENCES, LENGTH = 128, 32, 64, 100


def _map(params: PyTree, change: Callable[[tuple[str, ...], jax.Array], jax.Array]) -> PyTree:
    """Applies a function to each array, given the names of its path."""
    return jax.tree_util.tree_map_with_path(lambda path, leaf: change(tuple(key.key for key in path), leaf), params)


def without_subtraction(params: PyTree) -> PyTree:
    """Returns the weights of decoders that subtract nothing: inputs have no effect."""
    decoders = ("word_decoder", "sentence_decoder", "decoder")
    return _map(params, lambda path, leaf: 0 * leaf if path[0] in decoders and path[1:] == INPUT else leaf)


def with_leak(params: PyTree) -> PyTree:
    """Returns the weights of registers that do not cancel what the closed forget gate passes."""

    def change(path: tuple[str, ...], leaf: jax.Array) -> jax.Array:
        if path[-2:] != ("layer_0", "recurrent"):
            return leaf
        zero, hidden = jnp.zeros((len(leaf), len(leaf))), jnp.eye(len(leaf))
        return leaf + jnp.concatenate([zero, zero, (1 - GATE) / GATE_GAIN * hidden, zero], axis=1)

    return _map(params, change)


def with_large_states(params: PyTree) -> PyTree:
    """Returns the weights of registers whose states are as large as those of series: 0.1 instead of 0.03 a vector."""
    scaled = (("layer_0", "kernel"), ("opening", "kernel"))
    return _map(params, lambda path, leaf: SERIES_SIGNAL / SIGNAL * leaf if path[-2:] in scaled else leaf)


INPUT = ("recurrent", "layer_0", "kernel")
"""Path of a decoder's input kernel."""
CHANGES: dict[str, Callable[[PyTree], PyTree]] = {
    "nothing subtracted": without_subtraction,
    "leak not cancelled": with_leak,
    "states of 0.1": with_large_states,
}
"""Changes of the initial weights."""
SMALL: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "preset `small`": ({}, ()),
    "gain of 0.98": ({"word_gain": 0.98}, ()),
    "nothing subtracted": ({}, ("nothing subtracted",)),
    "leak not cancelled": ({}, ("leak not cancelled",)),
    "states of 0.1": ({}, ("states of 0.1",)),
    "all three, with a gain of 1, as in version 0.4": ({"word_gain": 1.0}, tuple(CHANGES)),
    "no layer normalization of outputs": ({"layer_norm": "none"}, ()),
    "orthogonal weights": ({"initializer": "orthogonal"}, ()),
}
"""Changed fields of the preset's model, and changes of its initial weights, by row."""
NARROW: dict[str, dict[str, Any]] = {
    "preset `small-512`": {},
    "preset `small-512`, sentences not subtracted": {"feedback": "none", "sentence_gain": 1.0},
    "preset `small-256`": {},
    "preset `small-256`, sentences not subtracted": {"feedback": "none", "sentence_gain": 1.0},
}
"""Changed fields of the named preset."""
SYMBOLS: dict[str, tuple[dict[str, Any], int]] = {
    "one row of 100 symbols": ({"kind": "flat", "word_gain": 0.985}, LENGTH),
    "5 rows of 20": ({"feedback": "sentence", "word_gain": 0.98, "sentence_gain": 0.6}, 20),
    "10 rows of 10": ({"feedback": "sentence", "word_gain": 0.98, "sentence_gain": 0.75}, 10),
    "10 rows of 10, sentences not subtracted": ({"word_gain": 0.98}, 10),
    "10 rows of 10, each symbol with four units of its own": (SHARED, 10),
}
"""Changed fields of a model whose code has 200 numbers, and symbols a row."""


def cells(quick: bool) -> list[Cell]:
    """Returns one cell per row; two small ones if `quick`."""

    def cell(name: str, model: ModelConfig, **fields: Any) -> Cell:
        return Cell(name, (0,), {"model": dataclasses.asdict(model)} | fields)

    small = dataclasses.replace(preset("small").model, embed_dim=200, hidden_dim=200, sentence_dim=200, topic_dim=0)
    symbols = [
        cell(name, dataclasses.replace(small, **fields), symbols=row, changes=[])
        for name, (fields, row) in SYMBOLS.items()
    ]
    if quick:
        tiny = preset("tiny")
        return [cell("tiny", tiny.model, data=dataclasses.asdict(tiny.data), changes=[]), symbols[2]]
    data = dataclasses.asdict(preset("small").data)
    return [
        *(cell(name, dataclasses.replace(preset("small").model, **fields), data=data, changes=list(changes))
          for name, (fields, changes) in SMALL.items()),
        *(cell(name, dataclasses.replace(preset(name.split("`")[1]).model, **fields), data=data, changes=[])
          for name, fields in NARROW.items()),
        *symbols,
    ]  # fmt: skip


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Initializes a model and reconstructs documents or sequences; all cells share the tokenized text."""
    config = ModelConfig(**cell.config["model"])
    if "data" in cell.config:
        data = DataConfig(**cell.config["data"])
        dataset = prepare(data, folder.parent / "corpora" / data.corpus)
        held_out = dataset.heldout.evenly_spaced(DOCUMENTS)
        batches, vocab = list(sequential_batches(held_out, data, BATCH)), dataset.tokenizer.vocab_size
        documents = [[row.tolist() for row in held_out.document(number)] for number in range(len(held_out))]
    else:
        # One key for all rows: the same sequences, divided differently.
        batch = draw(jax.random.key(cell.seeds[0] + 1), SEQUENCES, LENGTH, cell.config["symbols"])
        batches, vocab = [(batch, SEQUENCES)], VOCAB
        (table,) = batch.buckets
        documents = [[[t for t in row if t > EOD] for row in table[rows].tolist()] for rows in batch.row_index]
    model = models.build(config, vocab)
    first = jax.tree.map(jnp.asarray, batches[0][0])
    params = model.init({"params": jax.random.key(cell.seeds[0])}, first)["params"]
    for change in cell.config["changes"]:
        params = CHANGES[change](params)
    limit = sum(len(row) + 1 for row in max(documents, key=lambda rows: sum(map(len, rows)))) + 1
    right, outputs = [], []
    for batch, count in batches:
        code = encode(model, params, batch)
        scores = score(model, params, code, batch)
        right.append(np.asarray(scores.correct)[np.asarray(scores.mask)])
        outputs += split(greedy(model, params, code, limit))[:count]
    placed = [in_place(*pair) for pair in zip(documents, outputs, strict=True)]
    return {
        "numbers": int(code.document.shape[1]),
        "teacher_forced": float(np.concatenate(right).mean()),
        "free_running": float(sum(placed) / sum(len(row) for document in documents for row in document)),
    }


def in_place(source: list[list[int]], output: list[list[int]]) -> int:
    """Returns the number of tokens that the output has in the same place of the same row.

    Example:
        >>> in_place([[4, 5, 6], [7, 8]], [[4, 6, 6, 6], [7]])
        3
    """
    return sum(a == b for rows in zip(source, output, strict=False) for a, b in zip(*rows, strict=False))


def render(records: list[Record]) -> str:
    """Renders one row per model."""
    lines = [
        "| initial weights | numbers of the code | tokens, teacher-forced | tokens, free-running |",
        "|---" * 4 + "|",
    ]
    for record in records:
        n, symbols = record["numbers"], "data" not in record["config"]
        kind = "random symbols: " if symbols else ""
        lines.append(
            f"| {kind}{record['cell']} | {n['numbers']:,} | {n['teacher_forced']:.1%} | {n['free_running']:.1%} |"
        )
    return "\n".join(lines)


BENCHMARKS = (Benchmark("untrained", cells, measure, render),)
