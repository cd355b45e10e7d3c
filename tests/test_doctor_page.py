"""docs/doctor.md shows what `hae doctor` prints, and its step for continuous integration works."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from test_doctor_command import FAULTY, HEALTHY, SCRIPT

from hae_jax.cli import main

PAGE = (Path(__file__).parents[1] / "docs" / "doctor.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent


def block(language, after=""):
    """Returns the first code block of a language, after a marker."""
    return re.search(rf"```{language}\n(.*?)```", PAGE[PAGE.index(after) :], re.DOTALL)[1]


def without_numbers(text):
    return [re.sub(r"[\d.]+(e[+-]\d+)?|[▁-█]+", "#", line.strip()) for line in text.splitlines()]


def run(command, folder):
    """Runs a command as the shell of GitHub Actions does; returns exit code and standard output."""
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-c", command], cwd=folder, env=os.environ | {"PATH": path}, capture_output=True, text=True,
        timeout=900,
    )  # fmt: skip
    return done.returncode, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "code"), [(FAULTY, 1), (HEALTHY, 0)])
def test_the_step_for_continuous_integration_fails_if_there_is_a_cause(tmp_path, rate, code):
    (step,) = re.findall(r"^- run: (.+)$", block("yaml", "<!-- ci -->"), re.MULTILINE)
    (tmp_path / "train.py").write_text(textwrap.dedent(SCRIPT).replace("{rate}", str(rate)), encoding="utf-8")
    assert run(step, tmp_path)[0] == code
    assert (tmp_path / "doctor.html").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "change", "code"),
    [("faulty", "", 1), ("healthy", "s/Adam(1.0)/Adam(0.01)/", 0)],
    ids=["faulty", "healthy"],
)
def test_the_example_prints_what_is_shown(tmp_path, name, change, code):
    pytest.importorskip("keras")
    (tmp_path / "train.py").write_text(block("python"), encoding="utf-8")
    found, written = run(f"sed -i '{change}' train.py && {block('sh')}", tmp_path)
    assert found == code
    shown = without_numbers(block("text", f"<!-- output:{name} -->"))
    assert without_numbers(written)[: len(shown)] == shown


def test_errors_are_those_that_are_shown(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    script = "\n" * 9 + "model = kers.Sequential()\n"
    (tmp_path / "train.py").write_text(script, encoding="utf-8")
    assert main(["doctor", "--script", "train.py:setup"]) == 2
    assert capsys.readouterr().err in PAGE
    assert main(["doctor", "--model.timescale", "9"]) == 2
    assert capsys.readouterr().err in PAGE
