"""The README, the changelog and the architecture page agree with the code."""

import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.trained_run import corpus, trained  # noqa: F401, they are fixtures

import hae_jax
from benchmarks import highlights
from benchmarks.doctor.models.threads import THREADS
from benchmarks.harness import report
from benchmarks.harness.record import RESULTS
from hae_jax.cli.parser import parse
from hae_jax.config import preset
from hae_jax.diagnosis import twin
from hae_jax.diagnosis.twin import Trained
from hae_jax.doctor import Report

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PAGES = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    *(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")),
    *(page.relative_to(ROOT).as_posix() for page in (ROOT / "hae_jax").rglob("README.md")),
]


def block_after(text: str, heading: str) -> list[str]:
    """Lines of the first code block without a language under a heading."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text.split(f"## {heading}\n")[1], re.DOTALL | re.MULTILINE)
    return next(code for language, code in blocks if not language).splitlines()


def mapped() -> list[str]:
    """Paths that the file list of the architecture page names."""
    lines = block_after(ARCHITECTURE, "The files")
    folders, paths = [], []
    for line in lines:
        name = line.split()[0]
        folders = folders[: (len(line) - len(line.lstrip())) // 2]
        paths.append("".join(folders) + name)
        if name.endswith("/"):
            folders.append(name)
    return paths


def example(word: str) -> str:
    """The README's Python block that contains a word."""
    (found,) = (code for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if word in code)
    return found


def commands() -> list[str]:
    """Lines of the README's shell blocks that call `hae` by name."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("hae ")]


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 200


def test_the_readme_lists_every_folder_and_no_other():
    lines = block_after(README, "Folders")
    listed = {line.split()[0] for line in lines}
    packages = {path.parent.relative_to(ROOT).as_posix() + "/" for path in (ROOT / "hae_jax").glob("*/__init__.py")}
    assert packages == {name for name in listed if name.startswith("hae_jax/")}
    assert not [name for name in listed if not (ROOT / name).is_dir()]
    (benchmarks,) = (line for line in lines if line.startswith("benchmarks/"))
    folders = {path.name for path in (ROOT / "benchmarks").iterdir() if path.is_dir() and path.name[0] not in "_."}
    assert folders == set(re.findall(r"(\w+)/", benchmarks)) - {"benchmarks"}
    assert not re.findall(r"\.py\b", "\n".join(lines))


def test_the_readme_holds_excerpts_of_the_results_page():
    assert {summary.table for summary in highlights.SUMMARIES} == set(re.findall(r"<!-- table:(\w+) -->", README))
    numbers = r"\d[\d,.e+-]*"
    results = set(re.findall(numbers, (ROOT / "docs" / "results.md").read_text(encoding="utf-8")))
    for summary in highlights.SUMMARIES:
        text = report.tables(summary, RESULTS)
        assert text in README
        assert set(re.findall(numbers, text)) <= results


@pytest.mark.parametrize("rows", [highlights.ABLATION, highlights.INITIALIZATIONS], ids=["ablation", "initialization"])
def test_every_selected_row_is_shown(rows):
    assert not [name for name in rows.values() if f"| {name} |" not in README]


def test_every_selected_contender_is_shown():
    for cell, names in highlights.CONTENDERS.items():
        assert not [name for name in (cell, *names) if f"| {name} |" not in README]


def test_an_excerpt_keeps_numbers_and_order():
    table = "| a | b | c |\n|---|---|---|\n| x | 1 | 2 |\n| y | 3 | 4 |\n| z | 5 | 6 |\n\nNot part of the table."
    assert highlights.select(table, {"c": "loss", "a": "model"}).splitlines()[2:] == [
        "| 2 | x |",
        "| 4 | y |",
        "| 6 | z |",
    ]
    rows = {"z": "last", "x": "first", "absent": "-"}
    expected = ["| a | gap |", "|---|---|", "| first | 1 |", "| last | 5 |"]
    assert highlights.select(table, {"a": "a", "b": "gap"}, rows).splitlines() == expected
    with pytest.raises(ValueError, match="'d'"):
        highlights.select(table, {"d": "d"})


@pytest.mark.filterwarnings("ignore:.* exceed one code")  # BPE of a small corpus has short tokens
def test_the_example_of_texts_runs(trained):  # noqa: F811
    found = {}
    exec(example("hae_jax.load").replace("runs/first", str(trained)), found)
    config = found["model"].config.model
    assert found["codes"].shape == (2, config.sentence_dim + config.topic_dim)
    assert found["topics"].shape == (2, config.topic_dim)


def test_the_example_of_series_runs():
    pytest.importorskip("sklearn")
    found = {"series": [np.sin(np.arange(time) / 2) for time in (9, 14, 11, 16)]}
    exec(example("SeriesAutoencoder").replace("SeriesAutoencoder()", "SeriesAutoencoder(sizes=(5, 3), steps=3)"), found)
    assert len(found["codes"]) == len(found["anomalous"]) == 4


def test_the_example_of_the_doctor_runs():
    code = example("hae_jax.examine").replace("optax.adam(8e-3)", "optimizer")
    found = {"hae_jax": hae_jax, "print": lambda report: None} | THREADS["keras-team/keras#1855"][1]()
    exec(code, found)
    assert found["report"].findings[0].cause == "padding-in-encoder"


def test_the_report_that_is_shown_is_that_of_a_code_which_only_the_healthy_twin_reads(monkeypatch):
    """The command itself takes a minute; it trains both for 200 steps."""
    sick = replace(preset("small"), model=replace(preset("small").model, initializer="flax"))
    runs = {sick: Trained([26.1, 11.9], 0.2, 5.7, True), preset("small"): Trained([1.9, 0.6], 8.7, 0.2, True)}
    monkeypatch.setattr(twin, "train", lambda config, steps, deadline: runs[config])
    report = Report([], [], {}, {}, [], 1.0, 200)
    report = twin.compare_twins(report, sick, preset("small"), lambda config: config, retrain=True)
    shown = block_after(README, "The doctor")
    written = [re.sub(r"[\d.]+", "#", line.strip()) for line in str(report).splitlines()]
    assert [re.sub(r"[\d.]+", "#", line.strip()) for line in shown] == written[: len(shown)]


def test_the_file_list_names_every_file_and_no_other():
    written = {
        path.relative_to(ROOT).as_posix()
        for folder in ("hae_jax", "benchmarks", "notebooks")
        for ending in ("py", "ipynb")
        for path in (ROOT / folder).rglob(f"*.{ending}")
        if path.name != "__init__.py" and path != ROOT / "hae_jax" / "__main__.py" and path.parent.name[0] != "."
    }
    named = set(mapped())
    assert written <= named
    assert not [path for path in named if not (ROOT / path).exists()]


@pytest.mark.parametrize("command", commands())
def test_every_command_has_only_options_that_exist(command):
    parse(shlex.split(command, comments=True)[1:])


@pytest.mark.parametrize("option", sorted(set(re.findall(r"`(--\w+\.\w+ \w+)`", README))))
def test_every_option_exists(option):
    parse(["train", "--workdir", "runs/never", *option.split()])


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("http")]
    assert not [link for link in links if not ((ROOT / page).parent / link).exists()]


def test_the_changelog_begins_with_this_version():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\S+)", text, re.MULTILINE)[0] == hae_jax.__version__


@pytest.mark.parametrize("name", ["train", "test"])
def test_ci_finds_the_two_commands(name):
    (command,) = re.findall(rf"<!-- command:{name} -->\n```sh\n(.+)\n```", README)
    assert command.startswith("python3 -m venv .venv && .venv/bin/pip install -q '.[")


@pytest.mark.parametrize("page", PAGES)
def test_lines_of_prose_fit_the_screen(page):
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    assert not [line for line in lines if len(line) > 130 and not line.startswith(("|", "<sub>"))]
