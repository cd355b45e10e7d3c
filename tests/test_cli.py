"""`hae` on a small run: output and exit code of every command."""

import io
import itertools
import math
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from support.command import hae, rows
from support.trained_run import OPTIONS, PARAGRAPHS, STEPS, corpus, trained, windows

from hae_jax import __version__, training
from hae_jax.cli import main
from hae_jax.cli.commands import COMMANDS
from hae_jax.cli.parser import options, parse
from hae_jax.config import Config
from hae_jax.config.presets import PRESETS, preset
from hae_jax.inference import text_batches, texts

__all__ = ["corpus", "hae", "trained"]
SCORES = ("loss", "perplexity", "token_accuracy", "code_gap", "bleu", "rouge1", "rouge2", "rougeL", "exact_match")


class Interrupted(io.StringIO):
    """An output that raises a signal in the middle of its n-th line."""

    def __init__(self, number, line):
        super().__init__()
        self.number, self.line = number, line

    def write(self, text):
        if "{" in text:
            self.line -= 1
            if not self.line:
                signal.raise_signal(self.number)
        return super().write(text)


@pytest.mark.parametrize("name", PRESETS)
def test_config_prints_the_preset(hae, name):
    assert Config.from_json(hae("config", "--preset", name)) == preset(name)


def test_every_field_is_an_option():
    fields = {f"{section}.{name}" for section, part in vars(Config()).items() for name in vars(part)}
    assert fields <= set(options(COMMANDS["train"]))
    assert fields <= set(options(COMMANDS["config"]))


@pytest.mark.parametrize(
    ("words", "section", "field", "value"),
    [
        (["--model.hidden_dim", "37"], "model", "hidden_dim", 37),
        (["--optim.learning-rate=1e-3"], "optim", "learning_rate", 1e-3),
        (["--model.initializer", "flax", "--model.forget_bias", "-1.5"], "model", "forget_bias", -1.5),
        (["--model.tie_embeddings", "false"], "model", "tie_embeddings", False),
        (["--model.attention"], "model", "attention", True),
        (["--data.corpus", "my letters.txt"], "data", "corpus", "my letters.txt"),
        (["--train.seed", "3", "--train.seed", "5"], "train", "seed", 5),
    ],
)
def test_options_are_parsed_in_every_spelling(hae, words, section, field, value):
    config = Config.from_json(hae("config", *words))
    assert getattr(getattr(config, section), field) == value


def test_the_same_command_resumes(hae, trained, corpus):
    before = (trained / "metrics.jsonl").read_bytes()
    again = hae("train", "--workdir", trained, "--data.corpus", corpus, *OPTIONS)
    assert f"complete, at step {STEPS}" in again
    assert (trained / "metrics.jsonl").read_bytes() == before


def test_a_run_is_resumed_without_its_options(trained):
    stored = Config.load(trained / "config.json")
    assert parse(["train", "--workdir", str(trained)]).config == stored
    longer = parse(["train", "--workdir", str(trained), "--train.minutes", "2"]).config
    assert (longer.train.minutes, longer.model) == (2.0, stored.model)


def test_evaluate_writes_all_scores_as_one_object(hae, trained, corpus):
    for scores in rows(hae("evaluate", "--workdir", trained, "--json")) + rows(
        hae("evaluate", "--workdir", trained, "--input", corpus, "--json")
    ):
        assert all(math.isfinite(scores[name]) for name in SCORES)
        assert "coherence" in scores
        assert scores["by_length"]
        assert set(scores["by_position"]) >= {"1", "2"}
    assert scores["documents"] == sum(map(windows, PARAGRAPHS))


def test_evaluate_prints_tables(hae, trained):
    text = hae("evaluate", "--workdir", trained)
    assert "code_gap" in text
    assert "step" in text
    assert "token accuracy" in text


def test_reconstruct_reports_its_speed_at_the_end(trained, capsys, monkeypatch, tmp_path):
    path = tmp_path / "three.txt"
    path.write_text("The rain began. Nobody came.\n\nThe ferryman came home.\n\nThe rain, the mill.", encoding="utf-8")
    line = r"hae: 3 documents, 18 words, [\d,]+ words/s\n"
    words = ["reconstruct", "--workdir", str(trained), "--input", str(path)]
    capsys.readouterr()
    assert main(words) == 0
    plain = capsys.readouterr()
    # Punctuation marks count as words: 4 + 3, 5, 6.
    assert re.fullmatch(line, plain.err)
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    assert main(words) == 0
    assert capsys.readouterr().out == plain.out, "a bar changes nothing on standard output"
    assert re.search(line + r"\Z", terminal.getvalue())
    assert "reconstructing" in terminal.getvalue()
    assert "3/3" in terminal.getvalue()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_whole_lines(trained, corpus, capsys, monkeypatch, number):
    words, lines = ["reconstruct", "--workdir", str(trained), "--input", str(corpus)], 5
    monkeypatch.setattr(text_batches, "DOCS", 7)
    out = Interrupted(number, lines)
    monkeypatch.setattr(sys, "stdout", out)
    capsys.readouterr()
    assert main(words) == 128 + number
    assert [row["source"] for row in rows(out.getvalue())] == PARAGRAPHS[:lines]
    assert out.getvalue().endswith("}\n")
    assert capsys.readouterr().err == ""


def test_an_interrupted_computation_leaves_finished_lines(trained, corpus, capsys, monkeypatch):
    decode_batch, parts = texts.decode_batch, itertools.count()

    def interrupted(*arguments):
        if next(parts) == 2:
            signal.raise_signal(signal.SIGINT)
        return decode_batch(*arguments)

    monkeypatch.setattr(text_batches, "DOCS", 7)
    monkeypatch.setattr(texts, "decode_batch", interrupted)
    capsys.readouterr()
    assert main(["reconstruct", "--workdir", str(trained), "--input", str(corpus)]) == 130
    written = capsys.readouterr()
    codes = list(itertools.accumulate(map(windows, PARAGRAPHS)))
    assert [row["source"] for row in rows(written.out)] == PARAGRAPHS[: sum(end <= 14 for end in codes)]
    assert written.err == ""


def test_text_is_read_from_standard_input_and_from_columns(hae, trained, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("Grüße from the mill.\n\nTwo.".encode())))
    assert [r["source"] for r in rows(hae("reconstruct", "--workdir", trained, "--input", "-"))] == [
        "Grüße from the mill.",
        "Two.",
    ]
    path = tmp_path / "table.csv"
    path.write_text("id,note\n1,The rain began.\n", encoding="utf-8")
    found = rows(hae("reconstruct", "--workdir", trained, "--input", path, "--data.field", "note"))
    assert found[0]["source"] == "The rain began."


def test_interpolation_has_both_ends(hae, trained):
    found = rows(hae("interpolate", "--workdir", trained, "--points=3", "--", "The rain began.", "-- Nobody came."))
    assert [row["share"] for row in found] == [0.0, 0.5, 1.0]


def test_decoding_samples_or_uses_a_beam_on_request(hae, trained):
    ends = ["interpolate", "--workdir", trained, "--points", "2", "The rain began.", "Nobody came."]
    sampled = [hae(*ends, "--temperature", "1.5", "--top-p", "0.9", "--seed", seed) for seed in (3, 3, 4)]
    assert sampled[0] == sampled[1] != sampled[2]
    assert hae(*ends, "--beam", "1") == hae(*ends)


def test_signals_and_divergence_have_exit_codes(monkeypatch, capsys, tmp_path):
    def ends(how):
        def fit(*_, **__):
            if isinstance(how, BaseException):
                raise how
            return training.FitResult(3, "signal", how)

        monkeypatch.setattr(training, "fit", fit)
        return main(["train", "--workdir", str(tmp_path)])

    assert [ends(number) for number in (signal.SIGINT, signal.SIGTERM)] == [130, 143]
    assert ends(KeyboardInterrupt()) == 130
    assert ends(training.NonFinite("loss must be finite, got nan in steps 3 to 5.")) == 3
    assert capsys.readouterr().err == "hae: loss must be finite, got nan in steps 3 to 5.\n"


def test_a_bug_keeps_its_traceback(monkeypatch, tmp_path):
    monkeypatch.setattr(training, "fit", lambda *_, **__: np.zeros(3).reshape(2))
    with pytest.raises(ValueError, match="reshape"):
        main(["train", "--workdir", str(tmp_path)])


def test_help_fits_and_names_every_command(hae, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    text = hae("--help")
    assert all(name in text for name in COMMANDS)
    assert len(text.splitlines()) < 50
    for name in COMMANDS:
        assert max(map(len, hae(name, "--help").splitlines())) <= 100
    assert hae("--version") == f"hae_jax {__version__}\n"


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["--version"], ["config"]])
def test_help_imports_no_jax(words):
    code = f"import sys; from hae_jax.cli import main; main({words}); print(*sys.modules, file=sys.stderr)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ended.stdout
    assert "tyro" in ended.stderr.split()
    heavy = {
        "jax",
        "flax",
        "optax",
        "orbax",
        "matplotlib",
        "sklearn",
        "tokenizers",
        "hae_jax.trained",
        "hae_jax.doctor",
    }
    assert not heavy & set(ended.stderr.split())


def test_a_closed_standard_output_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        [sys.executable, "-m", "hae_jax", "config"], stdout=writing, stderr=subprocess.PIPE, timeout=60
    )
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, b"")


def test_libraries_are_silent(trained):
    words = [
        sys.executable,
        "-m",
        "hae_jax",
        "interpolate",
        "--workdir",
        trained,
        "--points",
        "2",
        "A mill.",
        "A hill.",
    ]
    ended = subprocess.run(words, capture_output=True, timeout=120)
    assert (ended.returncode, ended.stderr, len(ended.stdout.splitlines())) == (0, b"", 2)
