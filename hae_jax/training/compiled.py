"""The compiled programs of a training step, one for each shape of a batch, and what they cost."""

import time
from typing import Any

import jax
from jaxtyping import Array, Key

from hae_jax.batch import AnyBatch
from hae_jax.training.step import StepInfo, TrainState, TrainStep


class CompiledStep:
    """Calls a step, and tells what compiling it took.

    A jitted function compiles in silence, while it is called. Here the first batch of a shape has its program compiled
    before the call, so that it can be timed and asked for its memory; the program is the same.

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
            begun = time.monotonic()
            program = self._programs[shapes] = self._step.lower(state, batch, key).compile()
            self._costs.append((time.monotonic() - begun, reserved_memory(program)))
        return self._programs[shapes](state, batch, key)

    def costs(self) -> dict[str, Any]:
        """Returns, for the journal, what was compiled since the last time; nothing if nothing was.

        Returns:
            `compile_seconds` of tracing and compiling, shorter where a cache on disk knows the program, and `memory` in
            bytes that the largest program reserves on each device; None if the compiler does not say.
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
        ...     reserved_memory(jax.jit(lambda x: x + 1, donate_argnums=given).lower(jnp.zeros(1000)).compile())
        ...     for given in ((), 0)
        ... ]
        [8000, 4000]
    """
    room: Any = program.memory_analysis()
    if room is None:
        return None
    taken = room.argument_size_in_bytes + room.output_size_in_bytes + room.temp_size_in_bytes
    return int(taken - room.alias_size_in_bytes)
