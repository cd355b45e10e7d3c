"""Statistics of the weight schemes, read off large draws."""

import re
from functools import cache
from pathlib import Path
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.nn import sigmoid

import hae_jax
from hae_jax.config.model import Initializer
from hae_jax.layers.initializers import scheme

INITIALIZERS = [name for name in get_args(Initializer) if name != "mirror"]
"""Those of a single layer."""

FEAT, HIDDEN = 47, 128
OWN_BIAS = {"torch", "chrono", "uniform_gate", "critical"}


@cache
def drawn(name, **options):
    """Kernel, recurrent kernel and bias of a scheme; the last two cut into gates [gate, ...]."""
    kernel, recurrent, bias = jax.random.split(jax.random.key(5), 3)
    init = scheme(name, **options)
    recurrent = init.recurrent(recurrent, (HIDDEN, 4 * HIDDEN))
    return (
        np.asarray(init.kernel(kernel, (FEAT, 4 * HIDDEN))),
        np.stack(np.split(np.asarray(recurrent), 4, axis=-1)),
        np.asarray(init.bias(bias, (4 * HIDDEN,))).reshape(4, HIDDEN),
    )


def assert_uniform(x, low, high):
    """Within the bounds, and filling them evenly."""
    x = (np.ravel(x) - low) / (high - low)
    assert x.min() >= 0
    assert x.max() <= 1
    deciles = np.quantile(x, np.linspace(0.1, 0.9, 9))
    np.testing.assert_allclose(deciles, np.linspace(0.1, 0.9, 9), atol=3 / np.sqrt(len(x)))


@pytest.mark.parametrize("name", INITIALIZERS)
def test_every_name_of_the_config_has_a_scheme(name):
    kernel, recurrent, bias = drawn(name)
    assert (kernel.shape, recurrent.shape, bias.shape) == ((FEAT, 4 * HIDDEN), (4, HIDDEN, HIDDEN), (4, HIDDEN))
    assert all(np.isfinite(x).all() for x in (kernel, recurrent, bias))


@pytest.mark.parametrize("name", sorted(set(INITIALIZERS) - OWN_BIAS))
@pytest.mark.parametrize("value", [0.0, 1.0, 2.5])
def test_forget_bias_reaches_the_forget_gate_alone(name, value):
    *_, bias = drawn(name, forget_bias=value)
    assert (bias == np.array([0, value, 0, 0])[:, None]).all()


@pytest.mark.parametrize("name", ["orthogonal", "flax", "chrono", "uniform_gate"])
def test_each_gate_is_orthogonal(name):
    _, recurrent, _ = drawn(name)
    for gate in recurrent:
        np.testing.assert_allclose(gate @ gate.T, np.eye(HIDDEN), atol=1e-5)


def test_keras_is_orthogonal_all_at_once():
    _, recurrent, _ = drawn("keras")
    rows = np.concatenate(list(recurrent), axis=-1)
    np.testing.assert_allclose(rows @ rows.T, np.eye(HIDDEN), atol=1e-5)
    assert np.abs(recurrent[0] @ recurrent[0].T - np.eye(HIDDEN)).max() > 0.5


@pytest.mark.parametrize(
    ("name", "fan_out"), [("orthogonal", HIDDEN), ("glorot", HIDDEN), ("chrono", HIDDEN), ("keras", 4 * HIDDEN)]
)
def test_glorot_bounds_follow_the_sizes(name, fan_out):
    bound = np.sqrt(6 / (FEAT + fan_out))
    assert_uniform(drawn(name)[0], -bound, bound)


def test_glorot_recurrent_kernel_is_bounded_gate_by_gate():
    bound = np.sqrt(6 / (2 * HIDDEN))
    assert_uniform(drawn("glorot")[1], -bound, bound)


def test_torch_bounds_follow_the_units_alone():
    kernel, recurrent, bias = drawn("torch")
    bound = 1 / np.sqrt(HIDDEN)
    assert_uniform(kernel, -bound, bound)
    assert_uniform(recurrent, -bound, bound)
    assert np.abs(bias).max() > bound  # the sum of two draws
    assert np.abs(bias).max() <= 2 * bound
    np.testing.assert_allclose(bias.var(), 2 * bound**2 / 3, rtol=0.2)


def test_paper_bounds():
    kernel, recurrent, _ = drawn("uniform")
    assert_uniform(kernel, -0.1, 0.1)
    assert_uniform(recurrent, -0.1, 0.1)


@pytest.mark.parametrize(
    ("name", "kernel_sd", "recurrent_sd"),
    [("normal", 0.01, 0.01), ("critical", None, np.sqrt(1e-5)), ("flax", 1 / np.sqrt(FEAT), None)],
)
def test_standard_deviations(name, kernel_sd, recurrent_sd):
    kernel, recurrent, _ = drawn(name)
    for x, sd in ((kernel, kernel_sd), (recurrent, recurrent_sd)):
        if sd is not None:
            np.testing.assert_allclose(x.std(), sd, rtol=0.03)
            assert abs(x.mean()) < 5 * sd / np.sqrt(x.size)


def test_critical_opens_the_forget_gates():
    assert (drawn("critical")[2] == np.array([0, 5, 0, 0])[:, None]).all()


def test_chrono_spreads_the_memories_evenly_over_the_timescale():
    """Tallec & Ollivier, equation 16: b_f = ln U(1, T - 1), b_i = -b_f; a forget gate f remembers 1 / (1 - f) steps."""
    *_, (i, f, g, o) = drawn("chrono", timescale=100)
    assert_uniform(np.exp(f), 1, 99)
    assert (i == -f).all()
    assert not g.any()
    assert not o.any()
    memory = 1 / (1 - np.asarray(sigmoid(jnp.asarray(f))))
    assert_uniform(memory, 2, 100)


def test_uniform_gates_are_uniform():
    """Gu et al., 2020, 3.2: sigmoid(b_f) is spread evenly over [1/hidden, 1 - 1/hidden]."""
    *_, (i, f, g, o) = drawn("uniform_gate")
    assert_uniform(sigmoid(jnp.asarray(f)), 1 / HIDDEN, 1 - 1 / HIDDEN)
    assert not np.stack([i, g, o]).any()


@pytest.mark.parametrize("name", INITIALIZERS)
def test_the_gain_multiplies_the_recurrent_kernel_alone(name):
    kernel, recurrent, bias = drawn(name)
    same_kernel, multiplied, same_bias = drawn(name, gain=3.0)
    np.testing.assert_allclose(multiplied, 3 * recurrent, rtol=1e-6)
    assert (kernel == same_kernel).all()
    assert (bias == same_bias).all()


def test_gates_are_drawn_apart():
    for name in INITIALIZERS:
        _, recurrent, _ = drawn(name)
        assert not np.allclose(recurrent[0], recurrent[1])


def test_modules_do_not_compare_the_name_of_the_initializer():
    """`model_init` chooses the weights; everything else uses what it returns."""
    folder = Path(hae_jax.__file__).parent
    files = [path for part in ("layers", "models") for path in (folder / part).glob("*.py")]
    assert [path.name for path in files if re.search(r"initializer (==|!=|in) ", path.read_text())] == ["model_init.py"]
