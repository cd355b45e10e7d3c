"""Contenders take turns in one process, so that whatever else the machine does falls on all of them."""

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental.compilation_cache import compilation_cache

from benchmarks.harness.statistics import median_interval
from hae_jax.training.compiled import reserved_memory

TURN = 0.2
"""Seconds of a turn; what is quicker is called several times."""
PAUSE = 0.02
"""Seconds between turns: threads of the last contender that spin in wait for work fall asleep."""


class Contender(NamedTuple):
    """Who runs.

    Attributes:
        name: who it is; the first one of a race is what the others are compared with.
        run: makes so many calls, and returns the last result when all are done.
        compile_seconds: of tracing and compiling; None for what is not compiled.
        memory: peak of the device memory of one call, in bytes; None where nobody counts it.
        words: real words of a call, for contenders whose calls differ in size; the first one's if 0.
    """

    name: str
    run: Callable[[int], Any]
    compile_seconds: float | None = None
    memory: int | None = None
    words: float = 0


class Program(NamedTuple):
    """A compiled function.

    Attributes:
        call: the function.
        seconds: of tracing and compiling it.
        memory: bytes of arguments, results and temporaries, donated ones once; None if the compiler does not say.
        temporary: bytes of what is neither argument nor result.
    """

    call: Callable[..., Any]
    seconds: float
    memory: int | None
    temporary: int


def compile_anew(function: Callable[..., Any], *arguments: Any, donate: tuple[int, ...] = ()) -> Program:
    """Traces and compiles a function, past the cache on disk.

    Args:
        function: of arrays.
        arguments: examples of them.
        donate: numbers of the arguments whose memory the results may take over.
    """
    before = jax.config.values["jax_enable_compilation_cache"]
    jax.config.update("jax_enable_compilation_cache", False)
    # Whether there is a cache is asked once a process; it has to be asked again.
    compilation_cache.reset_cache()
    try:
        begun = time.perf_counter()
        # A lambda of its own each time: what was traced before is remembered by the function.
        compiled = jax.jit(lambda *x: function(*x), donate_argnums=donate).lower(*arguments).compile()
        seconds = time.perf_counter() - begun
    finally:
        jax.config.update("jax_enable_compilation_cache", before)
        compilation_cache.reset_cache()
    room: Any = compiled.memory_analysis()
    return Program(compiled, seconds, reserved_memory(compiled), room.temp_size_in_bytes)


def contender(name: str, program: Program, *arguments: Any) -> Contender:
    """Returns a compiled function, called with the same arguments over and over, as a contender."""

    def run(calls: int) -> Any:
        for _ in range(calls):
            result = program.call(*arguments)
            settle(result)
        return jax.block_until_ready(result)

    return Contender(name, run, program.seconds, program.memory)


def settle(result: Any) -> None:
    """Waits for a result on a CPU, where calls that do not wait for each other would run at the same time."""
    if jax.default_backend() == "cpu":
        jax.block_until_ready(result)


def slack(dtype: str = "float32") -> int:
    """Returns how many times as far answers may differ: on a GPU float32 is multiplied in TensorFloat-32 by all."""
    return 20 if jax.default_backend() == "gpu" and dtype == "float32" else 1


def difference(found: Sequence[Any], expected: Sequence[Any]) -> float:
    """Returns the largest difference between two answers, as a share of the largest number of each array."""
    pairs = zip(found, expected, strict=True)
    return max(float(np.abs(np.asarray(a) - b).max() / np.abs(b).max()) for a, b in pairs)


def admit(name: str, off: float, tolerance: float) -> float:
    """Returns how far a contender's answer is off, if that is near enough: who does other work is no peer.

    Raises:
        ValueError: if it is not, or nobody knows how far.
    """
    if not off <= tolerance:
        raise ValueError(f"{name} must find what ours finds, got a difference of {off:.1e}. Compare.")
    return off


def race(contenders: Sequence[Contender], rounds: int) -> list[list[float]]:
    """Lets contenders take turns, each round beginning with another one.

    Args:
        contenders: who runs.
        rounds: turns of each.

    Returns:
        For each contender its seconds a call, one number a round.
    """
    calls = []
    for each in contenders:
        each.run(1)
        begun = time.perf_counter()
        each.run(1)
        calls.append(max(1, round(TURN / (time.perf_counter() - begun))))
    seconds: list[list[float]] = [[] for _ in contenders]
    for number in range(rounds):
        for place in range(len(contenders)):
            which = (number + place) % len(contenders)
            time.sleep(PAUSE)
            begun = time.perf_counter()
            contenders[which].run(calls[which])
            seconds[which].append((time.perf_counter() - begun) / calls[which])
    return seconds


def compare(contenders: Sequence[Contender], rounds: int) -> list[dict[str, Any]]:
    """Races contenders and returns a row for each, JSON values: its time a word over that of the first one.

    The ratio is the median over rounds, since neighbours in time have the machine in common; with its 95 % interval.
    """
    times = race(contenders, rounds)
    first = contenders[0]
    rows = []
    for each, own in zip(contenders, times, strict=True):
        share = 1.0 if not (each.words and first.words) else first.words / each.words
        ratios = [share * mine / theirs for mine, theirs in zip(own, times[0], strict=True)]
        rows.append({
            "name": each.name, "ratio": median(ratios), "interval": list(median_interval(ratios)),
            "seconds": median(own), "compile_seconds": each.compile_seconds, "memory": each.memory,
        })  # fmt: skip
    return rows
