"""Noise is drawn at the right rate, scale and axes."""

import jax
import numpy as np
import pytest

from hae_jax.config import CellConfig
from hae_jax.layers.dropout import dropout_mask, sample_recurrent_dropout

BATCH, TIME, HIDDEN = 31, 37, 41
KEY = jax.random.key(9)


def drawn(key=KEY, **options):
    return sample_recurrent_dropout(key, CellConfig(**options), BATCH, TIME, HIDDEN)


def test_dropout_keeps_the_mean():
    mask = np.asarray(dropout_mask(KEY, 0.3, (BATCH, TIME, HIDDEN)))
    assert set(np.unique(mask)) == {0, np.float32(1 / 0.7)}
    assert abs((mask == 0).mean() - 0.3) < 0.01


def test_without_rates_there_is_no_noise():
    assert drawn() == (None,) * 4
    assert drawn(None, recurrent_dropout=0.3) == (None,) * 4


@pytest.mark.parametrize(
    ("kind", "part", "shape"),
    [("variational", "hidden", (BATCH, HIDDEN)), ("semeniuta", "candidate", (BATCH, TIME, HIDDEN))],
)
def test_recurrent_dropout_is_applied_where_its_paper_defines_it(kind, part, shape):
    noise = drawn(recurrent_dropout=0.3, recurrent_dropout_kind=kind)._asdict()
    mask = np.asarray(noise.pop(part))
    assert mask.shape == shape
    assert abs((mask == 0).mean() - 0.3) < 0.05
    assert not any(value is not None for value in noise.values())
    assert np.ptp(mask, axis=0).all() or len(shape) == 2
    assert (mask[0] != mask[1]).any()


def test_zoneout_is_yes_or_no_in_training_and_the_rate_afterwards():
    noise = drawn(zoneout_cell=0.5, zoneout_hidden=0.1)
    for keep, rate in ((noise.keep_cell, 0.5), (noise.keep_hidden, 0.1)):
        assert keep.shape == (BATCH, TIME, HIDDEN)
        assert set(np.unique(keep)) == {0, 1}
        assert abs(keep.mean() - rate) < 0.01
    still = drawn(None, zoneout_cell=0.5, zoneout_hidden=0.1)
    assert set(np.unique(still.keep_cell)) == {0.5}
    assert set(np.unique(still.keep_hidden)) == {np.float32(0.1)}
    assert (still.hidden, still.candidate) == (None, None)


def test_cell_and_hidden_state_are_zoned_out_apart():
    noise = drawn(zoneout_cell=0.5, zoneout_hidden=0.5, recurrent_dropout=0.5, recurrent_dropout_kind="semeniuta")
    pairs = [(noise.keep_cell, noise.keep_hidden), (noise.keep_cell, noise.candidate > 0)]
    for one, other in pairs:
        assert abs(np.corrcoef(np.ravel(one), np.ravel(other))[0, 1]) < 0.03
