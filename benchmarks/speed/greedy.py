"""Greedy decoding, sentences side by side, and token after token; see `speed`.

How long either takes depends on where sentences end. So the model has learned its batches first.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from benchmarks.harness.record import Benchmark, Cell
from benchmarks.harness.stopwatch import admit, compare, compile_anew, contender
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
"""Of training."""
TOLERANCE = 0.05
"""Of the places for tokens: where two words are nearly as likely, rounding sends a document another way, one of 32."""


def cells(quick: bool) -> list[Cell]:
    """The preset `small`; on a GPU `reviews` as well, where each look at the device costs more."""
    names = ["quick"] if quick else ["small", *(["reviews"] if jax.default_backend() == "gpu" else [])]
    return [Cell(f"preset `{name}`", config={"preset": name, "rounds": 2 if quick else 7}) for name in names]


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Decodes the same codes both ways, to the last token there is room for.

    Raises:
        ValueError: if the two say different things.
    """
    quick = cell.config["preset"] == "quick"
    config = QUICK if quick else preset(cell.config["preset"])
    load = workload(config, folder.parents[1], babble=quick)
    load = load._replace(params=trained(load, 2 if quick else STEPS))
    room = config.data.max_sentences * (config.data.max_tokens + 1)
    entrants = contenders(load, room)
    ours, theirs = (np.asarray(each.run(1)) for each in entrants)
    off = admit(entrants[1].name, float((ours != theirs).mean()), TOLERANCE)
    return {
        "rows": compare(entrants, cell.config["rounds"]), "errors": {"same tokens": 1 - off},
        "tokens": int((ours != 0).sum()), "room": ours.size,
    }  # fmt: skip


def trained(load: Workload, steps: int) -> PyTree:
    """Returns parameters that say the batches again, ends included."""
    config = load.config
    model, optimizer = models.build(config.model, config.data.vocab_size), optim.build(config.optim, steps)
    key = jax.random.key(config.train.seed)
    state, step = start(model.init(key, load.batches[0])["params"], optimizer), make_step(model, optimizer, config)
    for at in range(steps):
        state, _ = step(state, load.batches[at % len(load.batches)], key)
    return state.params


def contenders(load: Workload, room: int) -> list[Any]:
    """Returns our decoder and the textbook's."""
    model = models.build(load.config.model, load.config.data.vocab_size)
    code: Code = bind(model, load.params, "encode")(load.batches[0])
    made = []
    for name, decode in (("ours, sentences side by side", greedy), ("a look before every token", textbook.greedy)):

        def say(params: Any, code: Code, decode: Any = decode) -> Any:
            return decode(model, params, code, room)

        made.append(contender(name, compile_anew(say, load.params, code), load.params, code))
    return made


TABLE = Benchmark("speed_greedy", cells, measure, render)
