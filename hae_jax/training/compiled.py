"""The compiled programs of a training step, one for each shape of batches, and their cost."""

import time
from typing import Any

import jax
from jaxtyping import Array, Key

from hae_jax.batch import AnyBatch
from hae_jax.training.step import StepInfo, TrainState, TrainStep


class CompiledStep:
    """Calls a training step, and measures the time and memory of its compilation.

    A jitted function compiles within its first call. Here the program of each new shape is compiled ahead of the call,
    so that compilation can be timed and the memory of the program is known; the program is the same.

    Args:
        step: what `make_step` returns.
    """

    def __init__(self, step: TrainStep) -> None:
        self._step = step
        self._programs: dict[tuple[tuple[int, ...], ...], jax.stages.Compiled] = {}
        self._costs: list[tuple[float, int | None]] = []

    def __call__(self, state: TrainState, batch: AnyBatch, key: Key[Array, ""]) -> tuple[TrainState, StepInfo]:
        """Makes a step."""
        shapes = tuple(leaf.shape for leaf in jax.tree.leaves(batch))
        if shapes not in self._programs:
            start = time.monotonic()
            program = self._programs[shapes] = self._step.lower(state, batch, key).compile()
            self._costs.append((time.monotonic() - start, reserved_memory(program)))
        return self._programs[shapes](state, batch, key)

    def costs(self) -> dict[str, Any]:
        """Returns the cost of all compilations since the last call; empty if there were none.

        Returns:
            `compile_seconds` of tracing and compilation, lower where the program is in a cache on disk; and `memory`,
            the bytes that the largest program reserves on each device, None if the compiler does not report it.
        """
        if not self._costs:
            return {}
        seconds, memory = zip(*self._costs, strict=True)
        self._costs = []
        return {"compile_seconds": sum(seconds), "memory": max(filter(None, memory), default=None)}


def reserved_memory(program: jax.stages.Compiled) -> int | None:
    """Returns the bytes of a program's arguments, results and temporaries, donated ones once; None if unknown.

    Example:
        >>> import jax.numpy as jnp
        >>> [
        ...     reserved_memory(jax.jit(lambda x: x + 1, donate_argnums=donated).lower(jnp.zeros(1000)).compile())
        ...     for donated in ((), 0)
        ... ]
        [8000, 4000]
    """
    memory: Any = program.memory_analysis()
    if memory is None:
        return None
    total = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
    return int(total - memory.alias_size_in_bytes)
