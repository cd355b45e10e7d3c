"""How many steps fit into some minutes: models of different speed get the same time, and whole schedules."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import TypeVar

import jax

TRIED = 12
"""Steps whose median time counts."""
FULL = 0.96
"""Share of the minutes that is planned for, so that a machine's whims do not cut the end of a schedule off."""
T = TypeVar("T")


def planned(minutes: float, state: T, advance: Callable[[T, int], T], path: Path) -> int:
    """Returns how many steps fit into the minutes, compilation left aside.

    The learning rate is a function of the step and should have fallen when the time is over, so a run has to know its
    steps beforehand. What was planned once is kept: a run that goes on must not change its schedule.

    Args:
        minutes: of training.
        state: what the first step starts from; it may be consumed.
        advance: one step, from a state and its number to the next state.
        path: where the plan is kept.
    """
    if not path.is_file():
        times = []
        for at in range(TRIED):
            began = time.monotonic()
            state = jax.block_until_ready(advance(state, at))
            times.append(time.monotonic() - began)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(max(1, int(FULL * 60 * minutes / median(times)))))
    return json.loads(path.read_text())
