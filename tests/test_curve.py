"""Slope and ratio of gradient curves, regular ones and those that underflow or overflow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hae_jax.doctor.probes.curve import ratio, slope
from hae_jax.gradients.last_steps import last_steps

TIME = 37


@pytest.mark.parametrize("rate", [-0.7, 0.0, 0.3])
def test_an_exponential_has_its_rate_as_slope(rate):
    curve = np.exp(rate * np.arange(TIME))
    assert float(slope(jnp.asarray(curve))) == pytest.approx(rate, abs=1e-5)
    assert float(ratio(jnp.asarray(curve))) == pytest.approx(rate * (TIME - 1) / np.log(10), abs=1e-4)


def test_the_slope_is_numpys_weighted_fit_over_the_middle(rng):
    curve, weights = np.exp(rng.normal(size=TIME)), rng.integers(1, 7, TIME).astype(float)
    index = np.arange(TIME)
    inside = (index >= 0.1 * TIME) & (index <= 0.8 * TIME)
    # polyfit multiplies residuals, not their squares, by its weights.
    expected = np.polyfit(index[inside], np.log(curve[inside]), 1, w=np.sqrt(weights[inside]))[0]
    found = jax.jit(slope)(jnp.asarray(curve), jnp.asarray(weights))
    assert float(found) == pytest.approx(expected, abs=1e-5)


def test_positions_without_rows_do_not_lengthen_the_curve():
    curve = np.exp(-0.2 * np.arange(TIME)) * np.where(np.arange(TIME) < 11, 1, 5)
    weights = np.where(np.arange(TIME) < 11, 3.0, 0.0)
    assert float(slope(jnp.asarray(curve), jnp.asarray(weights))) == pytest.approx(-0.2, abs=1e-5)


@pytest.mark.parametrize("bad", [0.0, np.inf, np.nan])
def test_what_underflowed_or_overflowed_does_not_count(bad):
    curve = np.exp(-0.5 * np.arange(TIME))
    curve[17:] = bad
    assert float(slope(jnp.asarray(curve))) == pytest.approx(-0.5, abs=1e-5)
    assert float(ratio(jnp.asarray(curve))) == pytest.approx(-0.5 * 16 / np.log(10), abs=1e-5)


def test_without_two_positions_there_is_no_slope():
    assert np.isnan(slope(jnp.zeros(TIME)))
    assert np.isnan(ratio(jnp.zeros(TIME).at[3].set(1.0)))
    assert np.isnan(slope(jnp.ones(TIME), jnp.zeros(TIME)))


def test_leading_axes_are_batches():
    curves = jnp.exp(jnp.array([[-0.1], [0.2], [0.0]]) * jnp.arange(TIME))
    np.testing.assert_allclose(slope(curves), [-0.1, 0.2, 0.0], atol=1e-5)
    np.testing.assert_allclose(ratio(curves), np.array([-0.1, 0.2, 0.0]) * (TIME - 1) / np.log(10), atol=1e-4)


def test_last_steps_are_real_and_in_order():
    mask = jnp.array([[True, False, True, True, False], [False, False, False, True, False]])
    at = last_steps(mask, 2)
    assert at[0].tolist() == [2, 3]
    assert at[1, 1] == 3
    assert not mask[1, at[1, 0]]
