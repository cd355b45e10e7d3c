"""A mirrored autoencoder of series is, before its first step, the linear one that scikit-learn finds."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hae_jax.config import CellConfig
from hae_jax.config.series import SeriesConfig
from hae_jax.data.series import Scaler, pad_series
from hae_jax.inference import series as inference
from hae_jax.models.series import Series
from hae_jax.training.series import initial_params, train

MIRROR = CellConfig(initializer="mirror")
FLAT = SeriesConfig(sizes=(5,), memory=22, steps=30, batch_size=7, cell=MIRROR)
LEVELS = SeriesConfig(sizes=(8, 5), spans=(4,), memory=24, cell=MIRROR)
"""Room for every number of every series, but for a code of five."""


def waves(number, time=11):
    rng, at = np.random.default_rng(8), np.arange(time)[:, None]
    return [np.sin(at * rng.uniform(0.2, 0.9) + rng.uniform(0, 6, 2)) + 0.1 * rng.normal(size=(time, 2))
            for _ in range(number)]  # fmt: skip


def started(config, series):
    """The data, the model and the parameters from which training starts."""
    data = jax.tree.map(jnp.asarray, pad_series(series, Scaler.identity(series[0].shape[1])))
    return data, Series(config.architecture, series[0].shape[1]), initial_params(config, data)


@pytest.mark.parametrize("config", [FLAT, LEVELS], ids=["flat", "levels"])
def test_an_untrained_autoencoder_is_as_good_as_principal_components(config):
    decomposition = pytest.importorskip("sklearn.decomposition")
    series = waves(37)
    rows = np.array(series).reshape(37, -1)
    peer = decomposition.PCA(5).fit(rows)
    best = np.square(rows - peer.inverse_transform(peer.transform(rows))).mean()
    data, model, params = started(config, series)
    # Windows of four steps by two channels fit into eight numbers. What is not linear costs a little.
    assert best * 0.99 < inference.error(model, params, data) < best * 1.1 + 0.01 * rows.var()


def test_codes_are_principal_components():
    decomposition = pytest.importorskip("sklearn.decomposition")
    series = waves(37)
    data, model, params = started(FLAT, series)
    codes = np.asarray(model.apply({"params": params}, data, method="encode").document)
    expected = decomposition.PCA(5).fit_transform(np.array(series).reshape(37, -1))
    found = [abs(np.corrcoef(one, other)[0, 1]) for one, other in zip(codes.T, expected.T, strict=True)]
    assert min(found) > 0.99


def test_training_goes_on_from_there():
    data = started(FLAT, waves(37))[0]
    losses = train(FLAT, data).losses
    assert losses[0] < 0.5
    assert losses[-5:].mean() < 1.2 * losses[0]


@pytest.mark.parametrize("series", [waves(3), [np.ones((11, 2))]], ids=["few", "single"])
def test_components_that_the_data_lack_leave_weights_as_they_were_drawn(series):
    data, model, params = started(FLAT, series)
    codes, back = inference.encode(model, params, Scaler.identity(2), series), inference.error(model, params, data)
    assert np.isfinite(codes).all()
    assert back < 0.05
    assert params["summary_0"]["kernel"].any(axis=0).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"memory": 0}, r"series.memory must be at least 1 with .* mirror, and 0 otherwise, got 0\. Use 256"),
        ({"cell": CellConfig()}, r"series.memory must be at least 1 with .* mirror, and 0 otherwise, got 22\."),
        ({"sizes": (5, 3)}, r"series.sizes must hold one size a level \(1\) with .* mirror, got \(5, 3\)\."),
        ({"reverse": False}, r"series.reverse must be set with series.cell.initializer mirror, got False\."),
        (
            {"cell": dataclasses.replace(MIRROR, recurrent_dropout=0.2)},
            r"series.cell.recurrent_dropout must be 0 with series.cell.initializer mirror, got 0.2\.",
        ),
    ],
)
def test_what_cannot_be_mirrored_is_reported(fields, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(FLAT, **fields)
