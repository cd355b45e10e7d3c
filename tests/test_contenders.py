"""Contenders are timed only if their results equal ours, for every kind of contender that a GPU's tables have."""

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


def gpu_cells(table, quick):
    """The cells that a table has on a GPU."""
    with patch.object(jax, "default_backend", lambda: "gpu"):
        return table.cells(quick)


LAYERS, STEPS = (gpu_cells(module, True) for module in (layer, step))


@pytest.fixture
def short_turns(monkeypatch):
    """Makes turns short: these tests do not compare speeds."""
    monkeypatch.setattr(stopwatch, "MIN_SECONDS", 1e-3)


def test_a_quick_run_has_every_kind_of_contender_of_a_gpu():
    def kinds(cells):
        return {(cell.config["dtype"], *cell.config["peers"]) for cell in cells}

    assert {name for cell in LAYERS for name in cell.config["peers"]} == set(layer.PEERS)
    assert kinds(LAYERS) == kinds(gpu_cells(layer, False))
    assert len(kinds(LAYERS)) == len({cell.name for cell in LAYERS}) == len(LAYERS)
    large = [cell.config["model"]["dtype"] for cell in gpu_cells(step, False)]
    assert [cell.config["model"]["dtype"] for cell in STEPS] == large == ["float32", "bfloat16"]


@pytest.mark.usefixtures("short_turns")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("cell", LAYERS, ids=lambda cell: cell.config["dtype"])
def test_all_layers_have_equal_results(cell, tmp_path):
    numbers = layer.measure(cell, tmp_path)
    # Ours, the installed ones, and the products alone; their results are compared before the timing.
    assert len(numbers["rows"]) == 2 + len(cell.config["peers"]) - len(numbers["skipped"])
    assert ("cudnn" in numbers["skipped"]) == ("cudnn" in cell.config["peers"] and jax.default_backend() != "gpu")
    if cell.config["dtype"] == "float32":
        assert all(error < 1e-5 for error in numbers["errors"].values())


def test_weights_have_the_layout_of_cudnn():
    case = layers.random_case(2, 3, 5, 7)
    kernel, recurrent, bias, rest = rnn.unpack_lstm_weights(jnp.asarray(layers.packed(case)), 5, 7, 1, False)
    for found, expected in zip((kernel, recurrent, bias), case[1:4], strict=True):
        np.testing.assert_array_equal(found[0], expected.T)
    assert not rest[0].any()
    for found, expected in zip(layers.unpacked(layers.packed(case), 5, 7), case[1:4], strict=True):
        np.testing.assert_array_equal(found, expected)


@torch
@pytest.mark.filterwarnings("ignore")
def test_a_layer_with_another_result_is_not_timed(monkeypatch, tmp_path):
    def other(case, dtype):
        return layers.torch(case._replace(bias=case.bias + 1e-2), dtype)

    monkeypatch.setitem(layer.PEERS, "torch", ("torch", other))
    (cell,) = layer.cells(True)
    cell = dataclasses.replace(cell, config={**cell.config, "peers": ["torch"]})
    with pytest.raises(ValueError, match=r"PyTorch nn\.LSTM must equal our result, got a difference of"):
        layer.measure(cell, tmp_path)


def test_a_loss_with_another_result_is_not_timed(monkeypatch, tmp_path):
    def other(hidden, kernel, bias, targets, mask):
        return losses.cross_entropy(1.001 * hidden, kernel, bias, targets, mask)

    monkeypatch.setattr(textbook, "cross_entropy", other)
    (cell,) = loss.cells(True)
    with pytest.raises(ValueError, match=r"Optax, all logits must equal our result, got a difference of"):
        loss.measure(cell, tmp_path)


@pytest.mark.parametrize(("odd", "runs"), [(1, True), (2, False)])
def test_a_decoder_with_other_outputs_is_not_timed(monkeypatch, tmp_path, odd, runs):
    """One token of twenty may differ, two may not."""
    outputs = np.arange(20).reshape(4, 5)
    monkeypatch.setattr(greedy, "trained", lambda load, steps: load.params)
    monkeypatch.setattr(greedy, "compare", lambda entrants, rounds: [each.name for each in entrants])
    entrants = [
        Contender("ours", lambda calls: outputs),
        Contender("other", lambda calls: np.where(outputs < odd, -1, outputs)),
    ]
    monkeypatch.setattr(greedy, "contenders", lambda load, room: entrants)
    (cell,) = greedy.cells(True)
    if runs:
        numbers = greedy.measure(cell, tmp_path / "cell")
        assert (numbers["rows"], numbers["errors"]) == (["ours", "other"], {"same tokens": 0.95})
    else:
        with pytest.raises(ValueError, match=r"other must equal our result, got a difference of 1\.0e-01"):
            greedy.measure(cell, tmp_path / "cell")


def test_a_result_of_nan_is_refused():
    with pytest.raises(ValueError, match="got a difference of nan"):
        stopwatch.check_difference("other", stopwatch.relative_difference([np.array([np.nan, 1.0])], [np.ones(2)]), 1e9)


def test_a_missing_package_is_listed_as_omitted(monkeypatch, tmp_path):
    monkeypatch.setitem(layer.PEERS, "flax", ("no_such_package", layers.flax))
    (cell,) = layer.cells(True)
    cell = dataclasses.replace(cell, config={**cell.config, "peers": ["flax"]})
    numbers = layer.measure(cell, tmp_path)
    record = {"cell": cell.name, "numbers": numbers, "device": {"platform": "cpu"}}
    assert numbers["skipped"] == ["flax"]
    assert table.render([record]).endswith("Not installed for this device, hence left out: flax.")


@torch
@pytest.mark.usefixtures("short_turns")
@pytest.mark.parametrize("cell", STEPS, ids=lambda cell: cell.config["model"]["dtype"])
def test_pytorch_twins_have_equal_losses_over_several_updates(cell, tmp_path):
    numbers = step.measure(cell, tmp_path / "cell")
    # Three steps with updates between them, which compare clip, Adam and the sentence level's learning rate.
    assert set(numbers["errors"]) == {"PyTorch, padded", "PyTorch, packed sequences"}
    assert all(len(errors) == 3 for errors in numbers["errors"].values())
    if cell.config["model"]["dtype"] == "float32":
        assert all(max(errors) < 1e-5 for errors in numbers["errors"].values())
    record = {"cell": cell.name, "numbers": numbers, "device": {"platform": "cpu"}}
    assert "real tokens in" in step.render_step([record])
