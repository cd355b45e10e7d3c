"""Numbers of training steps that fit into a time budget, so that models of different speed get equal time."""

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

TIMED_STEPS = 12
"""Steps over which the median time is taken."""
T = TypeVar("T")


def compute_seconds() -> float:
    """Returns the seconds that the device has computed, from an arbitrary origin.

    On a CPU this is the process time divided by the number of cores, so that the load of other processes does not
    reduce a model's budget. Steps that cannot use all cores, such as those of a long scan, take more wall-clock time.
    On other devices it is wall-clock time.
    """
    info = device()
    return time.process_time() / info["cores"] if info["platform"] == "cpu" else time.monotonic()


def planned_steps(minutes: float, state: T, advance: Callable[[T, int], T], path: Path) -> int:
    """Returns the number of steps that fit into the minutes, without compilation.

    The learning-rate schedule is a function of the step and should end with the budget, so the number of steps has to
    be fixed in advance. The plan is stored, because a resumed run must not change its schedule.

    Args:
        minutes: of training, as measured by `compute_seconds`.
        state: the initial state; it may be donated.
        advance: takes one step: from a state and its index to the next state.
        path: file of the plan.
    """
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(max(1, int(60 * minutes / step_seconds(state, advance)))))
    return json.loads(path.read_text())


def step_seconds(state: T, advance: Callable[[T, int], T]) -> float:
    """Returns the median `compute_seconds` of the first steps; the state may be donated."""
    times = []
    for index in range(TIMED_STEPS):
        started = compute_seconds()
        state = jax.block_until_ready(advance(state, index))
        times.append(compute_seconds() - started)
    return median(times)


def initial_state_and_step(
    config: Config, dataset: Dataset
) -> tuple[TrainState, Callable[[TrainState, int], TrainState]]:
    """Returns the initial state and the step of a training run, as `planned_steps` and `step_seconds` expect them."""
    model, optimizer = models.build(config.model, dataset.tokenizer.vocab_size), optim.build(config.optim, 1)
    batches, key = Batches(dataset.train, config.data, config.train.seed), jax.random.key(0)
    step = make_step(model, optimizer, config)
    state = start(model.init(key, jax.tree.map(jnp.asarray, batches.batch(0)))["params"], optimizer)
    return state, lambda state, index: step(state, batches.batch(index), key)[0]
