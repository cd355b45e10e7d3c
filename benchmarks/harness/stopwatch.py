"""Timing of contenders in alternation, in one process, so that other load affects all of them equally."""

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental.compilation_cache import compilation_cache

from benchmarks.harness.statistics import median_interval
from hae_jax.training.compiled import reserved_memory

MIN_SECONDS = 0.2
"""Shortest duration of a turn; faster functions are called several times."""
PAUSE = 0.02
"""Seconds between turns, in which spinning threads of the previous contender go to sleep."""


class Contender(NamedTuple):
    """A function to be timed.

    Attributes:
        name: its name; the others are compared with the first contender.
        run: makes the given number of calls, and returns the last result when all are finished.
        compile_seconds: of tracing and compilation; None if it is not compiled.
        memory: peak device memory of one call, in bytes; None if unknown.
        words: real tokens per call, for contenders whose calls differ in size; 0 for those of the first contender.
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
        seconds: of tracing and compilation.
        memory: bytes of arguments, results and temporaries, donated ones once; None if the compiler does not report it.
        temporary: bytes of temporaries.
    """

    call: Callable[..., Any]
    seconds: float
    memory: int | None
    temporary: int


def compile_uncached(function: Callable[..., Any], *arguments: Any, donate: tuple[int, ...] = ()) -> Program:
    """Traces and compiles a function without the cache on disk.

    Args:
        function: a function of arrays.
        arguments: example arguments.
        donate: indices of the arguments whose memory may be reused for results.
    """
    before = jax.config.values["jax_enable_compilation_cache"]
    jax.config.update("jax_enable_compilation_cache", False)
    # JAX determines once per process whether it has a cache: reset that.
    compilation_cache.reset_cache()
    try:
        started = time.perf_counter()
        # A new lambda each time: JAX caches traces by function.
        compiled = jax.jit(lambda *x: function(*x), donate_argnums=donate).lower(*arguments).compile()
        seconds = time.perf_counter() - started
    finally:
        jax.config.update("jax_enable_compilation_cache", before)
        compilation_cache.reset_cache()
    analysis: Any = compiled.memory_analysis()
    return Program(compiled, seconds, reserved_memory(compiled), analysis.temp_size_in_bytes)


def contender(name: str, program: Program, *arguments: Any) -> Contender:
    """Returns a contender that calls a compiled function with fixed arguments."""

    def run(calls: int) -> Any:
        for _ in range(calls):
            result = program.call(*arguments)
            synchronize(result)
        return jax.block_until_ready(result)

    return Contender(name, run, program.seconds, program.memory)


def synchronize(result: Any) -> None:
    """Waits for a result on a CPU, where asynchronous calls would run concurrently."""
    if jax.default_backend() == "cpu":
        jax.block_until_ready(result)


def tolerance_factor(dtype: str = "float32") -> int:
    """Returns the factor of tolerances: on a GPU all contenders multiply float32 in TensorFloat-32."""
    return 20 if jax.default_backend() == "gpu" and dtype == "float32" else 1


def relative_difference(results: Sequence[Any], expected: Sequence[Any]) -> float:
    """Returns the largest difference between two lists of arrays, relative to the maximum of each expected array."""
    pairs = zip(results, expected, strict=True)
    return max(float(np.abs(np.asarray(a) - b).max() / np.abs(b).max()) for a, b in pairs)


def check_difference(name: str, difference: float, tolerance: float) -> float:
    """Returns the difference of a contender's result if it is within the tolerance.

    Raises:
        ValueError: if it is not, or is not a number: the contender computes something else.
    """
    if not difference <= tolerance:
        raise ValueError(f"{name} must equal our result, got a difference of {difference:.1e}. Compare them.")
    return difference


def time_alternately(contenders: Sequence[Contender], rounds: int) -> list[list[float]]:
    """Times contenders in alternation; each round starts with another one.

    Args:
        contenders: what to time.
        rounds: number of turns of each.

    Returns:
        For each contender its seconds per call, one number per round.
    """
    calls = []
    for each in contenders:
        each.run(1)
        started = time.perf_counter()
        each.run(1)
        calls.append(max(1, round(MIN_SECONDS / (time.perf_counter() - started))))
    seconds: list[list[float]] = [[] for _ in contenders]
    for first in range(rounds):
        for offset in range(len(contenders)):
            which = (first + offset) % len(contenders)
            time.sleep(PAUSE)
            started = time.perf_counter()
            contenders[which].run(calls[which])
            seconds[which].append((time.perf_counter() - started) / calls[which])
    return seconds


def compare(contenders: Sequence[Contender], rounds: int) -> list[dict[str, Any]]:
    """Times contenders and returns a row for each, JSON values: its time per token relative to the first one.

    The ratio is the median over rounds of the ratios within a round, since adjacent turns share the state of the
    machine; with its 95 % interval.
    """
    times = time_alternately(contenders, rounds)
    first = contenders[0]
    rows = []
    for each, seconds in zip(contenders, times, strict=True):
        scale = 1.0 if not (each.words and first.words) else first.words / each.words
        ratios = [scale * ours / base for ours, base in zip(seconds, times[0], strict=True)]
        rows.append({
            "name": each.name, "ratio": median(ratios), "interval": list(median_interval(ratios)),
            "seconds": median(seconds), "compile_seconds": each.compile_seconds, "memory": each.memory,
        })  # fmt: skip
    return rows
