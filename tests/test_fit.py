"""Whole runs of a very small model: interrupted or damaged, they end with the same result."""

import dataclasses
import io
import os
import random
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest
from rich.console import Console

from hae_jax.config import Config, DataConfig, ModelConfig, OptimConfig, TrainConfig
from hae_jax.data import prepare
from hae_jax.trained import TrainedModel
from hae_jax.training import NonFinite, checkpoint, fit
from hae_jax.training.metrics_log import read_lines

# When a file is damaged, threads of TensorStore still call the event loop that Orbax has closed already.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
TIMES = {"seconds", "words_per_second", "late_batches", "compile_seconds", "memory"}
PROGRAMS = {f"jit({name})" for name in ("step", "encode", "score", "_greedy")}
SCRIPT = """
import sys
from pathlib import Path
from hae_jax.config import Config
from hae_jax.training import fit
raise SystemExit(fit(Config.load(Path(sys.argv[1])), Path(sys.argv[2])).exit_code)
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A config on a file of random sentences."""
    rng = random.Random(5)
    words = ["the", "a", "red", "small", "dog", "cat", "house", "river", "sees", "likes", "near", "and", "slowly"]

    def sentence():
        return " ".join(rng.choices(words, k=rng.randint(2, 7))).capitalize() + "."

    paragraphs = (" ".join(sentence() for _ in range(rng.randint(2, 3))) for _ in range(101))
    path = tmp_path_factory.mktemp("corpus") / "text.txt"
    path.write_text("\n\n".join(paragraphs), encoding="utf-8")
    return Config(
        ModelConfig(embed_dim=5, hidden_dim=7, sentence_dim=11, word_dropout=0.3),
        DataConfig(corpus=str(path), vocab_size=29, max_sentences=3, max_tokens=7, batch_size=8, holdout=0.2),
        OptimConfig(warmup=3, accumulate=3),
        TrainConfig(steps=22, log_every=3, eval_every=8, eval_documents=5, save_every=4, keep=3),
    )


def train(config, workdir, react=None):
    """Runs `fit`; returns its outcome and what it printed. `react` sees the text so far after every write."""

    class Paper(io.StringIO):
        def write(self, text):
            super().write(text)
            if react is not None:
                react(self.getvalue())

    paper = Paper()
    return fit(config, workdir, Console(file=paper, width=100)), paper.getvalue()


def with_train(config, **changes):
    return dataclasses.replace(config, train=dataclasses.replace(config.train, **changes))


@pytest.fixture(scope="module")
def compiled():
    """What the uninterrupted run compiled: how many evaluations had been printed, and the name of the function."""
    return []


@pytest.fixture(scope="module")
def whole(config, compiled, tmp_path_factory):
    """An uninterrupted run: workdir, outcome, and what it printed."""
    workdir, evaluations = tmp_path_factory.mktemp("whole") / "run", 0

    def note(event, seconds, **labels):
        if event.endswith("/backend_compile_duration"):
            compiled.append((evaluations, labels["fun_name"]))

    def count(text):
        nonlocal evaluations
        evaluations = text.count("held-out loss")

    jax.monitoring.register_event_duration_secs_listener(note)
    try:
        return workdir, *train(config, workdir, count)
    finally:
        jax.monitoring.unregister_event_duration_listener(note)


def arrays(workdir, step=22):
    """All arrays of a checkpoint by name."""
    parts = checkpoint.read(workdir / "checkpoints" / str(step), ("params", "rest"))[1]
    return {f"{part}/{name}": array for part, leaves in parts.items() for name, array in leaves.items()}


def stretches(workdir):
    """Lines of the journal without times, by kind and the steps that they cover."""
    lines, since = {}, 0
    for line in read_lines(workdir / "metrics.jsonl"):
        lines[line["kind"], since, line["step"]] = {key: line[key] for key in line.keys() - TIMES}
        since = line["step"]
    return lines


def assert_same_run(workdir, whole):
    """Same arrays, bit for bit, and the same numbers, but for the stretches that were cut in two."""
    expected, actual = arrays(whole), arrays(workdir)
    assert expected.keys() == actual.keys()
    for name in expected:
        np.testing.assert_array_equal(actual[name], expected[name], err_msg=name)
    expected, actual = stretches(whole), stretches(workdir)
    common = expected.keys() & actual.keys()
    assert len(common) > len(expected) - 4
    assert {key: actual[key] for key in common} == {key: expected[key] for key in common}


def test_a_run_leaves_everything_behind(config, whole):
    workdir, outcome, text = whole
    assert (outcome.step, outcome.reason, outcome.exit_code) == (22, "steps", 0)
    assert Config.load(workdir / "config.json") == config
    kinds = [(line["step"], line["kind"]) for line in read_lines(workdir / "metrics.jsonl")]
    assert [step for step, kind in kinds if kind == "train"] == [3, 4, 6, 8, 9, 12, 15, 16, 18, 20, 21, 22]
    assert [step for step, kind in kinds if kind == "evaluation"] == [8, 16]
    assert kinds[-1] == (22, "final")
    assert text.count("reconstruction") == 3
    assert "step 8: held-out loss" in text
    assert outcome.evaluation.documents > config.train.eval_documents
    assert {20, 22} < set(checkpoint.steps(workdir / "checkpoints"))


def test_a_run_reports_the_cost_of_compilation_once(whole):
    first, *others = [line for line in read_lines(whole[0] / "metrics.jsonl") if line["kind"] == "train"]
    state = sum(array.nbytes for array in arrays(whole[0]).values())
    assert 0 < first["compile_seconds"] < first["seconds"]
    assert state < first["memory"]
    assert not any("compile_seconds" in line for line in others)
    assert "compiled in" in whole[2].splitlines()[0]


def test_a_run_compiles_a_handful_of_programs_and_none_twice(whole, compiled):
    names = [name for _, name in compiled if name in PROGRAMS]
    assert set(names) == PROGRAMS
    assert len(names) <= 8
    assert [name for evaluations, name in compiled if evaluations == 1] == []


def test_a_complete_run_is_left_as_it_is(config, whole):
    workdir, _, _ = whole
    before = {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file()}
    outcome, text = train(config, workdir)
    assert (outcome.step, outcome.reason, outcome.evaluation) == (22, "steps", None)
    assert "this run is complete, at step 22" in text
    assert {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file()} == before


def test_a_run_opens_with_the_best_parameters(whole, config):
    workdir, _, _ = whole
    run = TrainedModel.load(workdir)
    losses = {
        step: checkpoint.loss_of(workdir / "checkpoints", step) for step in checkpoint.steps(workdir / "checkpoints")
    }
    assert run.step == min((loss, step) for step, loss in losses.items() if loss is not None)[1]
    assert run.config == config
    for name, leaf in checkpoint.named_leaves(run.params).items():
        np.testing.assert_array_equal(leaf, arrays(workdir, run.step)[f"params/{name}"])


def test_a_folder_without_a_run_does_not_open(tmp_path):
    with pytest.raises(ValueError, match=r"workdir must hold a run, got no config.json in .* Train one: hae train"):
        TrainedModel.load(tmp_path)


def test_a_terminated_run_resumes_to_the_same_end(config, whole, tmp_path):
    """SIGTERM to a process of its own, while it trains."""
    config.save(tmp_path / "config.json")
    workdir = tmp_path / "run"
    env = os.environ | {"PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "config.json"), str(workdir)],
        stdout=subprocess.PIPE, text=True, env=env,
    )  # fmt: skip
    with process:
        for line in process.stdout:
            if line.startswith("step 6/"):
                process.send_signal(signal.SIGTERM)
    assert process.returncode == 143
    (newest,) = checkpoint.steps(workdir / "checkpoints")[-1:]
    assert 6 <= newest < 22
    outcome, text = train(config, workdir)
    assert f"resuming from step {newest}" in text
    assert outcome.reason == "steps"
    assert_same_run(workdir, whole[0])


def test_interrupted_damaged_and_out_of_time_it_still_ends_with_the_same_result(config, whole, tmp_path):
    sent = []

    def interrupt(text):
        if "step 9/" in text and not sent:
            sent.append(signal.raise_signal(signal.SIGINT))

    outcome, _ = train(config, tmp_path, interrupt)
    assert (outcome.reason, outcome.signal, outcome.exit_code) == ("signal", signal.SIGINT, 130)
    assert outcome.step == 9

    (path,) = (path for path in (tmp_path / "checkpoints/9/params/d").iterdir() if path.stat().st_size)
    path.write_bytes(path.read_bytes()[:-7])
    outcome, text = train(with_train(config, minutes=1e-9), tmp_path)
    assert "checkpoint 9 is damaged and skipped" in text
    assert "resuming from step 8" in text
    assert (outcome.step, outcome.reason) == (8, "minutes")

    assert train(config, tmp_path)[0].step == 22
    assert_same_run(tmp_path, whole[0])


@pytest.mark.parametrize(
    ("section", "change"), [("model", {"hidden_dim": 11}), ("optim", {"b1": 0.5}), ("train", {"seed": 1, "steps": 23})]
)
def test_a_workdir_of_another_config_is_refused(config, whole, section, change):
    other = dataclasses.replace(config, **{section: dataclasses.replace(getattr(config, section), **change)})
    names = ", ".join(f"{section}.{name}" for name in change)
    with pytest.raises(ValueError, match=f"must hold a run of the same config, got .* with another {names}. Use a new"):
        fit(other, whole[0])


def test_a_workdir_of_a_model_of_series_is_refused_and_kept(config, tmp_path):
    for name in ("config.json", "facts.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(ValueError, match=r"workdir must be new or hold a run on text, got one on series in .*Use an"):
        fit(config, tmp_path)
    assert (tmp_path / "config.json").read_text() == "{}"


def test_a_config_alone_is_no_trained_run(config, tmp_path):
    config.save(tmp_path / "config.json")
    with pytest.raises(ValueError, match=r"must hold a trained run, got a config alone in .* Train it: hae train --wo"):
        TrainedModel.load(tmp_path)


def test_a_workdir_that_cannot_be_written_is_refused(config, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"workdir must be a folder that can be written to, got .*file"):
        fit(config, tmp_path / "file")


def test_a_run_that_diverges_stops_and_names_the_gradient(config, tmp_path):
    wild = dataclasses.replace(with_train(config, max_skipped=5), optim=OptimConfig(learning_rate=1e15, warmup=0))
    with pytest.raises(NonFinite, match=r"steps 2 to 6 must be finite, .* gradient of \S+/\S+ is the first"):
        train(wild, tmp_path)
    state = arrays(tmp_path, 4)
    assert all(np.isfinite(array).all() for name, array in state.items() if name.startswith("params"))
    assert int(state["rest/skipped_total"]) == 3


def test_another_vocabulary_than_the_checkpoint_s_is_refused(whole, tmp_path):
    workdir = whole[0]
    other = dataclasses.replace(Config.load(workdir / "config.json").data, vocab_size=11)
    prepare(other, tmp_path / "data")
    (tmp_path / "checkpoints").symlink_to(workdir / "checkpoints")
    (tmp_path / "config.json").symlink_to(workdir / "config.json")
    with pytest.raises(
        ValueError, match=r"must match the model: .* Use the config and the vocabulary it was trained with"
    ):
        TrainedModel.load(tmp_path)
