"""`hae` on continuous series: training, scores, figures, and invalid input."""

import csv

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="hae trains series by hae_jax[sklearn]")

from hae_jax.cli.main import main
from hae_jax.data.recordings import join_windows, read_recordings, sliding_windows
from hae_jax.estimators import SeriesAutoencoder

AT = np.arange(70)


@pytest.fixture(scope="module")
def pump(tmp_path_factory):
    """A table of two channels, a copy with an anomaly, and a model trained on the former."""
    folder = tmp_path_factory.mktemp("pump")
    clean = np.c_[np.sin(AT / 2), np.cos(AT / 2)] + 0.02 * np.random.default_rng(0).normal(size=(70, 2))
    broken = clean.copy()
    broken[40:44, 1] *= -1
    np.savetxt(folder / "clean.csv", clean, delimiter=",", header="pressure,flow", comments="")
    np.save(folder / "broken.npy", broken)
    words = ["--workdir", folder / "run", "--preset", "series", "--data.corpus", folder / "clean.csv"]
    assert main(list(map(str, ["train", *words, "--data.window=24", "--train.steps", 3]))) == 0
    return folder


def score(folder, name, *words):
    return main(["score", "--workdir", str(folder / "run"), "--input", str(name), *words])


def test_an_anomaly_has_the_highest_score(pump):
    assert score(pump, pump / "broken.npy", "--output", str(pump / "scores.csv")) == 0
    with (pump / "scores.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["step"] for row in rows] == [str(step) for step in AT]
    assert {row["series"] for row in rows} == {"0"}
    scores = np.array([float(row["score"]) for row in rows])
    # Windows of 16 steps are scored.
    assert 28 <= np.argmax(scores) <= 56
    assert np.median(scores[:24]) < scores.max() / 10
    errors = np.array([float(row["squared_error"]) for row in rows])
    assert np.argmax(errors) in range(40, 44)


def test_scores_can_be_drawn(pump):
    pytest.importorskip("matplotlib", reason="pictures need hae_jax[plots]")
    assert score(pump, pump / "broken.npy", f"--output={pump / 's.csv'}", f"--plot={pump / 's.png'}") == 0
    assert (pump / "s.png").read_bytes().startswith(b"\x89PNG")


def test_a_trained_workdir_is_loaded_by_the_estimator(pump):
    model = SeriesAutoencoder.load(pump / "run")
    assert model.length_ == 24
    assert model.config_.steps == 3


def test_files_of_all_kinds_hold_the_same_series(tmp_path):
    series = np.arange(6.0).reshape(3, 2)
    np.savetxt(tmp_path / "a.csv", series, delimiter=",")
    np.save(tmp_path / "a.npy", series)
    np.savez(tmp_path / "a.npz", series, np.ones((2, 5, 2)))
    for kind, number in (("csv", 1), ("npy", 1), ("npz", 3)):
        found = read_recordings(str(tmp_path / f"a.{kind}"))
        assert len(found) == number
        np.testing.assert_array_equal(found[0], series)
    (tmp_path / "holes.csv").write_text("1,2\n,4\n")
    np.testing.assert_array_equal(read_recordings(str(tmp_path / "holes.csv"))[0], [[1, 2], [np.nan, 4]])


@pytest.mark.parametrize(("time", "width"), [(70, 24), (24, 24), (5, 24), (70, 1), (25, 24)])
def test_windows_of_a_series_join_to_the_series(time, width):
    series = np.random.default_rng(1).normal(size=(time, 2))
    windows = sliding_windows(series, width)
    assert {len(one) for one in windows} == {min(time, width)}
    np.testing.assert_allclose(join_windows(windows, time, width), series)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "1", r"series must be a file of type \.csv, \.npy, \.npz, got .*a\.txt\. Convert the file\."),
        ("a.csv", "", r"series must have at least one step, got .*a\.csv without a row of numbers\."),
        ("a.csv", "x,y\n1,2\n3\n", r"row 2 of .*a\.csv must hold 2 numbers, got '3'\. Correct it\."),
        ("a.csv", "1\n2\nb\n", r"row 3 of .*a\.csv must hold 1 numbers, got 'b'\."),
        ("a.npy", "no array", r"series must be a complete \.npy of numbers, got .*a\.npy"),
        ("a.csv", "1\n\n,\n", r"row 2 of .*a\.csv must hold 1 numbers, got ','\."),
        ("a.csv", "1\ninf\n", r"series\[0\] must be finite, got inf at step 1, channel 0\. Replace it"),
        (
            "a.csv",
            "1,\n2,3\n",
            r"series\[0\] must be finite, got nan at step 0, channel 1\. Replace it, or use missing",
        ),
    ],
)
def test_invalid_files_are_refused(tmp_path, capsys, name, content, message):
    (tmp_path / name).write_text(content)
    words = ["train", "--workdir", tmp_path / "run", "--preset=series", "--data.corpus", tmp_path / name]
    assert main(list(map(str, words))) == 2
    assert capsys.readouterr().err.startswith("hae: ")
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match=message):
        _checked(tmp_path / name)


def _checked(path):
    from hae_jax.data.series import as_series

    return as_series(read_recordings(str(path)), name="series")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--workdir", "{}/run"], "workdir must be a new folder, got {}/run with a run. Choose another one."),
        (["--workdir", "{}/new", "--data.window", "0"], "data.window must be at least 1, got 0."),
        (["--workdir", "{}/new", "--data.corpus", "aeon:Vowels"], "corpus must be aeon: and one of JapaneseVowels,"),
        (
            ["--workdir", "{}/new", "--model.hidden_dim", "3"],
            "option must be one of hae train, got --model.hidden_dim.",
        ),
        ([], "--workdir must be given to hae train, got nothing."),
    ],
)
def test_invalid_options_are_refused(pump, capsys, words, message):
    assert main(["train", "--preset", "series", *(word.format(pump) for word in words)]) == 2
    assert f"hae: {message.format(pump)}" in capsys.readouterr().err


def test_a_series_of_other_channels_is_not_scored(pump, tmp_path, capsys):
    np.save(tmp_path / "one.npy", np.ones(30))
    assert score(pump, tmp_path / "one.npy", "--output", str(tmp_path / "s.csv")) == 2
    assert "series[0] must have 2 channels, got 1." in capsys.readouterr().err
    assert not (tmp_path / "s.csv").exists()
    assert score(pump, pump / "broken.npy", "--output", str(tmp_path / "no" / "s.csv")) == 2
    assert "output must be a file in an existing folder" in capsys.readouterr().err


def test_presets_for_text_train_on_text(capsys):
    assert main(["train", "--preset", "small"]) == 2
    assert "--workdir must be given to hae train" in capsys.readouterr().err


def test_a_run_on_series_is_not_read_as_text(pump, capsys):
    assert main(["evaluate", "--workdir", str(pump / "run")]) == 2
    assert (
        f"workdir must hold a run on text, got one on series in {pump / 'run'}. Use hae score"
        in capsys.readouterr().err
    )
