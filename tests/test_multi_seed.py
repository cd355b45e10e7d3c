"""Training of many seeds against a reference that trains one seed in a plain loop."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks.gradients import clipping, dropout, trainability
from benchmarks.gradients.multi_seed import MultiSeedRun, forget_gates, init_seeds, run, success_steps
from benchmarks.gradients.schemes import config
from benchmarks.gradients.tasks import TASKS, recall
from hae_jax.config import ModelConfig, OptimConfig

TINY = recall(3, 5)
MODEL = ModelConfig(embed_dim=7, hidden_dim=11, sentence_dim=13)
RATE = OptimConfig(learning_rate=1e-2, warmup=1, final=1.0, clip="none")


def reference_losses(spec, model, seed):
    """Losses of one seed, step by step, with Optax's own Adam."""
    module, key = spec.task.model(model), jax.random.key(seed)
    params = module.init(key, spec.task.draw(key, 1).inputs)["params"]
    adam = optax.adam(spec.optim.learning_rate)
    state, losses = adam.init(params), []

    @jax.jit
    def differentiate(params, sample):
        def loss(params):
            return spec.task.loss(module.apply({"params": params}, sample.inputs), sample.targets)

        return jax.value_and_grad(loss)(params)

    for at in range(spec.steps):
        sample = spec.task.draw(jax.random.split(jax.random.fold_in(key, at))[0], spec.batch)
        value, gradient = differentiate(params, sample)
        updates, state = adam.update(gradient, state)
        params = optax.apply_updates(params, updates)
        losses.append(float(value))
    return losses


def test_every_seed_gives_the_losses_of_a_separate_run():
    spec = MultiSeedRun(TINY, 7, 5, RATE)
    numbers = run(spec, MODEL, (3, 8))
    for seed, loss in zip((3, 8), numbers["loss"], strict=True):
        assert loss == pytest.approx(np.mean(reference_losses(spec, MODEL, seed)), rel=1e-3)


def test_initial_weights_are_those_of_the_scheme_although_steps_are_shared():
    spec = MultiSeedRun(TINY, 3, 5, RATE)
    low, high = (run(spec, dataclasses.replace(MODEL, forget_bias=bias), (0,))["forget"][0] for bias in (-3.0, 3.0))
    assert low < 0.1
    assert high > 0.9


def test_batches_are_paired_by_seed_and_seeds_differ():
    spec = MultiSeedRun(TINY, 3, 5, RATE)
    first, again, other = (run(spec, MODEL, (seed,)) for seed in (2, 2, 3))
    assert first == again
    assert first["loss"] != other["loss"]


def test_a_non_finite_update_is_counted_and_not_applied():
    spec = MultiSeedRun(TINY, 5, 2, RATE)
    broken = spec.task._replace(loss=lambda logits, targets: jnp.inf * logits.sum())
    numbers = run(dataclasses.replace(spec, task=broken), MODEL, (0, 1))
    assert numbers["broken"] == [5, 5]
    assert numbers["loss"] == [None, None]
    assert numbers["forget"] == forget_gates(spec, MODEL, init_seeds(spec, MODEL, (0, 1))), (
        "the weights are the initial ones"
    )
    assert numbers["forget"] != run(spec, MODEL, (0, 1))["forget"]


def test_training_stops_when_all_seeds_have_succeeded_and_only_then():
    easy = TINY._replace(threshold=100.0)
    assert run(MultiSeedRun(easy, 100, 2, RATE), MODEL, (0,))["steps"] == 50
    assert run(MultiSeedRun(easy, 100, 2, RATE, stop=False), MODEL, (0,))["steps"] == 100
    assert run(MultiSeedRun(TINY._replace(threshold=0.0), 100, 2, RATE), MODEL, (0,))["arrival"] == [None]


def test_success_is_the_first_step_whose_window_is_below_the_threshold():
    loss = np.concatenate([np.full(40, 3.0), np.full(40, 1.0)])[None]
    (at,) = success_steps(loss, 2.0)
    # Eleven of twenty losses are low: mean 1.9.
    assert at == 51
    assert success_steps(np.where(np.arange(80) == 60, np.nan, 3.0)[None], 2.0) == [None]
    # A non-finite loss does not affect later windows.
    assert success_steps(np.where(np.arange(80) == 10, np.inf, loss), 2.0) == [at]


@pytest.mark.parametrize("module", [trainability, clipping, dropout])
def test_cells_have_unique_names_and_ten_seeds(module):
    cells = module.TABLE.cells(False)
    assert len({cell.name for cell in cells}) == len(cells)
    assert {cell.seeds for cell in cells} == {tuple(range(10))}


def numbers_of(seeds):
    """The numbers of a cell, one per seed."""
    return {
        name: [value] * seeds
        for name, value in {
            "arrival": 50, "loss": 1.5, "norm": 0.5, "binding": 0.25, "spikes": 0.01, "broken": 0, "forget": 0.7,
            "gap": 0.6,
        }.items()
    }  # fmt: skip


@pytest.mark.parametrize("module", [trainability, clipping, dropout])
def test_table_rows_are_as_wide_as_their_headings(module):
    cells = module.TABLE.cells(False)
    records = [{"cell": c.name, "config": c.config, "numbers": numbers_of(len(c.seeds))} for c in cells]
    lines = module.TABLE.render(records).splitlines()
    widths = {line.count("|") for line in lines if line.startswith("|")}
    assert len(widths) == (2 if module is trainability else 1)
    assert sum(line.startswith("| orthogonal, forget bias 2 |") for line in lines) > 3


def test_the_recipes_of_the_keras_examples_are_among_the_cells():
    names = [cell.name for cell in trainability.TABLE.cells(False)]
    for norm in ("cell", "output"):
        for scheme in ("glorot, no bias", "glorot, forget bias 1"):
            assert f"recall of 8 x 16 | {scheme} | {norm}" in names
    assert config(TASKS["recall of 8 x 16"], "glorot, no bias", "cell", 5).layer_norm_gain == 1
