"""Batches of real text, and training steps as contenders, whose techniques can be disabled one by one."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple
from unittest.mock import patch

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import PyTree

from benchmarks.harness.record import Cell
from benchmarks.harness.stopwatch import Contender, Program, compile_uncached, synchronize
from benchmarks.speed import flops
from benchmarks.speed.peers import textbook
from hae_jax import models
from hae_jax.batch import UNK, Batch
from hae_jax.config import Config, DataConfig, ModelConfig
from hae_jax.data.batches import Batches
from hae_jax.data.cache import prepare
from hae_jax.data.documents import Corpus
from hae_jax.layers import stack
from hae_jax.models import embedding
from hae_jax.models.ragged import dense_tokens, from_dense
from hae_jax.training import optim
from hae_jax.training.step import make_step, start

DOCUMENTS = 4096
"""Documents of the corpus from which batches are drawn."""
BATCHES = 4
"""Different batches, which the steps cycle through."""
MAX_TOKENS, VOCAB = 32, 25_000
"""Words per sentence, and vocabulary size, of the prepared texts; a config truncates them to its limits."""
MEASURED: dict[str, Any] = {
    "model.embed_dim": 256, "model.hidden_dim": 256, "model.sentence_dim": 1024, "model.topic_dim": 0,
    "data.tokenizer": "word",
}  # fmt: skip
"""The sizes with which all tables of speed were measured: those of the preset `small` of version 0.4."""
QUICK = Config(
    ModelConfig(embed_dim=4, hidden_dim=4, sentence_dim=4),
    DataConfig(vocab_size=9, max_tokens=5, batch_size=4, buckets=1),
)
"""The config of quick runs, with random words."""


@dataclasses.dataclass(frozen=True)
class Techniques:
    """Enabled techniques; the defaults are those of training.

    Attributes:
        scan: `loop`: inputs are projected inside the loop, which JAX differentiates; `hoisted`: they are projected
            before it; `own`: the loop has a custom gradient.
        loss: with the logits of all tokens, or in tiles.
        layout: documents as dense tensors, or as length buckets of sentences.
        donate: whether the new state reuses the memory of the old one.
        clip: the fused clip of `hae_jax.training.clipping`, or `optax.clip_by_global_norm`.
    """

    scan: Literal["loop", "hoisted", "own"] = "own"
    loss: Literal["full", "tiled"] = "tiled"
    layout: Literal["dense", "tables"] = "tables"
    donate: bool = True
    clip: Literal["fused", "optax"] = "fused"


class Workload(NamedTuple):
    """Data and parameters of a training step.

    Attributes:
        config: of the run.
        batches: batches of one shape, on the device.
        params: random parameters; the duration of a step does not depend on their values.
    """

    config: Config
    batches: list[Batch]
    params: PyTree

    @property
    def size(self) -> flops.Size:
        """Real tokens, sentences and documents of a batch, on average."""
        sizes = [flops.real_size(batch) for batch in self.batches]
        return flops.Size(*(round(sum(part) / len(sizes)) for part in zip(*sizes, strict=True)))


def config_of(cell: Cell) -> Config:
    """Reads the config from a cell."""
    return Config.from_json(json.dumps({name: cell.config[name] for name in ("model", "data", "optim", "train")}))


def workload(config: Config, folder: Path, babble: bool = False) -> Workload:
    """Divides real text into the batches of a config.

    Args:
        config: of the run; words beyond its vocabulary are unknown.
        folder: cache of the texts of all workloads.
        babble: whether to use random words instead of a corpus, which takes long to prepare.
    """
    data = config.data
    if babble:
        documents = _random_documents(data.vocab_size, data.max_sentences, data.max_tokens)
    else:
        documents = texts(data.corpus, data.max_sentences, folder)
    return workload_of(config, documents)


def workload_of(config: Config, documents: list[list[np.ndarray]]) -> Workload:
    """Divides documents into the batches of a config."""
    data = config.data
    truncated = [
        [np.where(s < data.vocab_size, s, UNK)[: data.max_tokens] for s in document[: data.max_sentences]]
        for document in documents
    ]
    batches = Batches(Corpus.from_documents(truncated), data, config.train.seed)
    stream = (batches.batch(step) for step in range(100 * BATCHES))
    chosen = list(islice((b for b in stream if tuple(map(len, b.buckets)) == batches.rows), BATCHES))
    model = models.build(config.model, data.vocab_size)
    shapes = jax.eval_shape(lambda key, batch: model.init(key, batch)["params"], jax.random.key(0), chosen[0])
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0, 0.05, leaf.shape), leaf.dtype), shapes)
    return Workload(config, jax.device_put(chosen), params)


def step(name: str, load: Workload, setting: Techniques = Techniques()) -> Contender:
    """Returns the training step over a workload as a contender, whose result is the step's info."""
    batches = load.batches
    if setting.layout == "dense":
        batches = [from_dense(dense_tokens(batch)) for batch in batches]
    key = jax.random.key(1)
    program = _program(load.config, setting, jax.tree.structure(batches[0]), _shapes(batches[0]))
    optimizer = optim.build(load.config.optim, load.config.train.steps)
    # A copy, since the first step may donate it.
    state = start(jax.tree.map(jnp.array, load.params), optimizer)
    done = 0

    def run(calls: int) -> Any:
        nonlocal state, done
        for _ in range(calls):
            state, info = program.call(state, batches[done % len(batches)], key)
            done += 1
            synchronize(info)
        return jax.block_until_ready((info, state))[0]

    return Contender(name, run, program.seconds, program.memory, load.size.words)


@contextmanager
def substituted(setting: Techniques) -> Iterator[None]:
    """Substitutes textbook implementations for disabled techniques while a step is traced."""
    with ExitStack() as parts:
        if setting.scan != "own":
            scan = partial(textbook.scan, hoist=setting.scan == "hoisted")
            parts.enter_context(patch.object(stack, "lstm_scan", scan))
        if setting.loss == "full":
            parts.enter_context(patch.object(embedding, "cross_entropy", textbook.cross_entropy))
        yield


def _shapes(batch: Batch) -> tuple[tuple[int, ...], ...]:
    return tuple(leaf.shape for leaf in jax.tree.leaves(batch))


@lru_cache(maxsize=4)
def _program(config: Config, setting: Techniques, structure: Any, shapes: tuple[tuple[int, ...], ...]) -> Program:
    """Compiles a step; cached, since the step that others are compared with is used repeatedly."""
    batch = jax.tree.unflatten(structure, [jax.ShapeDtypeStruct(shape, jnp.int32) for shape in shapes])
    model = models.build(config.model, config.data.vocab_size)
    clippers = {"global_norm": (optax.clip_by_global_norm, 1.0)} if setting.clip == "optax" else {}
    with patch.dict(optim.CLIPPERS, clippers):
        optimizer = optim.build(config.optim, config.train.steps)
    key = jax.random.key(0)
    params = jax.eval_shape(lambda key, batch: model.init(key, batch)["params"], key, batch)
    state = jax.eval_shape(lambda params: start(params, optimizer), params)
    function = make_step(model, optimizer, config)
    with substituted(setting):
        return compile_uncached(function, state, batch, key, donate=(0,) if setting.donate else ())


@lru_cache(maxsize=2)
def texts(corpus: str, sentences: int, folder: Path) -> list[list[np.ndarray]]:
    """Returns documents of a corpus with long sentences; prepared once for all workloads."""
    data = dataclasses.replace(
        Config().data, corpus=corpus, vocab_size=VOCAB, max_sentences=sentences, max_tokens=MAX_TOKENS
    )
    name = hashlib.sha256(repr(data).encode()).hexdigest()[:8]
    train = prepare(data, folder / f"text-{name}").train.evenly_spaced(DOCUMENTS)
    return [train.document(index) for index in range(len(train))]


def _random_documents(vocab: int, sentences: int, longest: int) -> list[list[np.ndarray]]:
    """Draws documents of random lengths."""
    rng = np.random.default_rng(0)
    return [
        [rng.integers(4, vocab, rng.integers(1, longest + 1)) for _ in range(rng.integers(1, sentences + 1))]
        for _ in range(64)
    ]
