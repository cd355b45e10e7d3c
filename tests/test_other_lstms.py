"""The same weights in LSTMs of other libraries give the same results, forward and backward."""

import importlib.util

import flax.linen as nn
import jax.numpy as jnp
import pytest
from support.lstm_case import MASK, answer_of, flax_answer, keras_answer, recorded_answer, torch_answer
from support.tolerance import assert_close

from hae_jax.layers.cell import LSTMState, LSTMWeights
from hae_jax.layers.scan import lstm_scan


def peer(name):
    absent = importlib.util.find_spec(name) is None
    return pytest.mark.skipif(absent, reason=f"{name} is not installed; it comes with the extra `peers`")


@pytest.fixture(scope="module")
def ours():
    def run(case):
        state, outputs, _ = lstm_scan(
            LSTMState(case.cell, case.hidden),
            case.inputs,
            jnp.asarray(MASK),
            LSTMWeights(case.kernel, None, case.recurrent, case.bias, None),
        )
        return jnp.where(MASK[..., None], outputs, 0.0), state.cell, state.hidden

    return answer_of(run)


@pytest.mark.parametrize("cell", [nn.LSTMCell, nn.OptimizedLSTMCell])
def test_equals_flax(ours, cell):
    assert_close(ours, flax_answer(cell))


@peer("torch")
def test_equals_torch(ours):
    assert_close(ours, torch_answer())


@peer("keras")
@pytest.mark.filterwarnings("ignore")
def test_equals_keras(ours):
    assert_close(ours, keras_answer())


def test_equals_the_recorded_answer_of_torch(ours):
    assert_close(ours, recorded_answer())


@peer("torch")
def test_torch_equals_its_recorded_answer():
    assert_close(recorded_answer(), torch_answer())
