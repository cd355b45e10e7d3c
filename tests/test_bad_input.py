"""Bad input: an error of one line with a repair, exit code 2, and nothing written or lost."""

import io
import itertools
import shutil
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest
from support.command import FORM, error_of
from support.trained_run import OPTIONS, corpus, trained

from hae_jax import training
from hae_jax.cli import main
from hae_jax.cli.parser import parse
from hae_jax.data.tokenizer import Tokenizer
from hae_jax.training import checkpoint
from hae_jax.training.compiled import CompiledStep

__all__ = ["corpus", "error_of", "trained"]
# When a file is damaged, threads of TensorStore still call the event loop that Orbax has closed already.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
# The module: the package has a function of that name.
FIT = sys.modules["hae_jax.training.fit"]


@pytest.fixture
def copy(trained, tmp_path):
    """A copy of the trained workdir."""
    return shutil.copytree(trained, tmp_path / "copy")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "Did you mean train?"),
        (["train"], "--workdir must be given"),
        (["train", "--workdir", "W", "--model.hiden", "8"], "Did you mean --model.hidden_dim?"),
        (["train", "--workdir", "W", "--hidden=8"], "Did you mean --model.hidden_dim?"),
        (
            ["train", "--workdir", "W", "--model.hidden_dim", "big"],
            "--model.hidden_dim must be a whole number, got 'big'",
        ),
        (["train", "--workdir", "W", "--model.hidden_dim"], "must have a value"),
        (["train", "--workdir", "W", "--optim.clip", "globalnorm"], "Did you mean global_norm?"),
        (["train", "--workdir", "W", "--model.tie_embeddings=perhaps"], "must be one of True, False"),
        (["train", "--workdir", "W", "--preset", "smal"], "Did you mean small?"),
        (["train", "--workdir", "W", "--preset", "serie"], "Did you mean series?"),
        (["train", "--workdir", "W", "--model.hidden_dim", "0"], "model.hidden_dim must be at least 1, got 0"),
        (["train", "--workdir", "W", "--data.min_sentences", "9"], "must be at most data.max_sentences (4), got 9"),
        (["train", "--workdir", "W", "--optim.learning_rate", "nan"], "must be finite, got nan"),
        (["train", "--workdir", "W", "--optim.learning_rate", "inf"], "must be finite, got inf"),
        (
            ["train", "--workdir", "W", "--model.hidden_dim", "10000000000000"],
            "model.hidden_dim must be at most 2,147,483,647",
        ),
        (["train", "--workdir", "W", "--model.layers", "100000000"], "model.layers must be at most 100"),
        (["train", "--workdir", "W", "--train.steps", "1" + "0" * 21], "train.steps must be at most 2,147,483,647"),
        (["train", "--workdir", "W", "--data.max_tokens", "1000000"], "data.max_tokens must be at most 10,000"),
        (["train", "--workdir="], "--workdir must have a value, got an empty one"),
        (["evaluate", "--workdir", "W", "letters.txt"], "must be given options only, got 'letters.txt'"),
        (["evaluate", "--workdir", "W", "--input"], "--input must have a value"),
        (["interpolate", "--workdir", "W", "one"], "must be given two texts"),
        (
            ["reconstruct", "--workdir", "W", "--input", "f", "--beam", "2", "--top-p", "0.5"],
            "must be used alone, got --top_p.",
        ),
        (["evaluate", "--workdir", "W"], "Train one: hae train --workdir W"),
        (["decode", "--workdir", "W", "--input", "none.npy"], "none.npy must be usable, got No such file"),
    ],
)
def test_an_invalid_command_line_is_refused_before_any_work(error_of, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    assert message in error_of(*words)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "existing path"),
        (b"", "must contain text"),
        (b"Fine so far.\xff", "0xff at offset 12"),
        (b"Short.\n\nShort too.", "got none among 2"),
    ],
)
def test_an_invalid_corpus_trains_nothing(error_of, tmp_path, content, message):
    path, workdir = tmp_path / "corpus.txt", tmp_path / "run"
    if content is not None:
        path.write_bytes(content)
    assert message in error_of("train", "--workdir", workdir, "--data.corpus", path, *OPTIONS)
    assert not workdir.exists() or not list(workdir.iterdir())


def test_fields_of_another_config_are_named_and_nothing_changes(error_of, copy):
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    message = error_of("train", "--workdir", copy, "--model.hidden_dim", "37", "--train.seed", "5")
    assert "another model.hidden_dim, train.seed" in message
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


def test_a_workdir_that_cannot_be_written_is_named(error_of, tmp_path, corpus):
    (tmp_path / "file").touch()
    workdir = tmp_path / "file" / "run"
    assert str(workdir) in error_of("train", "--workdir", workdir, "--data.corpus", corpus, *OPTIONS)


def cut(folder):
    for path in folder.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    "part",
    ["params", "."],
)
def test_a_damaged_checkpoint_is_reported_and_another_is_loaded(copy, capsys, part):
    folder = copy / "checkpoints"
    best = min(checkpoint.steps(folder), key=lambda step: checkpoint.loss_of(folder, step))
    cut(folder / str(best) / part)
    capsys.readouterr()
    assert main(["interpolate", "--workdir", str(copy), "--points", "2", "The rain began.", "Nobody came."]) == 0
    written = capsys.readouterr()
    assert len(written.out.splitlines()) == 2
    assert f"checkpoint {best} is damaged and skipped" in written.err


def test_a_run_without_an_intact_checkpoint_is_refused(copy, capsys):
    cut(copy / "checkpoints")
    capsys.readouterr()
    assert main(["interpolate", "--workdir", str(copy), "The rain began.", "Nobody came."]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "must hold an intact checkpoint" in last
    assert FORM.fullmatch(last + "\n")


def test_a_vocabulary_of_another_size_is_refused(error_of, copy):
    Tokenizer.train(["only a few words"], "word", 17).save(copy / "data" / "tokenizer.json")
    assert "tokenizer.json must have" in error_of("interpolate", "--workdir", copy, "The rain began.", "Nobody came.")


def test_another_vocabulary_of_the_same_size_is_refused(error_of, copy):
    path = copy / "data" / "tokenizer.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"rain"', '"reign"'[:5] + '"'), encoding="utf-8")
    assert "must have the checksum" in error_of("interpolate", "--workdir", copy, "The rain began.", "Nobody came.")


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.zeros((3, 47), np.float32), "shape [any, 256]"),
        (np.zeros(256, np.float32), "shape [any, 256]"),
        (np.full((2, 256), "x"), "must be numbers"),
        (np.full((2, 256), np.nan), "must be finite"),
        (None, "must be a whole .npy file"),
    ],
)
def test_invalid_codes_are_refused(error_of, trained, tmp_path, codes, message):
    path = tmp_path / "codes.npy"
    if codes is None:
        path.write_bytes(b"\x93NUMPY\x01\x00")
    else:
        np.save(path, codes)
    assert message in error_of("decode", "--workdir", trained, "--input", path)


def test_unreadable_text_is_named_by_its_source(error_of, trained, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"Fine.\xfe")))
    assert "standard input with the byte 0xfe at offset 5" in error_of(
        "reconstruct", "--workdir", trained, "--input", "-"
    )
    output = tmp_path / "none" / "codes.npy"
    assert "existing folder" in error_of("encode", "--workdir", trained, "--input", "-", "--output", output)
    assert "at least one word" in error_of("interpolate", "--workdir", trained, "", "Nobody came.")
    assert "points must be at least 2" in error_of("interpolate", "--workdir", trained, "--points", "1", "A.", "B.")


def test_a_full_disk_is_reported_in_one_line(error_of, monkeypatch, tmp_path):
    def fit(*_, **__):
        raise OSError(28, "No space left on device", "checkpoints/3")

    monkeypatch.setattr(training, "fit", fit)
    assert "checkpoints/3 must be usable, got No space left on device" in error_of("train", "--workdir", tmp_path)


EXHAUSTED = "RESOURCE_EXHAUSTED: Out of memory allocating 6585698735 bytes."


def out_of_memory():
    raise jax.errors.JaxRuntimeError(EXHAUSTED)


def after(steps, act):
    """Returns training steps that call `act` before the step after the first `steps`."""

    class Interrupted(CompiledStep):
        def __init__(self, step):
            super().__init__(step)
            self.done = itertools.count()

        def __call__(self, *arguments):
            if next(self.done) == steps:
                act()
            return super().__call__(*arguments)

    return Interrupted


def test_a_first_step_without_memory_leaves_the_workdir_to_the_smaller_config(error_of, tmp_path, corpus, monkeypatch):
    monkeypatch.setattr(FIT, "CompiledStep", after(0, out_of_memory))
    words = ["train", "--workdir", tmp_path / "run", "--data.corpus", corpus, *OPTIONS]
    assert error_of(*words) == (
        "hae: data.batch_size must leave memory for a step, got 8. "
        "Use model.remat True, or data.batch_size 4 and optim.accumulate 2.\n"
    )
    assert error_of("train", "--workdir", tmp_path / "run", "--data.batch_size", "4", "--optim.accumulate", "2") == (
        "hae: data.batch_size must leave memory for a step, got 4. "
        "Use model.remat True, or data.batch_size 2 and optim.accumulate 4.\n"
    )


def test_a_later_step_without_memory_leaves_a_run_that_goes_on_with_less(error_of, tmp_path, corpus, monkeypatch):
    workdir = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(FIT, "CompiledStep", after(3, out_of_memory))
        message = error_of("train", "--workdir", workdir, "--data.corpus", corpus, *OPTIONS)
    assert message == (
        "hae: data.batch_size must leave memory for a step, got 8. Use model.remat True, or data.batch_size 4 and "
        "optim.accumulate 2 in a new workdir. The checkpoint of step 2 is kept.\n"
    )
    assert checkpoint.steps(workdir / "checkpoints") == [2]
    # One more step suffices.
    monkeypatch.setattr(FIT, "CompiledStep", after(0, lambda: signal.raise_signal(signal.SIGTERM)))
    assert main(["train", "--workdir", str(workdir), "--model.remat", "True"]) == 143
    assert checkpoint.steps(workdir / "checkpoints") == [2, 3]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["train", "--data.batch_size", "33"],
            "got 33. Use model.remat True, or data.batch_size 16 and optim",
        ),
        (["train", "--model.remat", "True", "--data.batch_size", "2"], "Use data.batch_size 1 and optim.accumulate 2."),
        (["train", "--data.batch_size", "1"], "got 1. Use model.remat True."),
        (
            ["train", "--model.remat", "True", "--data.batch_size", "1", "--model.hidden_dim", "512"],
            "model.hidden_dim must fit into memory, got 512. Use model.hidden_dim 256 in a new workdir.",
        ),
        (["train", "--preset", "series", "--train.batch_size", "64"], "got 64. Use train.batch_size 32."),
        (
            ["gradients", "--data.batch_size", "64"],
            "data.batch_size must fit into memory, got 64. Use data.ba",
        ),
        (["reconstruct", "--input", "-", "--beam", "8"], "beam must fit into memory, got 8. Use beam 4."),
        (["evaluate"], "must fit into memory, got too little. Close other"),
    ],
)
@pytest.mark.parametrize("error", [jax.errors.JaxRuntimeError(EXHAUSTED), MemoryError(), OverflowError("too large")])
def test_out_of_memory_advice_names_a_smaller_size(error_of, tmp_path, monkeypatch, words, message, error):
    def run(self):
        raise error

    monkeypatch.setattr(type(parse([*words, "--workdir", str(tmp_path)])), "run", run)
    assert message in error_of(*words, "--workdir", tmp_path)


def test_the_process_ends_with_the_exit_code_and_no_traceback():
    ended = subprocess.run([sys.executable, "-m", "hae_jax", "trian"], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert FORM.fullmatch(ended.stderr)
    assert not ended.stdout
