"""Random sequences through a code: every batch is fresh, so that what comes back was remembered, not learned by heart.

A symbol carries log2 50 = 5.64 bits, and neighbours tell nothing about it: whatever the decoder knows of a sequence it
has from the code, even when it is told the true symbols before each one.
"""

import json
import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Key, PyTree

from benchmarks.harness.matched_size import parameters
from benchmarks.harness.time_budget import clock, planned
from hae_jax import models
from hae_jax.batch import EOD, EOS, PAD, SPECIALS, Batch
from hae_jax.config import Config, ModelConfig, OptimConfig
from hae_jax.inference.generate import greedy, split
from hae_jax.inference.teacher_forcing import encode, score
from hae_jax.models.outputs import Scores
from hae_jax.training import TrainState, make_step, optim, start
from hae_jax.training.checkpoint import CheckpointInfo, Checkpoints

SYMBOLS = 50
VOCAB = len(SPECIALS) + SYMBOLS
LOOKS = 20
"""Points of a learning curve."""
FRESH = 256
"""Sequences that a look is taken at; none of them is ever trained on."""
TOGETHER = 64
"""Sequences that are decoded at once."""
CHUNK = 10
"""Steps between two looks at the clock."""
SAVE = 150.0
"""Seconds between checkpoints."""


@dataclass(frozen=True)
class Setting:
    """What is remembered, by what, and for how long it is trained.

    Attributes:
        length: symbols of a sequence.
        segment: symbols of a sentence; the last one may be shorter.
        batch: sequences a step.
        minutes: of training, without compilation and looks, as `pace.clock` counts them.
        model: the autoencoder.
        optim: clip, Adam and learning rate; the schedule ends with the minutes.
    """

    length: int
    segment: int
    batch: int
    minutes: float
    model: ModelConfig
    optim: OptimConfig

    def to_dict(self) -> dict[str, Any]:
        """Returns JSON values."""
        return asdict(self)

    @classmethod
    def of(cls, raw: dict[str, Any]) -> "Setting":
        """Reads what `to_dict` returned."""
        return cls(**raw | {"model": ModelConfig(**raw["model"]), "optim": OptimConfig(**raw["optim"])})


def draw(key: Key[Array, ""], number: int, length: int, segment: int) -> Batch:
    """Draws sequences of independent symbols, cut into sentences of `segment` symbols."""
    sents, width = -(-length // segment), min(segment, length) + 1
    symbols = jax.random.randint(key, (number, length), len(SPECIALS), VOCAB, jnp.int32)
    spare = sents * (width - 1) - length
    words = jnp.pad(symbols, ((0, 0), (0, spare))).reshape(number, sents, width - 1)
    marks = np.zeros((sents, width), np.int32)
    marks[:, -1] = EOS
    marks[-1] = np.where(np.arange(width) == width - 1 - spare, EOD, PAD)
    table = jnp.where(marks > 0, marks, jnp.pad(words, ((0, 0), (0, 0), (0, 1))))
    return Batch((table.reshape(-1, width),), jnp.arange(number * sents, dtype=jnp.int32).reshape(number, sents))


def learn(setting: Setting, seed: int, folder: Path) -> dict[str, Any]:
    """Trains, or goes on with training, and looks at fresh sequences now and then; JSON values.

    How many steps fit into the minutes is measured first, so that the learning rate falls with the time that is left.

    Args:
        setting: what to learn.
        seed: of weights, sequences and dropout.
        folder: where a run that was stopped finds its checkpoint.
    """
    params_key, key, data = jax.random.split(jax.random.key(seed), 3)
    model = models.build(setting.model, VOCAB)
    sequences = jax.jit(partial(draw, number=setting.batch, length=setting.length, segment=setting.segment))
    first = sequences(data)
    # Eagerly: orthogonal weights drawn inside a compiled function hang with a single-threaded XLA.
    params = model.init({"params": params_key}, first)["params"]

    def race(steps: int) -> tuple[Callable[[], TrainState], Callable[[TrainState, int], TrainState]]:
        optimizer = optim.build(setting.optim, steps)
        step = make_step(model, optimizer, Config(model=setting.model, optim=setting.optim))

        def advance(state: TrainState, at: int) -> TrainState:
            return step(state, sequences(jax.random.fold_in(data, at)), key)[0]

        return lambda: start(jax.tree.map(jnp.copy, params), optimizer), advance

    begin, advance = race(1)
    steps = planned(setting.minutes, begin(), advance, folder / "steps.json")
    begin, advance = race(steps)
    checkpoints = Checkpoints(folder / "checkpoints", 1, print)
    restored = checkpoints.restore(jax.eval_shape(begin))
    # Compiled on a state of its own, outside of the time that is measured.
    jax.block_until_ready(advance(begin(), 0))
    state, record = restored or (begin(), CheckpointInfo(0, None, 0.0))
    at, seconds, saved = record.step, record.seconds, time.monotonic()
    noted = folder / "curve.json"
    curve = [x for x in json.loads(noted.read_text()) if x["step"] <= at] if restored else []
    every = max(steps // LOOKS, 1)
    while at < steps:
        until, began = min(at + CHUNK, steps, (at // every + 1) * every), clock()
        for n in range(at, until):
            state = advance(state, n)
        jax.block_until_ready(state)
        at, seconds = until, seconds + clock() - began
        if at % every == 0 and at < steps:
            curve.append({"step": at, "minutes": seconds / 60, **look(model, state.params, setting)})
            print({name: round(value, 4) for name, value in curve[-1].items()}, flush=True)
        if time.monotonic() - saved > SAVE:
            noted.write_text(json.dumps(curve))
            checkpoints.save(state, CheckpointInfo(at, None, seconds))
            saved = time.monotonic()
    last = look(model, state.params, setting, 2 * FRESH)
    checkpoints.finish()
    shutil.rmtree(folder / "checkpoints")
    return last | {
        "steps": at,
        "minutes": seconds / 60,
        "parameters": parameters(setting.model, VOCAB),
        "code": int(jax.eval_shape(partial(encode, model), state.params, first).document.shape[1]),
        "skipped_updates": int(state.skipped_total),
        "curve": [*curve, {"step": at, "minutes": seconds / 60, **last}],
    }


def look(model: nn.Module, params: PyTree, setting: Setting, number: int = FRESH) -> dict[str, float]:
    """Puts sequences that were never trained on through their codes.

    Args:
        model: the autoencoder.
        params: its parameters.
        setting: says how long sequences are.
        number: how many.

    Returns:
        `forced`, the share of symbols that are the likeliest, teacher-forced; `free`, the share that stand in their
        place when greedy decoding runs free; `exact`, the share of sequences that come back without a mistake; and
        `bits`, a lower bound of what the code tells about a sequence: its own bits, less those that are left. End marks
        are told by counting alone, so they play no part in these.
    """
    nll, hits, free, exact = 0.0, 0, 0, 0
    for part in range(number // TOGETHER):
        batch = draw(jax.random.fold_in(jax.random.key(2**31), part), TOGETHER, setting.length, setting.segment)
        code = encode(model, params, batch)
        scores = jax.device_get(score(model, params, code, batch))
        symbols = scores.mask & ~ends(scores)
        nll += float(scores.nll[symbols].astype(np.float64).sum())
        hits += int(scores.correct[symbols].sum())
        sources = np.asarray(batch.buckets[0]).reshape(TOGETHER, -1)
        said = greedy(model, params, code, sources.shape[1])
        for source, output in zip(split(sources), split(said), strict=True):
            right = places(list(chain(*source)), list(chain(*output)))
            free += right
            exact += source == output
    sequences = number // TOGETHER * TOGETHER
    tokens = sequences * setting.length
    return {
        "forced": hits / tokens,
        "free": free / tokens,
        "exact": exact / sequences,
        "bits": setting.length * max(0.0, math.log2(SYMBOLS) - nll / tokens / math.log(2)),
    }


def ends(scores: Scores) -> Bool[np.ndarray, "token"]:
    """Finds the end marks among the positions of a batch: the last real one of each sentence, as models keep order."""
    real = np.flatnonzero(scores.mask)
    doc, sent = np.asarray(scores.doc)[real], np.asarray(scores.sent)[real]
    order = np.lexsort((sent, doc))
    changes = (np.diff(doc[order]) != 0) | (np.diff(sent[order]) != 0)
    found = np.zeros(len(scores.mask), bool)
    found[real[order[np.append(changes, True)]]] = True
    return found


def places(source: Sequence[int], output: Sequence[int]) -> int:
    """Counts the symbols that stand where they stood.

    Example:
        >>> places([7, 8, 9], [7, 9]), places([7, 8, 9], [7, 8, 9, 9])
        (1, 3)
    """
    return sum(a == b for a, b in zip(source, output, strict=False))
