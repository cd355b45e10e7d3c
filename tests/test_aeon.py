"""Labelled series are those of the published files."""

import importlib.util

import numpy as np
import pytest

from benchmarks.series.aeon import classified, monitored
from hae_jax.data import aeon
from hae_jax.data.series import SeriesError, as_series

installed = pytest.mark.skipif(importlib.util.find_spec("aeon") is None, reason="pip install --no-deps aeon")


@installed
@pytest.mark.parametrize(
    ("name", "part", "number", "shortest", "longest", "channels", "classes"),
    [
        ("JapaneseVowels", "TRAIN", 270, 7, 26, 12, 9),
        ("JapaneseVowels", "TEST", 370, 7, 29, 12, 9),
        ("BasicMotions", "TRAIN", 40, 100, 100, 6, 4),
        ("BasicMotions", "TEST", 40, 100, 100, 6, 4),
    ],
)
def test_series_with_classes_are_as_published(name, part, number, shortest, longest, channels, classes):
    series, labels = classified(name)[part == "TEST"]
    assert len(series) == len(labels) == number
    assert (min(map(len, series)), max(map(len, series))) == (shortest, longest)
    assert {one.shape[1] for one in series} == {channels}
    assert len(set(labels)) == classes
    assert len(as_series(series)) == number


@installed
@pytest.mark.parametrize(
    ("name", "train", "test", "events"),
    [("KDD-TSAD_135", 1200, 6301, [12]), ("ecg-diff-count-3", 10_000, 10_000, [100, 100, 100])],
)
def test_anomalies_are_as_published_and_training_data_is_not_tested(name, train, test, events):
    found = monitored(name)
    assert (found.train.shape, found.test.shape, found.anomalous.shape) == ((train, 1), (test, 1), (test,))
    edges = np.flatnonzero(np.diff(np.r_[0, found.anomalous, 0]))
    assert (edges[1::2] - edges[::2]).tolist() == events
    assert not np.array_equal(found.train[:500], found.test[:500])
    np.testing.assert_array_equal(aeon.training_series(name)[0], found.train)


def test_an_unknown_name_or_a_missing_package_is_an_error(monkeypatch):
    with pytest.raises(SeriesError, match=r"name must be one of JapaneseVowels, BasicMotions, got 'Vowels'\."):
        classified("Vowels")
    with pytest.raises(SeriesError, match=r"corpus must be aeon: and one of .*, ecg-diff-count-3, got 'aeon:ecg'\."):
        aeon.training_series("ecg")
    with pytest.raises(SeriesError, match=r"name must be one of KDD-TSAD_135, ecg-diff-count-3, got 'ecg'\."):
        monitored("ecg")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SeriesError, match=r"package aeon must be installed, got none .* pip install --no-deps aeon"):
        monitored("KDD-TSAD_135")


def test_a_ts_file_is_read_line_by_line(tmp_path):
    path = tmp_path / "few.ts"
    path.write_text("# a comment\n@dimensions 2\n@data\n1,2,3:4,?,6:yes\n\n7:8:no\n", encoding="utf-8")
    series, labels = aeon.read_ts(path)
    assert labels == ["yes", "no"]
    np.testing.assert_array_equal(series[0], [[1, 4], [2, np.nan], [3, 6]])
    np.testing.assert_array_equal(series[1], [[7, 8]])


@pytest.mark.parametrize("line", ["1,2:3:yes", "1,x:3,4:yes", "yes"])
def test_a_malformed_ts_file_is_reported_with_its_line(tmp_path, line):
    path = tmp_path / "broken.ts"
    path.write_text(f"@data\n1:2:yes\n{line}\n", encoding="utf-8")
    with pytest.raises(SeriesError, match=r"line 3 of .*broken\.ts must hold channels of equal lengths"):
        aeon.read_ts(path)
