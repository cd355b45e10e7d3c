"""How many steps fit into some minutes: models of different speed get the same time, and whole schedules."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import TypeVar

import jax
import jax.numpy as jnp

from benchmarks.harness.record import device
from hae_jax import models
from hae_jax.config import Config
from hae_jax.data import Batches, Dataset
from hae_jax.training import TrainState, make_step, optim, start

TRIED = 12
"""Steps whose median time counts."""
T = TypeVar("T")


def clock() -> float:
    """Returns the seconds that the device has worked, from some moment on.

    Models are given the same time, but seldom find a machine equally quiet. So of a CPU the work itself is counted,
    that of all its cores together as though they had shared it evenly: what else the machine does is left out. Steps
    whose work cannot be shared among cores, such as those of a long scan, get more minutes by the clock on the wall.
    """
    this = device()
    return time.process_time() / this["cores"] if this["platform"] == "cpu" else time.monotonic()


def planned(minutes: float, state: T, advance: Callable[[T, int], T], path: Path) -> int:
    """Returns how many steps fit into the minutes, compilation left aside.

    The learning rate is a function of the step and should have fallen when the time is over, so a run has to know its
    steps beforehand. What was planned once is kept: a run that goes on must not change its schedule.

    Args:
        minutes: of training, as `clock` counts them.
        state: what the first step starts from; it may be consumed.
        advance: one step, from a state and its number to the next state.
        path: where the plan is kept.
    """
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(max(1, int(60 * minutes / work(state, advance)))))
    return json.loads(path.read_text())


def work(state: T, advance: Callable[[T, int], T]) -> float:
    """Returns the median seconds of a step, as `clock` counts them: of the steps from 0 on, which consume the state."""
    times = []
    for at in range(TRIED):
        began = clock()
        state = jax.block_until_ready(advance(state, at))
        times.append(clock() - began)
    return median(times)


def training(config: Config, dataset: Dataset) -> tuple[TrainState, Callable[[TrainState, int], TrainState]]:
    """Returns what a training run starts from, and its step: what `planned` and `work` ask for."""
    model, optimizer = models.build(config.model, dataset.tokenizer.vocab_size), optim.build(config.optim, 1)
    batches, key = Batches(dataset.train, config.data, config.train.seed), jax.random.key(0)
    step = make_step(model, optimizer, config)
    state = start(model.init(key, jax.tree.map(jnp.asarray, batches.batch(0)))["params"], optimizer)
    return state, lambda state, at: step(state, batches.batch(at), key)[0]
