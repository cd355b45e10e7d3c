"""Gradient curves and gates of whole models, against finite differences in float64."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.documents import DOCUMENTS, batch
from support.model_grid import drawn
from support.oracle_models import Oracle, nats

from hae_jax.config import Config, ModelConfig, OptimConfig
from hae_jax.gradients import flow, update_ratio
from hae_jax.gradients.differentiate import value_grad_and_flow
from hae_jax.gradients.flow import calls_by_layer, gradient_flow
from hae_jax.layers.cell import Gates
from hae_jax.training import optim
from hae_jax.training.step import make_step, named_leaves, start

SIZES = {"embed_dim": 3, "hidden_dim": 2, "sentence_dim": 3, "sentence_loss": 0.0, "vector_loss": 0.0}
CONFIGS = {
    "hierarchical": ModelConfig(**SIZES),
    "word by word, layer norm": ModelConfig(**SIZES, feedback="word", layer_norm="cell", reverse=False),
    "flat": ModelConfig(**SIZES, kind="flat"),
}
WORDS = sum(len(sentence) for document in DOCUMENTS for sentence in document)


class Perturbed(Oracle):
    """The oracle with one hidden state perturbed."""

    def move(self, layer, time, unit, amount):
        """Perturbs a unit of the layer with these weights at step `time` of a pass."""
        self.layer, self.time, self.unit, self.amount, self.steps = layer, time, unit, amount, 0

    def step(self, states, x, stack, context=None):
        new = super().step(states, x, stack, context)
        if stack[0].recurrent is self.layer["recurrent"]:
            if self.steps == self.time:
                cell, hidden = new[0]
                new = [(cell, hidden + self.amount * np.eye(len(hidden))[self.unit])]
            self.steps += 1
        return new

    def loss(self, document):
        """Returns the nats of a document divided by the number of all words."""
        # The sentence vectors are computed once; the parent computes them wherever it needs them.
        vectors = self.sentence_vectors(document) if self.config.kind == "hierarchical" else None
        if vectors is not None:
            self.sentence_vectors = lambda _: vectors
        rows = self.decode(*self.encode(document), document)
        if vectors is not None:
            del self.sentence_vectors
        return sum(map(sum, nats(rows, document))) / WORDS


@cache
def seen(name):
    """Returns the gradient flow of a model, the calls it is computed from, and the parameters."""
    config = CONFIGS[name]
    model, params = drawn(config)
    run = jax.jit(lambda p: value_grad_and_flow(model, config, p, batch(), jax.random.key(0))[1])
    flow = run(params)
    return gradient_flow(flow), calls_by_layer(flow), params


def steps_of(path, config, document):
    """How often each row of a layer advances, in the order of the oracle's passes."""
    if config.kind == "flat":
        return [sum(map(len, document)) + ("decoder" in path)]
    if "sentence" in path:
        return [len(document)]
    return [len(sentence) + ("decoder" in path) for sentence in document]


@pytest.mark.parametrize("name", CONFIGS)
def test_curves_equal_finite_differences(name):
    config = CONFIGS[name]
    levels = seen(name)[0].levels
    wide = jax.tree.map(lambda x: np.asarray(x, np.float64), seen(name)[2])
    assert len(levels) == (2 if config.kind == "flat" else 4)
    for path, level in levels.items():
        layer = wide
        for part in path.split("/"):
            layer = layer[part]
        oracle = Perturbed(config, wide)
        units = len(layer["recurrent"])
        squares, firsts = {}, []
        for document in DOCUMENTS:
            time = 0
            for steps in steps_of(path, config, document):
                energies = []
                for _ in range(steps):
                    slopes = []
                    for unit in range(units):
                        ends = []
                        for amount in (1e-5, -1e-5):
                            oracle.move(layer, time, unit, amount)
                            ends.append(oracle.loss(document))
                        slopes.append((ends[0] - ends[1]) / 2e-5)
                    energies.append(sum(slope**2 for slope in slopes))
                    time += 1
                # The oracle reads the last mark, too; the models do so with feedback "word" alone.
                if "decoder" in path and "sentence" not in path and config.feedback != "word":
                    energies = energies[:-1]
                firsts.append(energies[0])
                for before, energy in enumerate(reversed(energies)):
                    squares.setdefault(before, []).append(energy)
        curve = [np.sqrt(np.mean(squares[before])) for before in sorted(squares)]
        np.testing.assert_allclose(np.asarray(level.curve)[: len(curve)], curve, rtol=3e-4, atol=1e-7, err_msg=path)
        assert np.asarray(level.rows)[: len(curve)].tolist() == [len(squares[before]) for before in sorted(squares)]
        assert not np.asarray(level.rows)[len(curve) :].any()
        np.testing.assert_allclose(level.first, np.sqrt(np.mean(firsts)), rtol=3e-4)


@pytest.mark.parametrize("name", CONFIGS)
def test_gates_are_averaged_over_real_steps_alone(name):
    measured, parts, _ = seen(name)
    for path, level in measured.levels.items():
        forget, values = [], []
        for part in parts[path]:
            mask = np.asarray(part.mask)
            forget.append(np.asarray(part.gates.forget)[mask])
            values += [np.asarray(gate)[mask] for gate in (part.gates.input, part.gates.forget, part.gates.output)]
        mean = np.concatenate(forget).mean()
        values = np.concatenate(values)
        np.testing.assert_allclose(level.forget, mean, rtol=1e-5)
        np.testing.assert_allclose(level.timescale, -1 / np.log(mean), rtol=1e-4)
        np.testing.assert_allclose(level.saturated, ((values < 0.05) | (values > 0.95)).mean(), atol=1e-6)


def test_a_sample_of_large_gates_holds_all_rows_and_steps(monkeypatch):
    rows, time, units = 32, 16, 8
    monkeypatch.setattr(flow, "SAMPLE_SIZE", rows * time * units // 16)
    mask = jnp.ones((rows, time), bool).at[:, 12:].set(False).at[0].set(False)
    row, step, _ = np.indices((rows, time, units))
    # Neighboring rows, early and late steps differ, and padding differs from all of them.
    forget = jnp.where(mask[..., None], 0.3 + 0.3 * (row % 2) + 0.2 * (step >= 6), 0.99)
    gates = Gates(*(forget,) * len(Gates._fields))
    mean, saturated = flow.gate_statistics([flow.LayerCall(forget, mask, gates)])
    np.testing.assert_allclose(mean, forget[mask].mean(), atol=0.03)
    assert saturated == 0


def test_crossings_follow_the_gradient_from_words_to_words():
    measured, parts, _ = seen("hierarchical")
    norms = {path: np.linalg.norm(np.asarray(p[0].gradient), axis=-1) for path, p in parts.items()}
    masks = {path: np.asarray(p[0].mask) for path, p in parts.items()}
    upper = norms["encoder/sentence/layer_0"][masks["encoder/sentence/layer_0"]]
    # In reverse order the last valid step is last.
    lasts = [np.asarray(p.gradient)[np.asarray(p.mask).any(-1), -1] for p in parts["encoder/word/layer_0"]]
    handed = np.concatenate([np.linalg.norm(last, axis=-1) for last in lasts])
    expected = np.sqrt(np.mean(handed**2) / np.mean(upper**2))
    assert list(measured.crossings)[-1] == "encoder/sentence -> encoder/word"
    np.testing.assert_allclose(measured.crossings["encoder/sentence -> encoder/word"], expected, rtol=1e-4)
    code = np.linalg.norm(np.asarray(parts["encoder/sentence/layer_0"][0].gradient)[: len(DOCUMENTS), -1], axis=-1)
    firsts = norms["sentence_decoder/recurrent/layer_0"][: len(DOCUMENTS), 0]
    expected = np.sqrt(np.mean(code**2) / np.mean(firsts**2))
    np.testing.assert_allclose(measured.crossings["sentence_decoder -> encoder/sentence"], expected, rtol=1e-4)
    assert list(seen("flat")[0].crossings) == ["decoder -> encoder"]


@pytest.mark.parametrize("name", CONFIGS)
def test_spare_rows_change_nothing(name):
    config = CONFIGS[name]
    model, params = drawn(config)
    roomy = batch(widths=(4, 11), spare_rows=3, spare_docs=2, spare_sents=2)
    run = jax.jit(lambda p: value_grad_and_flow(model, config, p, roomy, jax.random.key(0))[1])
    other = gradient_flow(run(params))
    for path, level in seen(name)[0].levels.items():
        same = other.levels[path]
        there = np.asarray(level.rows) > 0
        np.testing.assert_allclose(
            np.asarray(same.curve)[: len(there)][there], np.asarray(level.curve)[there], rtol=3e-3
        )
        np.testing.assert_allclose(same.slope, level.slope, rtol=3e-3, atol=1e-4)
        np.testing.assert_allclose(same.forget, level.forget, rtol=1e-5)


def test_statistics_do_not_change_the_step():
    config = Config(ModelConfig(embed_dim=5, hidden_dim=3, sentence_dim=7, layers=2))
    model, params = drawn(config.model)
    optimizer = optim.build(OptimConfig(), 10)
    results = []
    for statistics in (None, gradient_flow):
        step = make_step(model, optimizer, config, statistics=statistics)
        # The state is donated: each step needs its own.
        results.append(step(start(jax.tree.map(jnp.array, params), optimizer), batch(), jax.random.key(1)))
    (bare, plain), (measured, info) = results
    assert plain.statistics is None
    np.testing.assert_allclose(info.loss, plain.loss, rtol=1e-6)
    for one, other in zip(jax.tree.leaves(bare.params), jax.tree.leaves(measured.params), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    assert len(info.statistics.levels) == 8
    assert all(np.isfinite(value) for value in info.statistics.crossings.values())
    moved = named_leaves(
        jax.tree.map(lambda new, old: np.linalg.norm(new - old) / np.linalg.norm(old), measured.params, params)
    )
    for path, value in info.statistics.updates.items():
        np.testing.assert_allclose(value, moved[path], rtol=1e-3)
    assert {path for path, leaf in named_leaves(params).items() if leaf.ndim > 1} == set(info.statistics.updates)


def test_large_kernels_are_judged_by_numbers_from_all_their_rows_and_columns(monkeypatch):
    monkeypatch.setattr(update_ratio, "SAMPLE_SIZE", 200)
    shape = (64, 128)
    rows, columns = jnp.indices(shape, dtype=jnp.float32)
    params = {"bias": jnp.ones(7), "kernel": rows, "recurrent": columns, "small": jnp.eye(3)}
    found = np.asarray(update_ratio.sample_kernels(params))
    assert found.shape == (3, 200)
    taken = np.count_nonzero(found[0] + found[1]) + 1
    assert taken > 100
    for indices, size in zip(found, shape, strict=False):
        visited, often = np.unique(indices[:taken] // (size // 8), return_counts=True)
        assert len(visited) == 8, "every eighth"
        assert often.max() < 1.5 * often.min()
    assert np.count_nonzero(found[2]) == 3
