"""Detection metrics against brute force, and windows that are cut and averaged again."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the measurements need hae_jax[sklearn]")

from benchmarks.series.detection_metrics import (
    average_windows,
    best_f1,
    detection,
    point_adjusted,
    sliding_windows,
    window_starts,
)


@pytest.fixture
def labels():
    marks = np.zeros(97, bool)
    marks[[11, 12, 13, 14, 15, 16, 17, 53, 96]] = True
    return marks


def test_f1_is_that_of_the_best_of_all_thresholds(labels, rng):
    scores = rng.random(97).round(1) + 0.3 * labels

    def f1(threshold):
        alarm = scores >= threshold
        return 2 * (alarm & labels).sum() / (alarm.sum() + labels.sum())

    assert best_f1(scores, labels) == pytest.approx(max(f1(threshold) for threshold in scores))


def test_auc_pr_is_the_mean_precision_at_each_anomalous_step(labels, rng):
    scores = rng.permutation(97) / 97
    order = np.argsort(-scores)
    precision = np.cumsum(labels[order]) / np.arange(1, 98)
    assert detection(scores, labels).auc_pr == pytest.approx(precision[labels[order]].mean())


def test_point_adjustment_raises_every_step_of_an_event_and_no_other(labels, rng):
    scores = rng.random(97)
    raised = point_adjusted(scores, labels)
    np.testing.assert_array_equal(raised[~labels], scores[~labels])
    assert (raised[11:18] == scores[11:18].max()).all()
    assert (raised[[53, 96]] == scores[[53, 96]]).all()


def test_point_adjustment_makes_random_scores_look_good():
    labels = np.zeros(3000, bool)
    labels[1000:1300] = True
    found = detection(np.random.default_rng(0).random(3000), labels)
    assert found.f1 < 0.25
    assert found.adjusted_f1 > 0.7


def test_a_perfect_detector_is_perfect(labels):
    assert detection(labels * 1.0, labels) == (1.0, 1.0, 1.0, True)


def test_a_hit_may_be_a_hundred_steps_off():
    labels = np.zeros(1001, bool)
    labels[500:503] = True
    hits = [detection(np.eye(1001)[place], labels).hit for place in (399, 400, 602, 603)]
    assert hits == [False, True, True, False]


@pytest.mark.parametrize(("time", "width", "stride"), [(23, 7, 3), (7, 7, 5), (22, 5, 5), (20, 5, 1)])
def test_windows_cover_a_series_and_their_average_is_the_series(time, width, stride, rng):
    series = rng.random(time)
    cut = sliding_windows(series, width, stride)
    assert cut.shape == (len(window_starts(time, width, stride)), width)
    np.testing.assert_allclose(average_windows(cut, time, stride), series)
