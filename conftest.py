"""A small trained run, for tests and for the examples in docstrings."""

import importlib.util
import os
import tarfile
from pathlib import Path

import pytest

os.environ.setdefault("KERAS_BACKEND", "jax")

ARCHIVE = Path(__file__).parent / "tests" / "data" / "run-0.3.0.tar.gz"
"""Written by version 0.3.0: a run on `letters.txt` interrupted at step 40 of 80, and results of that version."""
ADAPTERS = Path(__file__).parent / "hae_jax" / "doctor" / "frameworks"
FRAMEWORKS = ("keras", "torch", "equinox")
collect_ignore = [
    str(path) for name in FRAMEWORKS if importlib.util.find_spec(name) is None for path in ADAPTERS.glob(f"{name}*.py")
]
"""Adapters of frameworks that are not installed cannot be imported for their examples."""


@pytest.fixture(scope="session")
def saved_run(tmp_path_factory):
    """Folder of the extracted archive; tests that write into it make a copy."""
    folder = tmp_path_factory.mktemp("saved")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(autouse=True)
def example_names(request, doctest_namespace, monkeypatch):
    """Names that examples with a trained model use; their working directory holds `letters.txt`."""
    if request.node.nodeid.startswith(("hae_jax/trained.py", "hae_jax/trainer.py", "hae_jax/latent/")):
        import hae_jax

        folder = request.getfixturevalue("saved_run")
        monkeypatch.chdir(folder)
        doctest_namespace |= {"hae_jax": hae_jax, "workdir": folder / "run", "model": hae_jax.load(folder / "run")}
