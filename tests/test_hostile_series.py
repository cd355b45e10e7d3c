"""Invalid and unusual series: an error with a repair, or a meaningful result."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the estimators need hae_jax[sklearn]")

from hae_jax.estimators import SeriesAutoencoder
from hae_jax.training import NonFinite

SMALL = {"sizes": (5, 3), "spans": (), "steps": 4, "batch_size": 8}
NAN, INF = np.nan, np.inf


def waves(lengths, channels=2):
    return [np.sin(np.arange(n)[:, None] / 3 + np.arange(channels)) for n in lengths]


@pytest.fixture(scope="module")
def fitted():
    return SeriesAutoencoder(**SMALL).fit(waves((7, 5, 11)))


@pytest.mark.parametrize(
    "method", ["transform", "reconstruct", "errors", "anomaly_score", "score_samples", "decision_function", "predict"]
)
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (waves((7,), 3), r"X\[0\] must have 2 channels, got 3\."),
        ([np.ones(4)], r"X\[0\] must have 2 channels, got 1\."),
        ([], r"X must hold at least one series, got none\."),
        ([np.zeros((0, 2))], r"X\[0\] must have at least one step and one channel, got \[0, 2\]\."),
        ([np.array([[1, INF]])], r"X\[0\] must be finite, got inf at step 0, channel 1\."),
        (
            [np.array([[1, NAN]])],
            r"X\[0\] must be finite, got nan at step 0, channel 1\. Replace it, or use missing=True",
        ),
        ([np.array([["a", "b"]])], r"X\[0\] must hold real numbers, got <U1\."),
        ([np.ones((3, 2), complex)], r"X\[0\] must hold real numbers, got complex128\."),
        (["ab"], r"X\[0\] must hold real numbers"),
        ([np.full((3, 2), 1e30)], r"series 0 must be near the training data"),
        (np.ones((3, 4, 5)), r"X\[0\] must have 2 channels, got 5\."),
        (np.ones((2, 2, 2, 2)), r"dim 4|\[2, 2, 2, 2\]"),
    ],
    ids=lambda value: "" if isinstance(value, str) else None,
)
def test_invalid_series_are_refused_by_every_method(fitted, method, given, message):
    with pytest.raises(ValueError, match=message):
        getattr(fitted, method)(given)


def test_one_step_and_mixed_lengths_are_series():
    given = waves((1, 1, 9, 16))
    model = SeriesAutoencoder(**SMALL).fit(given)
    assert np.isfinite(model.transform(given)).all()
    assert [len(one) for one in model.reconstruct(given)] == [1, 1, 9, 16]
    assert np.isfinite(model.score_samples(given[::-1])).all()


def test_a_single_series_can_be_fitted():
    model = SeriesAutoencoder(**SMALL).fit(waves((13,)))
    assert np.isfinite(model.losses_).all()
    assert model.predict(waves((13,))).tolist() == [1]


def test_a_constant_channel_is_reconstructed():
    given = [np.column_stack([one, np.full(len(one), 7e6)]) for one in waves((7, 5, 11), 1)]
    model = SeriesAutoencoder(**SMALL).fit(given)
    assert np.isfinite(model.losses_).all()
    back = model.reconstruct(given)
    assert max(np.abs(one[:, 1] - 7e6).max() for one in back) < 10
    # A change of a constant channel is an anomaly.
    broken = given[0].copy()
    broken[3, 1] += 100
    assert np.argmax(model.errors([broken])[0]) == 3


def test_missing_values_are_left_out_of_the_loss_and_of_scores():
    given = waves((7, 5, 11))
    holes = [one.copy() for one in given]
    holes[0][2] = NAN
    holes[2][5, 1] = NAN
    model = SeriesAutoencoder(**SMALL, missing=True).fit(holes)
    assert np.isfinite(model.losses_).all()
    errors = model.errors(holes)
    assert np.isnan(errors[0][2])
    assert np.isfinite(np.concatenate(errors)).sum() == 22
    assert np.isfinite(model.score_samples(holes)).all()
    assert np.isfinite(np.concatenate(model.reconstruct(holes))).all(), "missing values are imputed"
    with pytest.raises(ValueError, match=r"X\[1\] must have an observed value, got 5 steps of NaN\."):
        model.transform([given[0], np.full((5, 2), NAN)])


def test_a_channel_that_was_never_observed_is_zeros():
    given = [np.column_stack([one, np.full(len(one), NAN)]) for one in waves((7, 5, 11), 1)]
    model = SeriesAutoencoder(**SMALL, missing=True).fit(given)
    assert np.isfinite(model.losses_).all()
    assert np.isfinite(np.concatenate(model.reconstruct(given))).all()


@pytest.mark.parametrize("kind", [np.float32, np.float16, np.int8, np.bool_, object])
def test_any_type_of_number_is_accepted(kind):
    given = [(one * 3).astype(kind) for one in waves((7, 5, 11))]
    assert SeriesAutoencoder(**SMALL).fit(given).transform(given).dtype == np.float32


def test_divergence_is_reported():
    with pytest.raises(NonFinite, match=r"steps 1 to 10 must be finite, got NaN or infinity in each\. Use a lower"):
        SeriesAutoencoder(sizes=(3,), spans=(), steps=10, learning_rate=1e38).fit(waves((7, 5), 1))
