"""Trains the seeds of a cell together, and summarizes each.

Seeds are mapped, not batched: XLA's batched products on a CPU made ten seeds slower than one after the other. Cells
that differ in their initial weights only share one compiled step, as compilation takes as long as a short run.
"""

import dataclasses
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from benchmarks.gradients.tasks import Task
from hae_jax.config import ModelConfig, OptimConfig
from hae_jax.gradients.stability import spikes
from hae_jax.layers.cell import Gates
from hae_jax.training import optim

CHUNK = 50
"""Steps between two checks whether all seeds have succeeded."""
WINDOW = 20
"""Steps over which the loss is averaged before it is compared with the threshold, and at the end."""
GATE_SAMPLES = 32
"""Sequences over which the forget gate is averaged at the end."""


class SeedState(NamedTuple):
    """Training state of one seed."""

    key: Key[Array, ""]
    params: PyTree
    opt_state: PyTree


class Curves(NamedTuple):
    """Measurements of each step.

    Attributes:
        loss: on the step's batch, before the update.
        norm: global gradient norm, before clipping.
        clipped: whether the clip changed the gradient.
        finite: whether loss, gradient and update were finite, and the update was applied.
    """

    loss: Float[Array, "seed step"]
    norm: Float[Array, "seed step"]
    clipped: Bool[Array, "seed step"]
    finite: Bool[Array, "seed step"]


@dataclasses.dataclass(frozen=True)
class MultiSeedRun:
    """Task, length and optimizer of a training run.

    Attributes:
        task: the task.
        steps: maximum number of steps.
        batch: sequences per step.
        optim: clipping, Adam and learning rate.
        stop: whether to stop when all seeds have succeeded.
    """

    task: Task
    steps: int
    batch: int
    optim: OptimConfig
    stop: bool = True


def run(spec: MultiSeedRun, model: ModelConfig, seeds: tuple[int, ...]) -> dict[str, Any]:
    """Trains all seeds and returns one number per seed for each measurement; JSON values.

    A seed determines initial weights, batches and dropout, so cells are paired by seed: all use the same batches.
    """
    states = init_seeds(spec, model, seeds)
    parts: list[Curves] = []
    done = 0
    while done < spec.steps:
        number = min(CHUNK, spec.steps - done)
        states, chunk = _advance(dataclasses.replace(spec, stop=True), structure(model), number)(states, done)
        parts.append(jax.tree.map(np.asarray, chunk))
        done += number
        loss = np.concatenate([part.loss for part in parts], axis=1)
        if spec.stop and all(step is not None for step in success_steps(loss, spec.task.threshold)):
            break
    curves: Curves = jax.tree.map(lambda *pieces: np.concatenate(pieces, axis=1), *parts)
    return summary(curves, spec.task.threshold) | {"forget": forget_gates(spec, model, states)}


def init_seeds(spec: MultiSeedRun, model: ModelConfig, seeds: tuple[int, ...]) -> SeedState:
    """Returns the initial states of all seeds, along a leading axis."""
    module, optimizer = spec.task.model(model), optim.build(spec.optim, spec.steps)
    init = jax.jit(lambda key: module.init(key, spec.task.draw(key, 1).inputs)["params"])
    states = []
    for seed in seeds:
        key = jax.random.key(seed)
        params = init(key)
        states.append(SeedState(key, params, optimizer.init(params)))
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)


def structure(model: ModelConfig) -> ModelConfig:
    """Returns the config without the fields that affect initial weights only: such models share a compiled step."""
    initial = {"initializer", "forget_bias", "timescale", "layer_norm_gain", "recurrent_gain"}
    return ModelConfig(**{f.name: getattr(model, f.name) for f in dataclasses.fields(model) if f.name not in initial})


@lru_cache(maxsize=8)
def _advance(
    spec: MultiSeedRun, model: ModelConfig, steps: int
) -> Callable[[SeedState, int], tuple[SeedState, Curves]]:
    module, optimizer = spec.task.model(model), optim.build(spec.optim, spec.steps)

    def step(state: SeedState, at: Int[Array, ""]) -> tuple[SeedState, tuple[Array, ...]]:
        key, dropout = jax.random.split(jax.random.fold_in(state.key, at))
        sample = spec.task.draw(key, spec.batch)

        def loss(params: PyTree) -> Float[Array, ""]:
            predictions = module.apply({"params": params}, sample.inputs, train=True, rngs={"dropout": dropout})
            return spec.task.loss(predictions, sample.targets)  # type: ignore[arg-type]

        value, gradient = jax.value_and_grad(loss)(state.params)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        norm = optax.tree.norm(gradient)
        finite = jnp.isfinite(value) & jnp.isfinite(norm) & jnp.isfinite(optax.tree.norm(updates))
        updated = state._replace(params=optax.apply_updates(state.params, updates), opt_state=opt_state)
        # As in `hae_jax.training`: a non-finite update is not applied.
        state = jax.tree.map(partial(jnp.where, finite), updated, state)
        return state, (value, norm, opt_state[0].binding & finite, finite)

    def advance(states: SeedState, start: int) -> tuple[SeedState, Curves]:
        at = start + jnp.arange(steps)
        states, curves = jax.lax.map(lambda state: jax.lax.scan(step, state, at), states)
        return states, Curves(*curves)

    return jax.jit(advance)


def forget_gates(spec: MultiSeedRun, model: ModelConfig, states: SeedState) -> list[float | None]:
    """Returns each seed's mean forget gate, over all layers, on a held-out batch."""
    module = spec.task.model(structure(model))
    inputs = spec.task.draw(jax.random.key(2**31), GATE_SAMPLES).inputs

    def mean(params: PyTree) -> Float[Array, ""]:
        _, variables = module.apply({"params": params}, inputs, mutable=["gates"])  # type: ignore[misc]
        gates = [
            leaf.forget
            for leaf in jax.tree.leaves(variables, is_leaf=lambda x: isinstance(x, Gates))
            if isinstance(leaf, Gates)
        ]
        return jnp.stack([gate.mean() for gate in gates]).mean()

    return [rounded(x) for x in jax.jit(partial(jax.lax.map, mean))(states.params)]


def success_steps(loss: Float[np.ndarray, "seed step"], threshold: float) -> list[int | None]:
    """Returns for each seed the first step after which the mean of the last `WINDOW` losses is below the threshold."""
    window = min(WINDOW, loss.shape[1])
    # A large number in place of infinity, which would remain in the cumulative sum.
    total = np.cumsum(np.pad(np.where(np.isfinite(loss), loss, 1e6), ((0, 0), (1, 0))), axis=1, dtype=np.float64)
    below = (total[:, window:] - total[:, :-window]) / window < threshold
    return [int(row.argmax()) + window if row.any() else None for row in below]


def summary(curves: Curves, threshold: float) -> dict[str, Any]:
    """Returns lists of one number per seed, and each seed's loss curve in means over `CHUNK` steps."""
    loss, norm = np.asarray(curves.loss, np.float64), np.asarray(curves.norm, np.float64)
    steps = loss.shape[1]
    # The mean of infinities of both signs is undefined.
    loss = np.where(np.isfinite(loss), loss, np.inf)
    return {
        "steps": steps,
        "arrival": success_steps(loss, threshold),
        "loss": [rounded(x) for x in loss[:, -WINDOW:].mean(axis=1)],
        "norm": [rounded(row[np.isfinite(row)].max(initial=0)) for row in norm],
        "binding": [rounded(x) for x in np.asarray(curves.clipped).mean(axis=1)],
        "spikes": [float(spikes(row).mean()) for row in norm],
        "broken": [int(n) for n in (~np.asarray(curves.finite)).sum(axis=1)],
        "curve": [[rounded(x) for x in loss[:, i : i + CHUNK].mean(axis=1)] for i in range(0, steps, CHUNK)],
    }


def rounded(x: Any) -> float | None:
    """Returns a number with four significant digits, or None if it is not finite, which JSON cannot represent."""
    return float(f"{float(x):.4g}") if np.isfinite(x) else None
