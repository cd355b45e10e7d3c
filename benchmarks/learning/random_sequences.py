"""Autoencoding of random sequences: every batch is new, so that correct symbols come from the code, not from training.

A symbol carries log2 50 = 5.64 bits, and its neighbours contain no information about it: all information that the
decoder has about a symbol is from the code, even if it is teacher-forced.
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

from benchmarks.harness.matched_size import count_parameters
from benchmarks.harness.time_budget import compute_seconds, planned_steps
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
CURVE_POINTS = 20
"""Points of a learning curve."""
EVAL_SEQUENCES = 256
"""Held-out sequences of an evaluation during training."""
EVAL_BATCH = 64
"""Sequences that are decoded together."""
CHUNK = 10
"""Steps between two measurements of time."""
SAVE_SECONDS = 150.0
"""Seconds between checkpoints."""


@dataclass(frozen=True)
class Setting:
    """Data, model and duration of a training run.

    Attributes:
        length: symbols per sequence.
        segment: symbols per sentence; the last one may be shorter.
        batch: sequences per step.
        minutes: of training, without compilation and evaluation, as measured by `compute_seconds`.
        model: the autoencoder.
        optim: clipping, Adam and learning rate; the schedule ends with the minutes.
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
    missing = sents * (width - 1) - length
    words = jnp.pad(symbols, ((0, 0), (0, missing))).reshape(number, sents, width - 1)
    marks = np.zeros((sents, width), np.int32)
    marks[:, -1] = EOS
    marks[-1] = np.where(np.arange(width) == width - 1 - missing, EOD, PAD)
    table = jnp.where(marks > 0, marks, jnp.pad(words, ((0, 0), (0, 0), (0, 1))))
    return Batch((table.reshape(-1, width),), jnp.arange(number * sents, dtype=jnp.int32).reshape(number, sents))


def train(setting: Setting, seed: int, folder: Path) -> dict[str, Any]:
    """Trains, or resumes training, and evaluates held-out sequences; returns JSON values.

    The number of steps that fit into the minutes is measured first, so that the learning rate decays within them.

    Args:
        setting: data, model and duration.
        seed: of weights, sequences and dropout.
        folder: holds the checkpoint of an interrupted run.
    """
    params_key, key, data = jax.random.split(jax.random.key(seed), 3)
    model = models.build(setting.model, VOCAB)
    sequences = jax.jit(partial(draw, number=setting.batch, length=setting.length, segment=setting.segment))
    first = sequences(data)
    # Eagerly: orthogonal weights drawn inside a compiled function hang with a single-threaded XLA.
    params = model.init({"params": params_key}, first)["params"]

    def build(steps: int) -> tuple[Callable[[], TrainState], Callable[[TrainState, int], TrainState]]:
        optimizer = optim.build(setting.optim, steps)
        step = make_step(model, optimizer, Config(model=setting.model, optim=setting.optim))

        def advance(state: TrainState, at: int) -> TrainState:
            return step(state, sequences(jax.random.fold_in(data, at)), key)[0]

        return lambda: start(jax.tree.map(jnp.copy, params), optimizer), advance

    initialize, advance = build(1)
    steps = planned_steps(setting.minutes, initialize(), advance, folder / "steps.json")
    initialize, advance = build(steps)
    checkpoints = Checkpoints(folder / "checkpoints", 1, print)
    restored = checkpoints.restore(jax.eval_shape(initialize))
    # Compiles outside of the measured time.
    jax.block_until_ready(advance(initialize(), 0))
    state, record = restored or (initialize(), CheckpointInfo(0, None, 0.0))
    at, seconds, saved = record.step, record.seconds, time.monotonic()
    curve_path = folder / "curve.json"
    curve = [x for x in json.loads(curve_path.read_text()) if x["step"] <= at] if restored else []
    every = max(steps // CURVE_POINTS, 1)
    while at < steps:
        until, started = min(at + CHUNK, steps, (at // every + 1) * every), compute_seconds()
        for n in range(at, until):
            state = advance(state, n)
        jax.block_until_ready(state)
        at, seconds = until, seconds + compute_seconds() - started
        if at % every == 0 and at < steps:
            curve.append({"step": at, "minutes": seconds / 60, **evaluate_sequences(model, state.params, setting)})
            print({name: round(value, 4) for name, value in curve[-1].items()}, flush=True)
        if time.monotonic() - saved > SAVE_SECONDS:
            curve_path.write_text(json.dumps(curve))
            checkpoints.save(state, CheckpointInfo(at, None, seconds))
            saved = time.monotonic()
    last = evaluate_sequences(model, state.params, setting, 2 * EVAL_SEQUENCES)
    checkpoints.finish()
    shutil.rmtree(folder / "checkpoints")
    return last | {
        "steps": at,
        "minutes": seconds / 60,
        "parameters": count_parameters(setting.model, VOCAB),
        "code": int(jax.eval_shape(partial(encode, model), state.params, first).document.shape[1]),
        "skipped_updates": int(state.skipped_total),
        "curve": [*curve, {"step": at, "minutes": seconds / 60, **last}],
    }


def evaluate_sequences(
    model: nn.Module, params: PyTree, setting: Setting, number: int = EVAL_SEQUENCES
) -> dict[str, float]:
    """Reconstructs held-out sequences from their codes.

    Args:
        model: the autoencoder.
        params: its parameters.
        setting: length of the sequences.
        number: of sequences.

    Returns:
        `forced`, the share of symbols that are most probable, teacher-forced; `free`, the share of symbols that are
        correct at their position in free-running greedy decoding; `exact`, the share of sequences reconstructed
        exactly; and `bits`, a lower bound of the information in the code about a sequence: its entropy minus the
        cross-entropy. End marks follow from counting and are excluded.
    """
    nll, hits, free, exact = 0.0, 0, 0, 0
    for part in range(number // EVAL_BATCH):
        batch = draw(jax.random.fold_in(jax.random.key(2**31), part), EVAL_BATCH, setting.length, setting.segment)
        code = encode(model, params, batch)
        scores = jax.device_get(score(model, params, code, batch))
        symbols = scores.mask & ~end_marks(scores)
        nll += float(scores.nll[symbols].astype(np.float64).sum())
        hits += int(scores.correct[symbols].sum())
        sources = np.asarray(batch.buckets[0]).reshape(EVAL_BATCH, -1)
        outputs = greedy(model, params, code, sources.shape[1])
        for source, output in zip(split(sources), split(outputs), strict=True):
            correct = matching_symbols(list(chain(*source)), list(chain(*output)))
            free += correct
            exact += source == output
    sequences = number // EVAL_BATCH * EVAL_BATCH
    tokens = sequences * setting.length
    return {
        "forced": hits / tokens,
        "free": free / tokens,
        "exact": exact / sequences,
        "bits": setting.length * max(0.0, math.log2(SYMBOLS) - nll / tokens / math.log(2)),
    }


def end_marks(scores: Scores) -> Bool[np.ndarray, "token"]:
    """Returns a mask of the end marks among the scores of a batch: the last real token of each sentence."""
    real = np.flatnonzero(scores.mask)
    doc, sent = np.asarray(scores.doc)[real], np.asarray(scores.sent)[real]
    order = np.lexsort((sent, doc))
    changes = (np.diff(doc[order]) != 0) | (np.diff(sent[order]) != 0)
    marks = np.zeros(len(scores.mask), bool)
    marks[real[order[np.append(changes, True)]]] = True
    return marks


def matching_symbols(source: Sequence[int], output: Sequence[int]) -> int:
    """Counts the symbols that are correct at their position.

    Example:
        >>> matching_symbols([7, 8, 9], [7, 9]), matching_symbols([7, 8, 9], [7, 8, 9, 9])
        (1, 3)
    """
    return sum(a == b for a, b in zip(source, output, strict=False))
