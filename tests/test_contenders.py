"""Everybody who races finds the same first, of every kind that a GPU's races have; who does not may not run."""

import dataclasses
import importlib.util
from unittest.mock import patch

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import rnn

from benchmarks.harness import stopwatch
from benchmarks.harness.stopwatch import Contender
from benchmarks.speed import greedy, layer, loss, step, table
from benchmarks.speed.peers import layers, textbook
from hae_jax.layers import losses

torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch comes with hae_jax[peers]")


def of_a_gpu(table, quick):
    """The cells that a table has on a GPU."""
    with patch.object(jax, "default_backend", lambda: "gpu"):
        return table.cells(quick)


LAYERS, STEPS = (of_a_gpu(module, True) for module in (layer, step))


@pytest.fixture
def hasty(monkeypatch):
    """Turns of a moment: who wins is nobody's question here."""
    monkeypatch.setattr(stopwatch, "TURN", 1e-3)


def test_a_quick_race_has_every_kind_of_entrant_that_a_gpu_has():
    def kinds(cells):
        return {(cell.config["dtype"], *cell.config["peers"]) for cell in cells}

    assert {name for cell in LAYERS for name in cell.config["peers"]} == set(layer.PEERS)
    assert kinds(LAYERS) == kinds(of_a_gpu(layer, False))
    assert len(kinds(LAYERS)) == len({cell.name for cell in LAYERS}) == len(LAYERS)
    large = [cell.config["model"]["dtype"] for cell in of_a_gpu(step, False)]
    assert [cell.config["model"]["dtype"] for cell in STEPS] == large == ["float32", "bfloat16"]


@pytest.mark.usefixtures("hasty")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("cell", LAYERS, ids=lambda cell: cell.config["dtype"])
def test_everybodys_layer_finds_the_same(cell, tmp_path):
    numbers = layer.measure(cell, tmp_path)
    # Ours, those who are there, and the products alone; that their answers are equal is asked before the race.
    assert len(numbers["rows"]) == 2 + len(cell.config["peers"]) - len(numbers["skipped"])
    assert ("cudnn" in numbers["skipped"]) == ("cudnn" in cell.config["peers"] and jax.default_backend() != "gpu")
    if cell.config["dtype"] == "float32":
        assert all(error < 1e-5 for error in numbers["errors"].values())


def test_cudnn_finds_the_weights_where_it_looks_for_them():
    case = layers.draw(2, 3, 5, 7)
    kernel, recurrent, bias, rest = rnn.unpack_lstm_weights(jnp.asarray(layers.packed(case)), 5, 7, 1, False)
    for found, expected in zip((kernel, recurrent, bias), case[1:4], strict=True):
        np.testing.assert_array_equal(found[0], expected.T)
    assert not rest[0].any()
    for found, expected in zip(layers.unpacked(layers.packed(case), 5, 7), case[1:4], strict=True):
        np.testing.assert_array_equal(found, expected)


@torch
@pytest.mark.filterwarnings("ignore")
def test_a_layer_that_finds_something_else_may_not_run(monkeypatch, tmp_path):
    def other(case, dtype):
        return layers.torch(case._replace(bias=case.bias + 1e-2), dtype)

    monkeypatch.setitem(layer.PEERS, "torch", ("torch", other))
    (cell,) = layer.cells(True)
    cell = dataclasses.replace(cell, config={**cell.config, "peers": ["torch"]})
    with pytest.raises(ValueError, match=r"PyTorch nn\.LSTM must find what ours finds, got a difference of"):
        layer.measure(cell, tmp_path)


def test_a_loss_that_finds_something_else_may_not_run(monkeypatch, tmp_path):
    def other(hidden, kernel, bias, targets, mask):
        return losses.cross_entropy(1.001 * hidden, kernel, bias, targets, mask)

    monkeypatch.setattr(textbook, "cross_entropy", other)
    (cell,) = loss.cells(True)
    with pytest.raises(ValueError, match=r"Optax, all logits must find what ours finds, got a difference of"):
        loss.measure(cell, tmp_path)


@pytest.mark.parametrize(("odd", "runs"), [(1, True), (2, False)])
def test_a_decoder_that_says_something_else_may_not_run(monkeypatch, tmp_path, odd, runs):
    """One token of twenty may differ, two may not."""
    said = np.arange(20).reshape(4, 5)
    monkeypatch.setattr(greedy, "trained", lambda load, steps: load.params)
    monkeypatch.setattr(greedy, "compare", lambda entrants, rounds: [each.name for each in entrants])
    entrants = [
        Contender("ours", lambda calls: said),
        Contender("other", lambda calls: np.where(said < odd, -1, said)),
    ]
    monkeypatch.setattr(greedy, "contenders", lambda load, room: entrants)
    (cell,) = greedy.cells(True)
    if runs:
        numbers = greedy.measure(cell, tmp_path / "cell")
        assert (numbers["rows"], numbers["errors"]) == (["ours", "other"], {"same tokens": 0.95})
    else:
        with pytest.raises(ValueError, match=r"other must find what ours finds, got a difference of 1\.0e-01"):
            greedy.measure(cell, tmp_path / "cell")


def test_an_answer_of_nothing_is_not_near():
    with pytest.raises(ValueError, match="got a difference of nan"):
        stopwatch.admit("other", stopwatch.difference([np.array([np.nan, 1.0])], [np.ones(2)]), 1e9)


def test_who_is_not_installed_is_left_out_aloud(monkeypatch, tmp_path):
    monkeypatch.setitem(layer.PEERS, "flax", ("no_such_package", layers.flax))
    (cell,) = layer.cells(True)
    cell = dataclasses.replace(cell, config={**cell.config, "peers": ["flax"]})
    numbers = layer.measure(cell, tmp_path)
    record = {"cell": cell.name, "numbers": numbers, "device": {"platform": "cpu"}}
    assert numbers["skipped"] == ["flax"]
    assert table.render([record]).endswith("Not installed for this device, hence left out: flax.")


@torch
@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("cell", STEPS, ids=lambda cell: cell.config["model"]["dtype"])
def test_twins_lose_the_same_and_learn_the_same(cell, tmp_path):
    numbers = step.measure(cell, tmp_path / "cell")
    # Three steps with updates between them: clip, Adam and the sentence level's own rate are compared, too.
    assert set(numbers["errors"]) == {"PyTorch, padded", "PyTorch, packed sequences"}
    assert all(len(errors) == 3 for errors in numbers["errors"].values())
    if cell.config["model"]["dtype"] == "float32":
        assert all(max(errors) < 1e-5 for errors in numbers["errors"].values())
    record = {"cell": cell.name, "numbers": numbers, "device": {"platform": "cpu"}}
    assert "real words in" in step.standing([record])
