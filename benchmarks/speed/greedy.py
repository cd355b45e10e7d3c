"""Greedy decoding of parallel sentences, and token by token; see `speed`.

The duration of both depends on where sentences end. Therefore the model is first trained on its batches.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from benchmarks.harness.record import Benchmark, Cell
from benchmarks.harness.stopwatch import check_difference, compare, compile_uncached, contender
from benchmarks.speed.peers import textbook
from benchmarks.speed.table import render
from benchmarks.speed.workload import QUICK, Workload, workload
from hae_jax import models
from hae_jax.config.presets import preset
from hae_jax.inference.decode_loop import bind
from hae_jax.inference.generate import greedy
from hae_jax.models.outputs import Code
from hae_jax.training import make_step, optim, start

STEPS = 150
"""Training steps before decoding."""
TOLERANCE = 0.05
"""Share of differing tokens: with two nearly equally probable words, rounding changes a document, one of 32."""


def cells(quick: bool) -> list[Cell]:
    """Returns the preset `small`; on a GPU also `reviews`, where each synchronization costs more."""
    names = ["quick"] if quick else ["small", *(["reviews"] if jax.default_backend() == "gpu" else [])]
    return [Cell(f"preset `{name}`", config={"preset": name, "rounds": 2 if quick else 7}) for name in names]


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Decodes the same codes both ways, up to the maximum length.

    Raises:
        ValueError: if the outputs differ.
    """
    quick = cell.config["preset"] == "quick"
    config = QUICK if quick else preset(cell.config["preset"])
    load = workload(config, folder.parents[1], babble=quick)
    load = load._replace(params=trained(load, 2 if quick else STEPS))
    max_tokens = config.data.max_sentences * (config.data.max_tokens + 1)
    entrants = contenders(load, max_tokens)
    ours, theirs = (np.asarray(each.run(1)) for each in entrants)
    difference = check_difference(entrants[1].name, float((ours != theirs).mean()), TOLERANCE)
    return {
        "rows": compare(entrants, cell.config["rounds"]), "errors": {"same tokens": 1 - difference},
        "tokens": int((ours != 0).sum()), "room": ours.size,
    }  # fmt: skip


def trained(load: Workload, steps: int) -> PyTree:
    """Returns parameters trained to reconstruct the batches, end marks included."""
    config = load.config
    model, optimizer = models.build(config.model, config.data.vocab_size), optim.build(config.optim, steps)
    key = jax.random.key(config.train.seed)
    state, step = start(model.init(key, load.batches[0])["params"], optimizer), make_step(model, optimizer, config)
    for at in range(steps):
        state, _ = step(state, load.batches[at % len(load.batches)], key)
    return state.params


def contenders(load: Workload, max_tokens: int) -> list[Any]:
    """Returns our decoder and the textbook decoder."""
    model = models.build(load.config.model, load.config.data.vocab_size)
    code: Code = bind(model, load.params, "encode")(load.batches[0])
    result = []
    for name, decode in (("ours, sentences side by side", greedy), ("a look before every token", textbook.greedy)):

        def run(params: Any, code: Code, decode: Any = decode) -> Any:
            return decode(model, params, code, max_tokens)

        result.append(contender(name, compile_uncached(run, load.params, code), load.params, code))
    return result


TABLE = Benchmark("speed_greedy", cells, measure, render)
