"""scikit-learn's checks of the series estimator, and what they do not cover: ragged series, codes, files."""

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the estimators need hae_jax[sklearn]")

from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks

from hae_jax.estimators import SeriesAutoencoder
from hae_jax.estimators.anomaly_score import MahalanobisScorer, error_windows

SMALL = {"sizes": (3,), "spans": (), "steps": 3, "batch_size": 8}
FAILS = {
    "check_estimators_pickle": "fitted estimators are saved by save and loaded by load, never pickled",
    "check_do_not_raise_errors_in_init_or_set_params": "tests check the types of all arguments, those of __init__ too",
}
"""scikit-learn's checks that we fail, and why."""


def ragged():
    """Series of two channels, one of them of a single step."""
    rng = np.random.default_rng(3)
    return [np.sin(np.arange(n)[:, None] / 2 + rng.uniform(0, 6, 2)) * [1.0, 40.0] + 7 for n in (9, 1, 14, 12, 11)]


@pytest.fixture(scope="module")
def fitted():
    return SeriesAutoencoder(sizes=(5, 3), steps=5, batch_size=5, random_state=1).fit(ragged())


@parametrize_with_checks([SeriesAutoencoder(**SMALL)], expected_failed_checks=lambda estimator: FAILS)
def test_checks_of_scikit_learn_pass(estimator, check):
    check(estimator)


def test_what_scikit_learn_expects_to_fail_fails_for_the_reason_given(fitted):
    with pytest.raises(pickle.PicklingError, match="must be saved by its method save, got pickle"):
        pickle.dumps(fitted)
    assert pickle.loads(pickle.dumps(clone(fitted))).get_params() == fitted.get_params()


def test_series_of_any_length_have_codes_of_one_size(fitted):
    codes = fitted.transform(ragged())
    assert codes.shape == (5, 3)
    assert codes.dtype == np.float32
    np.testing.assert_allclose(np.concatenate([fitted.transform([one]) for one in ragged()]), codes, atol=1e-6)
    back = fitted.inverse_transform(codes, lengths=[9, 1, 14, 12, 11])
    assert [one.shape for one in back] == [one.shape for one in ragged()]
    for one, other in zip(back, fitted.reconstruct(ragged()), strict=True):
        np.testing.assert_array_equal(one, other)
    assert [len(one) for one in fitted.inverse_transform(codes)] == [14] * 5


def test_errors_are_squared_errors_relative_to_the_variance(fitted):
    series = ragged()
    flat = np.concatenate(series)
    expected = [
        np.square((one - back) / flat.std(axis=0)).mean()
        for one, back in zip(series, fitted.reconstruct(series), strict=True)
    ]
    np.testing.assert_allclose([one.mean() for one in fitted.errors(series)], expected, rtol=1e-6)


def test_scores_are_mean_anomaly_scores(fitted):
    scores = fitted.anomaly_score(ragged())
    assert [len(one) for one in scores] == [9, 1, 14, 12, 11]
    np.testing.assert_allclose(fitted.score_samples(ragged()), [-one.mean() for one in scores], rtol=1e-6)


def test_the_anomaly_score_is_the_mahalanobis_distance_of_scikit_learn():
    from sklearn.covariance import LedoitWolf

    rng = np.random.default_rng(4)
    clean, strange = ([rng.normal(size=(n, 2)) @ [[1.0, 0.9], [0.0, 0.1]] * size for n in (40, 60)] for size in (1, 2))
    peer = LedoitWolf().fit(np.concatenate([error_windows(one) for one in clean]))
    scorer = MahalanobisScorer.fit(clean)
    scores = peer.mahalanobis(error_windows(strange[0])) / 32
    np.testing.assert_allclose(scorer.score(strange[0])[[0, -1]], scores[[0, -1]], rtol=1e-4)
    np.testing.assert_allclose(scorer.score(strange[0])[20], scores[5:21].mean(), rtol=1e-4)


def test_a_series_unlike_all_others_is_an_outlier(fitted):
    assert fitted.predict([*ragged(), 500 + 0 * ragged()[0]])[-1] == -1
    assert (fitted.decision_function(ragged()) < 0).sum() == 1


def test_a_saved_estimator_is_loaded_unchanged(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    loaded = SeriesAutoencoder.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.transform(ragged()), fitted.transform(ragged()))
    np.testing.assert_array_equal(loaded.decision_function(ragged()), fitted.decision_function(ragged()))
    np.testing.assert_array_equal(loaded.losses_, fitted.losses_)
    again = clone(loaded).fit(ragged())
    np.testing.assert_array_equal(again.losses_, fitted.losses_)


@pytest.mark.parametrize("name", ["config.json", "facts.json", "arrays.npz", "params.npz"])
def test_a_damaged_archive_is_refused(fitted, tmp_path, name):
    fitted.save(tmp_path)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"must hold .*, got .*\. (Save it again|Restore the file)\."):
        SeriesAutoencoder.load(tmp_path)
    with pytest.raises(ValueError, match="must hold a saved estimator"):
        SeriesAutoencoder.load(tmp_path / "nowhere")


def test_settings_can_be_searched():
    rows = np.sin(np.arange(24)[:, None] + np.arange(11))
    search = GridSearchCV(
        SeriesAutoencoder(**SMALL), {"learning_rate": [1e-9, 3e-2], "steps": [20]}, cv=2,
        scoring=lambda model, rows: -np.mean(model.errors(rows)),
    )  # fmt: skip
    assert search.fit(rows).best_params_["learning_rate"] == 3e-2


def test_results_are_functions_of_the_seed():
    first, again, other = (SeriesAutoencoder(**SMALL, random_state=seed).fit(ragged()).losses_ for seed in (4, 4, 5))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
    drawn = SeriesAutoencoder(**SMALL, random_state=np.random.RandomState(4)).fit(ragged())
    assert drawn.get_params()["random_state"] is drawn.random_state


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"config": "serie"}, "config must be one of series"),
        ({"contamination": 0.0}, r"contamination must lie in \(0, 0.5\], got 0.0"),
        ({"sizes": ()}, "sizes must hold at least one size"),
        ({"sizes": (5, 0)}, "sizes must be whole numbers from 1 on"),
        ({"sizes": (5, 3), "spans": (4, 4)}, "spans must be one fewer than series.sizes"),
        ({"spans": (1,)}, "spans must be whole numbers from 2 on"),
        ({"learning_rate": -1.0}, "optim.learning_rate must be positive"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"random_state": -1}, "seed must be at least 0"),
    ],
)
def test_invalid_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        SeriesAutoencoder(**settings).fit(ragged())


@pytest.mark.parametrize(
    ("codes", "lengths", "message"),
    [
        (np.zeros((2, 4)), None, r"codes must have the shape \[any, 3\], got \[2, 4\]"),
        (np.zeros(3), None, r"codes must have the shape \[any, 3\], got \[3\]"),
        (np.full((2, 3), np.nan), None, "codes must be finite"),
        (np.zeros((2, 3)), [4], "lengths must be 2 whole numbers"),
        (np.zeros((2, 3)), [4, 0], "lengths must be 2 whole numbers"),
        (np.zeros((2, 3)), [4.0, 5.5], "lengths must be 2 whole numbers"),
    ],
)
def test_invalid_codes_are_refused(fitted, codes, lengths, message):
    with pytest.raises(ValueError, match=message):
        fitted.inverse_transform(codes, lengths)


def test_verbose_shows_a_bar_and_changes_nothing(fitted, capfd):
    capfd.readouterr()
    again = clone(fitted).set_params(verbose=True).fit(ragged())
    out, err = capfd.readouterr()
    assert "training" in err
    assert "5/5" in err
    assert not out
    np.testing.assert_array_equal(again.losses_, fitted.losses_)
    clone(fitted).fit(ragged())
    assert capfd.readouterr() == ("", "")
