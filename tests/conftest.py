"""What every test lives under: checked shapes, and the same examples on every run."""

import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")
# Two processes of tests, and the programs that they start, compile much that is the same.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".cache" / "jax"))

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook

# From here on each function of hae_jax checks its arguments and results against the shapes in its signature.
install_import_hook("hae_jax", "checker.check")

settings.register_profile(
    "repeatable", deadline=None, derandomize=True, max_examples=20, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("repeatable")


@pytest.fixture
def double():
    """float64 while the test runs: errors of a billionth show."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def rng():
    """The same random numbers for every test."""
    return np.random.default_rng(7)
