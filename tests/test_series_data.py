"""Series as people have them: what is taken, what is refused and in which words, scaling, padding, and batches."""

import numpy as np
import pytest

from hae_jax.data.series import Scaler, SeriesError, as_series, pad_series, sample_series

NAN, INF = np.nan, np.inf


@pytest.mark.parametrize(
    ("given", "shapes"),
    [
        ([[1.0, 2.0, 3.0], [4.0]], [(3, 1), (1, 1)]),
        ([np.ones((3, 2)), np.ones((1, 2))], [(3, 2), (1, 2)]),
        (np.ones((2, 5)), [(5, 1), (5, 1)]),
        (np.ones((2, 5, 3)), [(5, 3), (5, 3)]),
        ([np.arange(3), [True, False]], [(3, 1), (2, 1)]),
        (np.array([np.ones(3), np.ones(2)], object), [(3, 1), (2, 1)]),
        ([np.array([1, 2.5], object)], [(2, 1)]),
    ],
    ids=["lists", "arrays", "table", "cube", "integers and flags", "objects", "an object of numbers"],
)
def test_whatever_holds_numbers_is_taken(given, shapes):
    found = as_series(given)
    assert [one.shape for one in found] == shapes
    assert {one.dtype for one in found} == {np.dtype(np.float64)}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("letters.txt", "X must be a list of series, got str. Put them into a list."),
        (3.0, "X must be a list of series, got float. Put them into a list."),
        (np.ones(4), "X must have the shape [series, time] or [series, time, channel], got [4]."),
        ([], "X must hold at least one series, got none."),
        ([[1.0], []], "X[1] must have at least one step and one channel, got [0, 1]. Leave it out."),
        ([np.ones((3, 0))], "X[0] must have at least one step and one channel, got [3, 0]. Leave it out."),
        ([1.0, 2.0], "X[0] must have the shape [time] or [time, channel], got []."),
        ([np.ones((3, 2)), np.ones((3, 1))], "X[1] must have 2 channels, got 1. Give every series the channels"),
        ([["a", "b"]], "X[0] must hold real numbers, got <U1. Convert it first."),
        ([[1.0, "b", None]], "X[0] must "),
        ([np.ones(3, complex)], "X[0] must hold real numbers, got complex128."),
        ([np.array(["2020-01-01"], "datetime64[D]")], "X[0] must hold real numbers, got datetime64[D]."),
        ([[[1.0], [1.0, 2.0]]], "X[0] must be an array of numbers, got [[1.0], [1.0, 2.0]]."),
        ([[1.0, INF]], "X[0] must be finite, got inf at step 1, channel 0. Replace it, or mark it as missing by NaN."),
        ([[1.0, NAN]], "X[0] must be finite, got nan at step 1, channel 0. Replace it, or use missing=True."),
    ],
)
def test_what_cannot_be_used_is_reported(given, message):
    with pytest.raises(SeriesError) as caught:
        as_series(given)
    assert str(caught.value).startswith(message)
    assert str(caught.value).endswith(".")


def test_nan_is_missing_by_option_only():
    (found,) = as_series([[1.0, NAN]], missing=True)
    assert np.isnan(found[1, 0])
    with pytest.raises(SeriesError, match=r"X\[0\] must be finite, got -inf"):
        as_series([[NAN, -INF]], missing=True)
    with pytest.raises(SeriesError, match=r"X\[1\] must have an observed value, got 2 steps of NaN\. Leave it out\."):
        as_series([[1.0], [NAN, NAN]], missing=True)


def test_the_scaler_is_that_of_scikit_learn(rng):
    preprocessing = pytest.importorskip("sklearn.preprocessing", reason="it comes with hae_jax[sklearn]")
    values = rng.normal([3, -2e9, 1e-7], [2, 1e5, 1e-9], (57, 3))
    values[rng.random(values.shape) < 0.2] = NAN
    peer = preprocessing.StandardScaler().fit(values)
    scaler = Scaler.fit([values[:11], values[11:]])
    np.testing.assert_allclose(scaler.mean, peer.mean_, rtol=1e-9)
    np.testing.assert_allclose(scaler.deviation, peer.scale_, rtol=1e-6)
    np.testing.assert_allclose(scaler.invert(scaler.apply(values)), values)


@pytest.mark.parametrize("constant", [0.0, 7.0, 1e300, 0.1, NAN], ids=str)
def test_a_channel_that_never_changes_becomes_zeros(constant):
    values = np.stack([np.full(11, constant), np.arange(11.0)], axis=1)
    scaler = Scaler.fit([values])
    assert scaler.deviation[0] == 1
    batch = pad_series([values], scaler)
    assert not batch.values[..., 0].any()
    assert batch.values[..., 1].std() > 0


def test_numbers_whose_squares_are_none_are_scaled():
    scaler = Scaler.fit([np.array([[1e300], [3e300]])])
    np.testing.assert_allclose([*scaler.mean, *scaler.deviation], [2e300, 1e300])


def test_a_value_far_from_all_training_data_is_reported():
    scaler = Scaler.fit([np.array([[0.0], [1.0]])])
    with pytest.raises(SeriesError, match=r"series 1 must be near the training data, got 2e\+30 deviations from it\."):
        pad_series([np.zeros((1, 1)), np.full((3, 1), 1e30)], scaler)


def test_a_batch_marks_what_is_real_and_what_was_observed():
    one, two = np.array([[1.0], [NAN], [3.0]]), np.array([[5.0]])
    batch = pad_series([one, two], Scaler.identity(1), rows=3)
    assert batch.values.shape == (3, 8, 1)
    np.testing.assert_array_equal(batch.values[0, :3, 0], [1, 0, 3])
    np.testing.assert_array_equal(batch.observed[:, :4, 0], [[1, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(batch.mask.sum(axis=1), [3, 1, 0])
    assert not batch.values[~batch.observed].any()


@pytest.mark.parametrize(("number", "size"), [(7, 3), (3, 7), (5, 5), (1, 2)])
def test_every_series_comes_once_an_epoch_in_an_order_of_its_own(number, size):
    places = np.concatenate([sample_series(number, size, 0, step) for step in range(2 * number)])
    epochs = places.reshape(-1, number)
    assert (np.sort(epochs, axis=1) == np.arange(number)).all()
    np.testing.assert_array_equal(sample_series(number, size, 0, 3), sample_series(number, size, 0, 3))
    if number > 3:
        assert (epochs[0] != epochs[1]).any()
        assert (np.concatenate([sample_series(number, size, 1, step) for step in range(2 * number)]) != places).any()
