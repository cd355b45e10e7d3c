"""Greedy decoding, in blocks of steps and asking after every token; see `speed`."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.peers import textbook
from benchmarks.record import Benchmark, Cell
from benchmarks.standing import render
from benchmarks.stopwatch import compare, compile_anew, contender
from benchmarks.workload import QUICK, Workload, workload
from hae_jax import models
from hae_jax.inference.generate import ask, greedy
from hae_jax.models.interface import Code
from hae_jax.presets import preset


def cells(quick: bool) -> list[Cell]:
    """The preset `small`; on a GPU `reviews` as well, where each look at the device costs more."""
    names = ["quick"] if quick else ["small", *(["reviews"] if jax.default_backend() == "gpu" else [])]
    return [Cell(f"preset `{name}`", config={"preset": name, "rounds": 2 if quick else 7}) for name in names]


def measure(cell: Cell, folder: Path) -> dict[str, Any]:
    """Decodes the same codes both ways, to the last token there is room for."""
    quick = cell.config["preset"] == "quick"
    config = QUICK if quick else preset(cell.config["preset"])
    load = workload(config, folder.parents[1], babble=quick)
    room = config.data.max_sentences * (config.data.max_words + 1)
    entrants = contenders(load, room)
    ours, theirs = (np.asarray(each.run(1)) for each in entrants)
    return {
        "rows": compare(entrants, cell.config["rounds"]), "errors": {"same tokens": float((ours == theirs).mean())},
        "tokens": int((ours != 0).sum()), "room": ours.size,
    }  # fmt: skip


def contenders(load: Workload, room: int) -> list[Any]:
    """Returns our decoder and the textbook's."""
    model = models.build(load.config.model, load.config.data.vocab_size)
    code: Code = ask(model, load.params, "encode")(load.batches[0])
    made = []
    for name, decode in (("ours, in blocks", greedy), ("a look before every token", textbook.greedy)):

        def say(params: Any, code: Code, decode: Any = decode) -> Any:
            return decode(model, params, code, room)

        made.append(contender(name, compile_anew(say, load.params, code), load.params, code))
    return made


TABLE = Benchmark("speed_greedy", cells, measure, render)
