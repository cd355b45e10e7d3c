"""How steady gradients are, from their norms."""

import numpy as np
import pytest

from hae_jax.gradients.stability import spikes, stability


def test_a_spike_is_seen_and_a_steady_norm_is_not():
    norm = 1 + 0.01 * np.sin(np.arange(200.0))
    assert not spikes(norm).any()
    norm[150], norm[170] = 5.0, np.inf
    assert spikes(norm).nonzero()[0].tolist() == [150, 170]


def test_a_new_level_is_no_spike_for_long():
    norm = np.r_[np.full(50, 1.0), np.full(150, 3.0)]
    assert spikes(norm)[50]
    assert not spikes(norm)[70:].any()


def test_shares_are_over_all_steps():
    norm = np.r_[np.full(39, 2.0), np.nan]
    found = stability(norm, np.tile([1.0, 0.0], 20), (~np.isfinite(norm)).astype(float))
    assert found == (0.5, 1 / 40, 1 / 40)


def test_no_step_is_an_error():
    with pytest.raises(ValueError, match=r"norm must hold a step, got none\. Train first\."):
        stability(np.zeros(0), np.zeros(0), np.zeros(0))
