"""Bad input: one line that says what is wrong and what to do, exit code 2, and nothing written or lost."""

import io
import itertools
import re
import shutil
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest
from support.trained_run import OPTIONS, corpus, trained

from hae_jax import training
from hae_jax.cli import main
from hae_jax.cli.parser import parse
from hae_jax.data.tokenizer import Tokenizer
from hae_jax.training import checkpoint
from hae_jax.training.compiled import CompiledStep

__all__ = ["corpus", "trained"]
# When a file is damaged, threads of TensorStore still call the event loop that Orbax has closed already.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
# The module: the package has a function of that name.
FIT = sys.modules["hae_jax.training.fit"]
HOUSE = re.compile(r"hae: .+ must .+, got .+\. .+\.\n|hae: .+ must .+, got .+\?\n|hae: .+ must .+: hae train .+\n")


@pytest.fixture
def complaint(capsys):
    """Runs a command that must fail as bad input does; returns its complaint."""

    def run(*words):
        capsys.readouterr()
        code = main([str(word) for word in words])
        written = capsys.readouterr()
        assert code == 2
        assert written.err.count("\n") == 1, written.err
        assert HOUSE.fullmatch(written.err), written.err
        return written.err

    return run


@pytest.fixture
def copy(trained, tmp_path):
    """A trained workdir that may be damaged."""
    return shutil.copytree(trained, tmp_path / "copy")


@pytest.mark.parametrize(
    ("words", "said"),
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
        (["train", "--workdir", "W", "--preset", "smal"], "Did you mean 'small'?"),
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
        (["reconstruct", "--workdir", "W", "--input", "f", "--beam", "2", "--top-p", "0.5"], "got --top_p beside it"),
        (["evaluate", "--workdir", "W"], "Train one: hae train --workdir W"),
        (["decode", "--workdir", "W", "--input", "none.npy"], "none.npy must be usable, got No such file"),
    ],
)
def test_a_wrong_line_is_answered_before_any_work(complaint, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    assert said in complaint(*words)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "existing path"),
        (b"", "must contain text"),
        (b"Fine so far.\xff", "0xff at offset 12"),
        (b"Short.\n\nShort too.", "got none among 2"),
    ],
)
def test_a_corpus_that_is_no_good_trains_nothing(complaint, tmp_path, content, said):
    path, workdir = tmp_path / "corpus.txt", tmp_path / "run"
    if content is not None:
        path.write_bytes(content)
    assert said in complaint("train", "--workdir", workdir, "--data.corpus", path, *OPTIONS)
    assert not workdir.exists() or not list(workdir.iterdir())


def test_another_config_is_told_by_its_fields_and_changes_nothing(complaint, copy):
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    said = complaint("train", "--workdir", copy, "--model.hidden_dim", "37", "--train.seed", "5")
    assert "another model.hidden_dim, train.seed" in said
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


def test_a_workdir_that_cannot_be_written_is_named(complaint, tmp_path, corpus):
    (tmp_path / "file").touch()
    workdir = tmp_path / "file" / "run"
    assert str(workdir) in complaint("train", "--workdir", workdir, "--data.corpus", corpus, *OPTIONS)


def cut(folder):
    for path in folder.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    "part",
    ["params", "."],
)
def test_a_truncated_checkpoint_gives_way_to_another_and_the_user_is_told(copy, capsys, part):
    folder = copy / "checkpoints"
    best = min(checkpoint.steps(folder), key=lambda step: checkpoint.loss_of(folder, step))
    cut(folder / str(best) / part)
    capsys.readouterr()
    assert main(["interpolate", "--workdir", str(copy), "--points", "2", "The rain began.", "Nobody came."]) == 0
    written = capsys.readouterr()
    assert len(written.out.splitlines()) == 2
    assert f"checkpoint {best} is damaged and skipped" in written.err


def test_without_a_whole_checkpoint_there_is_a_complaint(copy, capsys):
    cut(copy / "checkpoints")
    capsys.readouterr()
    assert main(["interpolate", "--workdir", str(copy), "The rain began.", "Nobody came."]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "must hold an intact checkpoint" in last
    assert HOUSE.fullmatch(last + "\n")


def test_a_foreign_vocabulary_is_noticed(complaint, copy):
    Tokenizer.train(["only a few words"], "word", 17).save(copy / "data" / "tokenizer.json")
    assert "tokenizer.json must have" in complaint("interpolate", "--workdir", copy, "The rain began.", "Nobody came.")


def test_a_foreign_vocabulary_of_the_same_size_is_noticed(complaint, copy):
    path = copy / "data" / "tokenizer.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"rain"', '"reign"'[:5] + '"'), encoding="utf-8")
    assert "must have the checksum" in complaint("interpolate", "--workdir", copy, "The rain began.", "Nobody came.")


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        (np.zeros((3, 47), np.float32), "shape [any, 96]"),
        (np.zeros(96, np.float32), "shape [any, 96]"),
        (np.full((2, 96), "x"), "must be numbers"),
        (np.full((2, 96), np.nan), "must be finite"),
        (None, "must be a whole .npy file"),
    ],
)
def test_codes_that_the_model_cannot_read_are_refused(complaint, trained, tmp_path, codes, said):
    path = tmp_path / "codes.npy"
    if codes is None:
        path.write_bytes(b"\x93NUMPY\x01\x00")
    else:
        np.save(path, codes)
    assert said in complaint("decode", "--workdir", trained, "--input", path)


def test_text_that_cannot_be_read_is_named_by_where_it_came_from(complaint, trained, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"Fine.\xfe")))
    assert "standard input with the byte 0xfe at offset 5" in complaint(
        "reconstruct", "--workdir", trained, "--input", "-"
    )
    output = tmp_path / "none" / "codes.npy"
    assert "existing folder" in complaint("encode", "--workdir", trained, "--input", "-", "--output", output)
    assert "at least one word" in complaint("interpolate", "--workdir", trained, "", "Nobody came.")
    assert "points must be at least 2" in complaint("interpolate", "--workdir", trained, "--points", "1", "A.", "B.")


def test_a_full_disk_is_told_in_a_line(complaint, monkeypatch, tmp_path):
    def fit(*_, **__):
        raise OSError(28, "No space left on device", "checkpoints/3")

    monkeypatch.setattr(training, "fit", fit)
    assert "checkpoints/3 must be usable, got No space left on device" in complaint("train", "--workdir", tmp_path)


EXHAUSTED = "RESOURCE_EXHAUSTED: Out of memory allocating 6585698735 bytes."


def out_of_memory():
    raise jax.errors.JaxRuntimeError(EXHAUSTED)


def after(steps, act):
    """Training steps, so many of which are as usual; the next one begins with an act."""

    class Interrupted(CompiledStep):
        def __init__(self, step):
            super().__init__(step)
            self.done = itertools.count()

        def __call__(self, *given):
            if next(self.done) == steps:
                act()
            return super().__call__(*given)

    return Interrupted


def test_a_first_step_without_memory_leaves_the_workdir_to_the_smaller_config(complaint, tmp_path, corpus, monkeypatch):
    monkeypatch.setattr(FIT, "CompiledStep", after(0, out_of_memory))
    words = ["train", "--workdir", tmp_path / "run", "--data.corpus", corpus, *OPTIONS]
    assert complaint(*words) == (
        "hae: data.batch_size must leave memory for a step, got 8. "
        "Use model.remat True, or data.batch_size 4 and optim.accumulate 2.\n"
    )
    assert complaint("train", "--workdir", tmp_path / "run", "--data.batch_size", "4", "--optim.accumulate", "2") == (
        "hae: data.batch_size must leave memory for a step, got 4. "
        "Use model.remat True, or data.batch_size 2 and optim.accumulate 4.\n"
    )


def test_a_later_step_without_memory_leaves_a_run_that_goes_on_with_less(complaint, tmp_path, corpus, monkeypatch):
    workdir = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(FIT, "CompiledStep", after(3, out_of_memory))
        said = complaint("train", "--workdir", workdir, "--data.corpus", corpus, *OPTIONS)
    assert said == (
        "hae: data.batch_size must leave memory for a step, got 8. Use model.remat True, or data.batch_size 4 and "
        "optim.accumulate 2 in a new workdir. What is trained so far is kept, up to step 2.\n"
    )
    assert checkpoint.steps(workdir / "checkpoints") == [2]
    # One more step is enough.
    monkeypatch.setattr(FIT, "CompiledStep", after(0, lambda: signal.raise_signal(signal.SIGTERM)))
    assert main(["train", "--workdir", str(workdir), "--model.remat", "True"]) == 143
    assert checkpoint.steps(workdir / "checkpoints") == [2, 3]


@pytest.mark.parametrize(
    ("words", "said"),
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
        (["evaluate"], "must fit into memory, got too little. Close"),
    ],
)
@pytest.mark.parametrize("error", [jax.errors.JaxRuntimeError(EXHAUSTED), MemoryError(), OverflowError("too large")])
def test_where_memory_does_not_suffice_a_smaller_size_is_named(complaint, tmp_path, monkeypatch, words, said, error):
    def run(self):
        raise error

    monkeypatch.setattr(type(parse([*words, "--workdir", str(tmp_path)])), "run", run)
    assert said in complaint(*words, "--workdir", tmp_path)


def test_the_process_ends_with_the_exit_code_and_no_traceback():
    ended = subprocess.run([sys.executable, "-m", "hae_jax", "trian"], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert HOUSE.fullmatch(ended.stderr)
    assert not ended.stdout
