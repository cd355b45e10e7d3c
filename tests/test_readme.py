"""What the README, the changelog and the architecture page say is so."""

import re
import shlex
from pathlib import Path

import pytest

from hae_jax import __version__
from hae_jax.cli.parser import parse

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    *(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")),
]


def mapped() -> list[str]:
    """Paths that the README's tree names."""
    lines = README.split("## The tree\n\n```\n")[1].split("\n```")[0].splitlines()
    folders, paths = [], []
    for line in lines:
        name = line.split()[0]
        folders = folders[: (len(line) - len(line.lstrip())) // 2]
        paths.append("".join(folders) + name)
        if name.endswith("/"):
            folders.append(name)
    return paths


def commands() -> list[str]:
    """Lines of the README's shell blocks that call `hae` by name."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("hae ")]


def test_the_tree_names_every_file_and_no_other():
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
    assert re.findall(r"^## (\S+)", text, re.MULTILINE)[0] == __version__


@pytest.mark.parametrize("name", ["train", "test"])
def test_ci_finds_the_two_commands(name):
    (command,) = re.findall(rf"<!-- command:{name} -->\n```sh\n(.+)\n```", README)
    assert command.startswith("python3 -m venv .venv && .venv/bin/pip install -q '.[")


@pytest.mark.parametrize("page", PAGES)
def test_lines_of_prose_fit_the_screen(page):
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    assert not [line for line in lines if len(line) > 130 and not line.startswith(("|", "<sub>"))]
