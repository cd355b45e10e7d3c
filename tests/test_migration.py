"""Runs, configs and estimators saved by version 0.3.0 load, resume, and give the results of that version."""

import json
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tolerance import assert_close

from hae_jax.cli import main
from hae_jax.cli.parser import parse
from hae_jax.config import Config, ModelConfig, SeriesConfig
from hae_jax.config.migration import RENAMED, VALUES, migrate, new_name
from hae_jax.data import Dataset
from hae_jax.data.cache import prepare
from hae_jax.inference.texts import iter_reconstruct
from hae_jax.trained import TrainedModel
from hae_jax.trainer import train

OPTIONS = [(f"{section}.{old}", f"{section}.{new}") for section, names in RENAMED.items() for old, new in names.items()]


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def copy(saved_run, tmp_path, monkeypatch):
    """A copy of the run to write into, in the working directory, since its corpus has a relative path."""
    shutil.copytree(saved_run, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "run"


def test_a_saved_run_encodes_and_reconstructs_as_the_version_that_saved_it(saved_run):
    model, expected = TrainedModel.load(saved_run / "run"), rows(saved_run / "reconstructions.jsonl")
    sources = [row["source"] for row in expected]
    assert_close(model.encode(sources), np.load(saved_run / "codes.npy"))
    # That version truncated what did not fit into one code; these texts do.
    assert not any(row.pop("truncated") for row in expected)
    assert [each._asdict() for each in iter_reconstruct(model, sources)] == [row | {"windows": 1} for row in expected]


def test_a_saved_run_resumes_to_the_result_of_the_version_that_saved_it(copy):
    assert not (copy / "checkpoints" / "80").exists()
    model = train(Config.load(copy / "config.json"), copy)
    assert (model.config.train.steps, model.config.model.conditioning) == (80, "initial_state")
    assert (copy / "checkpoints" / "80").exists()
    final, expected = rows(copy / "metrics.jsonl")[-1], rows(copy.parent / "final.json")[0]
    assert final["kind"] == expected["kind"] == "final"
    assert final.keys() == expected.keys()
    np.testing.assert_allclose(final["loss"], expected["loss"], rtol=1e-3)
    # The config is saved under the present names.
    assert json.loads((copy / "config.json").read_text())["model"]["hidden_dim"] == 5


def test_data_of_a_saved_run_are_used_again(copy):
    before = {path: path.stat().st_mtime_ns for path in (copy / "data").rglob("*")}
    data = prepare(Config.load(copy / "config.json").data, copy / "data")
    assert len(data.train) == len(Dataset.load(copy / "data").train) == 3
    assert {path: path.stat().st_mtime_ns for path in (copy / "data").rglob("*")} == before


def test_the_command_line_continues_a_saved_run(copy, capsys):
    assert parse(["train", "--workdir", str(copy)]).config == Config.load(copy / "config.json")
    assert main(["evaluate", "--workdir", str(copy), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["documents"] == 2


def test_a_saved_estimator_gives_the_results_of_the_version_that_saved_it(saved_run):
    pytest.importorskip("sklearn", reason="the estimators need hae_jax[sklearn]")
    from hae_jax.estimators import DocumentAutoencoder, SeriesAutoencoder

    waves = [np.sin(np.arange(n)[:, None] / 2 + np.arange(2)) for n in (9, 14, 11, 16)]
    model, expected = SeriesAutoencoder.load(saved_run / "series"), np.load(saved_run / "series_results.npz")
    assert_close(model.transform(waves), expected["codes"])
    np.testing.assert_allclose(np.concatenate(model.anomaly_score(waves)), expected["scores"], rtol=1e-3)
    assert (model.config_.cell.initializer, model.config_.memory) == ("mirror", 12)
    documents, lines = DocumentAutoencoder.load(saved_run / "run"), rows(saved_run / "reconstructions.jsonl")
    assert documents.reconstruct([row["source"] for row in lines]) == [row["reconstruction"] for row in lines]


def test_saved_configs_are_equal_to_those_written_under_the_present_names(saved_run):
    config = Config.load(saved_run / "run" / "config.json")
    assert Config.from_json(config.to_json()) == config
    assert (config.model.embed_dim, config.model.sentence_dim, config.data.max_tokens) == (5, 15, 10)
    assert (config.model.bridge, config.model.tie_embeddings, config.optim.sentence_lr_scale) == (
        "top_hidden", True, 0.3,
    )  # fmt: skip
    series = SeriesConfig.from_json((saved_run / "series" / "config.json").read_text(encoding="utf-8"))
    assert SeriesConfig.from_json(series.to_json()) == series
    assert (series.sizes, series.cell.initializer) == ((3, 5), "mirror")


def test_a_model_of_version_0_4_that_read_words_forwards_is_refused(copy, capsys):
    """With feedback "sentence" it read words forwards and sentences backwards, which no present config means."""
    saved = json.loads((copy / "config.json").read_text())
    saved["model"] |= {"feedback": "sentence", "initializer": "orthogonal"}
    (copy / "config.json").write_text(json.dumps(saved))
    assert main(["evaluate", "--workdir", str(copy)]) == 2
    error = capsys.readouterr().err
    assert error == (
        "hae: model.feedback must not be 'sentence' in a config of version 0.4 or earlier, got a model that reads "
        "words forwards. Use hae_jax 0.4 for it, or train it again.\n"
    )
    # Other models mean the same as before.
    for field in ({"reverse": False}, {"kind": "flat"}, {"feedback": "word"}):
        (copy / "config.json").write_text(json.dumps(saved | {"model": saved["model"] | field}))
        assert Config.load(copy / "config.json").model.feedback == field.get("feedback", "sentence")


def test_present_configs_with_feedback_are_read_as_written():
    config = Config(ModelConfig(feedback="sentence"))
    assert Config.from_json(config.to_json()) == config


@given(st.sampled_from(OPTIONS), st.integers(1, 100))
def test_fields_are_migrated_one_by_one(option, value):
    section, old = option[0].split(".")
    new = option[1].split(".")[1]
    assert migrate(section, {old: value}) == migrate(section, {new: value}) == {new: value}


@pytest.mark.parametrize(("old", "new"), OPTIONS)
def test_old_options_are_answered_with_the_present_name(capsys, old, new):
    assert new_name(old) == new
    assert main(["config", f"--{old}", "5"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"hae: --{old} must be written --{new}, got its old name. Use --{new}")
    for before, after in VALUES.get(new, {}).items():
        assert f"{after} for {before}" in error


@pytest.mark.parametrize(
    ("option", "old", "new"), [(o, *pair) for o, pairs in VALUES.items() for pair in pairs.items()]
)
def test_old_values_are_answered_with_the_present_one(capsys, option, old, new):
    section, field = option.split(".")
    (name,) = (name for name, renamed in RENAMED[section].items() if renamed == field)
    assert migrate(section, {name: old}) == {field: new}
    assert main(["config", f"--{option}", old]) == 2
    assert capsys.readouterr().err.endswith(f"got {old!r}. Did you mean {new}?\n")
