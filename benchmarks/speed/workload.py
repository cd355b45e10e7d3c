"""Real text in batches, and training steps over it as contenders; techniques can be switched off one by one."""

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
from benchmarks.harness.stopwatch import Contender, Program, compile_anew, settle
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
"""Documents of the corpus that batches are made of."""
VISITED = 4
"""Different batches that a step visits in turn."""
WIDEST, WORDS = 32, 25_000
"""Words a sentence, and of the vocabulary, with which texts are prepared; a config takes what it has room for."""
QUICK = Config(
    ModelConfig(embed_dim=4, hidden_dim=4, sentence_dim=4),
    DataConfig(vocab_size=9, max_tokens=5, batch_size=4, buckets=1),
)
"""What is measured where it has to be quick, over random words."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """Which techniques are on; the defaults are what training does.

    Attributes:
        scan: `loop`: inputs are multiplied inside the loop, and JAX differentiates it; `hoisted`: they are multiplied
            before it; `own`: it brings its own gradient.
        loss: with the logits of all tokens, or in tiles.
        layout: documents as dense tensors, or as tables of sentences.
        donate: whether the new state takes the memory of the old one.
        clip: the fused clip of `hae_jax.training.clipping`, or `optax.clip_by_global_norm`.
    """

    scan: Literal["loop", "hoisted", "own"] = "own"
    loss: Literal["full", "tiled"] = "tiled"
    layout: Literal["dense", "tables"] = "tables"
    donate: bool = True
    clip: Literal["fused", "optax"] = "fused"


class Workload(NamedTuple):
    """What a step is trained on.

    Attributes:
        config: the run.
        batches: batches of one shape, on the device.
        params: numbers of the right shapes; how long a step takes does not depend on them.
    """

    config: Config
    batches: list[Batch]
    params: PyTree

    @property
    def size(self) -> flops.Size:
        """What is real in a batch, on average."""
        sizes = [flops.real(batch) for batch in self.batches]
        return flops.Size(*(round(sum(part) / len(sizes)) for part in zip(*sizes, strict=True)))


def config_of(cell: Cell) -> Config:
    """Reads the run that stands in a cell beside its other settings."""
    return Config.from_json(json.dumps({name: cell.config[name] for name in ("model", "data", "optim", "train")}))


def workload(config: Config, folder: Path, babble: bool = False) -> Workload:
    """Cuts real text into a config's batches.

    Args:
        config: the run; words beyond its vocabulary are unknown.
        folder: where texts are kept for all workloads.
        babble: random words in place of a corpus, which takes long to prepare.
    """
    data = config.data
    if babble:
        documents = _babble(data.vocab_size, data.max_sentences, data.max_tokens)
    else:
        documents = texts(data.corpus, data.max_sentences, folder)
    return of(config, documents)


def of(config: Config, documents: list[list[np.ndarray]]) -> Workload:
    """Cuts documents into a config's batches."""
    data = config.data
    cut = [
        [np.where(s < data.vocab_size, s, UNK)[: data.max_tokens] for s in document[: data.max_sentences]]
        for document in documents
    ]
    batches = Batches(Corpus.from_documents(cut), data, config.train.seed)
    usual = (batches.batch(step) for step in range(100 * VISITED))
    chosen = list(islice((b for b in usual if tuple(map(len, b.buckets)) == batches.rows), VISITED))
    model = models.build(config.model, data.vocab_size)
    shapes = jax.eval_shape(lambda key, batch: model.init(key, batch)["params"], jax.random.key(0), chosen[0])
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0, 0.05, leaf.shape), leaf.dtype), shapes)
    return Workload(config, jax.device_put(chosen), params)


def step(name: str, load: Workload, setting: Setting = Setting()) -> Contender:
    """Returns the training step over a workload as a contender; a result is the step's info."""
    batches = load.batches
    if setting.layout == "dense":
        batches = [from_dense(dense_tokens(batch)) for batch in batches]
    key = jax.random.key(1)
    program = _program(load.config, setting, jax.tree.structure(batches[0]), _shapes(batches[0]))
    optimizer = optim.build(load.config.optim, load.config.train.steps)
    # A copy, since the first step may consume it.
    state = start(jax.tree.map(jnp.array, load.params), optimizer)
    done = 0

    def run(calls: int) -> Any:
        nonlocal state, done
        for _ in range(calls):
            state, info = program.call(state, batches[done % len(batches)], key)
            done += 1
            settle(info)
        return jax.block_until_ready((info, state))[0]

    return Contender(name, run, program.seconds, program.memory, load.size.words)


@contextmanager
def switched(setting: Setting) -> Iterator[None]:
    """Puts the textbook's parts in place of ours while a step is traced."""
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
def _program(config: Config, setting: Setting, structure: Any, shapes: tuple[tuple[int, ...], ...]) -> Program:
    """Compiles a step; that of the step which others are compared with is found again."""
    batch = jax.tree.unflatten(structure, [jax.ShapeDtypeStruct(shape, jnp.int32) for shape in shapes])
    model = models.build(config.model, config.data.vocab_size)
    clippers = {"global_norm": (optax.clip_by_global_norm, 1.0)} if setting.clip == "optax" else {}
    with patch.dict(optim.CLIPPERS, clippers):
        optimizer = optim.build(config.optim, config.train.steps)
    key = jax.random.key(0)
    params = jax.eval_shape(lambda key, batch: model.init(key, batch)["params"], key, batch)
    state = jax.eval_shape(lambda params: start(params, optimizer), params)
    taken = make_step(model, optimizer, config)
    with switched(setting):
        return compile_anew(taken, state, batch, key, donate=(0,) if setting.donate else ())


@lru_cache(maxsize=2)
def texts(corpus: str, sentences: int, folder: Path) -> list[list[np.ndarray]]:
    """Returns documents of a corpus, of long sentences; it is prepared once for all workloads."""
    data = dataclasses.replace(
        Config().data, corpus=corpus, vocab_size=WORDS, max_sentences=sentences, max_tokens=WIDEST
    )
    name = hashlib.sha256(repr(data).encode()).hexdigest()[:8]
    train = prepare(data, folder / f"text-{name}").train.evenly_spaced(DOCUMENTS)
    return [train.document(place) for place in range(len(train))]


def _babble(vocab: int, sentences: int, longest: int) -> list[list[np.ndarray]]:
    """Draws documents of any lengths."""
    rng = np.random.default_rng(0)
    return [
        [rng.integers(4, vocab, rng.integers(1, longest + 1)) for _ in range(rng.integers(1, sentences + 1))]
        for _ in range(64)
    ]
