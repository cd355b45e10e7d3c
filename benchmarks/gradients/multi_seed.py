"""Trains the seeds of a cell side by side, and sums up how each of them fared.

Seeds are mapped, not batched: XLA's batched products on a CPU made ten seeds slower than one after the other. What
differs between cells only in fresh weights shares one compiled step, as compiling takes as long as a short run.
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
"""Steps between two looks at whether all seeds have arrived."""
WINDOW = 20
"""Steps over which a loss is averaged before it is held against the threshold, and at the end."""
WATCHED = 32
"""Sequences over which the forget gate is averaged at the end."""


class SeedState(NamedTuple):
    """A seed on its way."""

    key: Key[Array, ""]
    params: PyTree
    opt_state: PyTree


class Curves(NamedTuple):
    """What was seen at each step.

    Attributes:
        loss: on the step's batch, before the step.
        norm: of the whole gradient, before the clip.
        binding: whether the clip changed the gradient.
        finite: whether loss, gradient and update were finite, and the step was taken.
    """

    loss: Float[Array, "seed step"]
    norm: Float[Array, "seed step"]
    binding: Bool[Array, "seed step"]
    finite: Bool[Array, "seed step"]


@dataclasses.dataclass(frozen=True)
class MultiSeedRun:
    """How long and on what the seeds are trained.

    Attributes:
        task: what they learn.
        steps: steps at most.
        batch: sequences a step.
        optim: clip, Adam and learning rate.
        stop: whether to stop once all seeds have arrived under the threshold.
    """

    task: Task
    steps: int
    batch: int
    optim: OptimConfig
    stop: bool = True


def run(race: MultiSeedRun, model: ModelConfig, seeds: tuple[int, ...]) -> dict[str, Any]:
    """Trains all seeds and returns one number a seed of everything; JSON values.

    A seed decides about fresh weights, batches and dropout, so that cells are paired by seed: all see the same batches.
    """
    runners = begin(race, model, seeds)
    parts: list[Curves] = []
    done = 0
    while done < race.steps:
        number = min(CHUNK, race.steps - done)
        runners, seen = _advance(dataclasses.replace(race, stop=True), structure(model), number)(runners, done)
        parts.append(jax.tree.map(np.asarray, seen))
        done += number
        loss = np.concatenate([part.loss for part in parts], axis=1)
        if race.stop and all(at is not None for at in arrivals(loss, race.task.threshold)):
            break
    curves: Curves = jax.tree.map(lambda *pieces: np.concatenate(pieces, axis=1), *parts)
    return summary(curves, race.task.threshold) | {"forget": forget_gates(race, model, runners)}


def begin(race: MultiSeedRun, model: ModelConfig, seeds: tuple[int, ...]) -> SeedState:
    """Returns fresh runners, one a seed."""
    module, optimizer = race.task.model(model), optim.build(race.optim, race.steps)
    init = jax.jit(lambda key: module.init(key, race.task.draw(key, 1).inputs)["params"])
    runners = []
    for seed in seeds:
        key = jax.random.key(seed)
        params = init(key)
        runners.append(SeedState(key, params, optimizer.init(params)))
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *runners)


def structure(model: ModelConfig) -> ModelConfig:
    """Forgets what decides about fresh weights only: models of one structure share their compiled steps."""
    fresh = {"initializer", "forget_bias", "timescale", "layer_norm_gain", "recurrent_gain"}
    return ModelConfig(**{f.name: getattr(model, f.name) for f in dataclasses.fields(model) if f.name not in fresh})


@lru_cache(maxsize=8)
def _advance(
    race: MultiSeedRun, model: ModelConfig, steps: int
) -> Callable[[SeedState, int], tuple[SeedState, Curves]]:
    module, optimizer = race.task.model(model), optim.build(race.optim, race.steps)

    def step(runner: SeedState, at: Int[Array, ""]) -> tuple[SeedState, tuple[Array, ...]]:
        key, dropout = jax.random.split(jax.random.fold_in(runner.key, at))
        sample = race.task.draw(key, race.batch)

        def loss(params: PyTree) -> Float[Array, ""]:
            said = module.apply({"params": params}, sample.inputs, train=True, rngs={"dropout": dropout})
            return race.task.loss(said, sample.targets)  # type: ignore[arg-type]

        value, gradient = jax.value_and_grad(loss)(runner.params)
        updates, opt_state = optimizer.update(gradient, runner.opt_state, runner.params)
        norm = optax.tree.norm(gradient)
        finite = jnp.isfinite(value) & jnp.isfinite(norm) & jnp.isfinite(optax.tree.norm(updates))
        taken = runner._replace(params=optax.apply_updates(runner.params, updates), opt_state=opt_state)
        # As in training proper: a step that is not finite is not taken.
        runner = jax.tree.map(partial(jnp.where, finite), taken, runner)
        return runner, (value, norm, opt_state[0].binding & finite, finite)

    def advance(runners: SeedState, start: int) -> tuple[SeedState, Curves]:
        at = start + jnp.arange(steps)
        runners, seen = jax.lax.map(lambda runner: jax.lax.scan(step, runner, at), runners)
        return runners, Curves(*seen)

    return jax.jit(advance)


def forget_gates(race: MultiSeedRun, model: ModelConfig, runners: SeedState) -> list[float | None]:
    """Returns each seed's mean forget gate, over all layers, on a batch that no seed has seen."""
    module = race.task.model(structure(model))
    inputs = race.task.draw(jax.random.key(2**31), WATCHED).inputs

    def mean(params: PyTree) -> Float[Array, ""]:
        _, seen = module.apply({"params": params}, inputs, mutable=["gates"])  # type: ignore[misc]
        gates = [
            leaf.forget
            for leaf in jax.tree.leaves(seen, is_leaf=lambda x: isinstance(x, Gates))
            if isinstance(leaf, Gates)
        ]
        return jnp.stack([gate.mean() for gate in gates]).mean()

    return [number(x) for x in jax.jit(partial(jax.lax.map, mean))(runners.params)]


def arrivals(loss: Float[np.ndarray, "seed step"], threshold: float) -> list[int | None]:
    """Returns for each seed the first step after which the mean of the last `WINDOW` losses is under the threshold."""
    window = min(WINDOW, loss.shape[1])
    # A large number is as good as infinity, but that it leaves the windows after it alone.
    total = np.cumsum(np.pad(np.where(np.isfinite(loss), loss, 1e6), ((0, 0), (1, 0))), axis=1, dtype=np.float64)
    under = (total[:, window:] - total[:, :-window]) / window < threshold
    return [int(row.argmax()) + window if row.any() else None for row in under]


def summary(curves: Curves, threshold: float) -> dict[str, Any]:
    """Returns lists of one number a seed, and the median curve of the loss, every `CHUNK` steps."""
    loss, norm = np.asarray(curves.loss, np.float64), np.asarray(curves.norm, np.float64)
    steps = loss.shape[1]
    # Infinities of both signs have no mean.
    loss = np.where(np.isfinite(loss), loss, np.inf)
    return {
        "steps": steps,
        "arrival": arrivals(loss, threshold),
        "loss": [number(x) for x in loss[:, -WINDOW:].mean(axis=1)],
        "norm": [number(row[np.isfinite(row)].max(initial=0)) for row in norm],
        "binding": [number(x) for x in np.asarray(curves.binding).mean(axis=1)],
        "spikes": [float(spikes(row).mean()) for row in norm],
        "broken": [int(n) for n in (~np.asarray(curves.finite)).sum(axis=1)],
        "curve": [[number(x) for x in loss[:, i : i + CHUNK].mean(axis=1)] for i in range(0, steps, CHUNK)],
    }


def number(x: Any) -> float | None:
    """Four digits are enough; JSON has no infinity."""
    return float(f"{float(x):.4g}") if np.isfinite(x) else None
