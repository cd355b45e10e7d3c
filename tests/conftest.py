"""What every test lives under: checked shapes, and the same examples on every run."""

import os
import signal
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")
# Tests, and the programs that they start, compile much that is the same. Each worker has a cache of its own: JAX writes
# an entry in place, so that another process could read half of it.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR",
    str(Path(__file__).parents[1] / ".cache" / "jax" / os.environ.get("PYTEST_XDIST_WORKER", "alone")),
)

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook

# From here on each function of hae_jax checks its arguments and results against the shapes in its signature.
install_import_hook("hae_jax", "shape_check.check")

settings.register_profile(
    "repeatable", deadline=None, derandomize=True, max_examples=20, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("repeatable")

# Shells start what runs in the background with Ctrl-C ignored.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

MAPPINGS = Path("/proc/self/maps")
"""Where Linux lists the mappings of a process."""
MANY = 10_000


@pytest.fixture(autouse=True, scope="module")
def released():
    """Compiled programs are let go after a file that leaves too many of them.

    Every program maps some memory, and Linux grants a process 65,530 mappings (vm.max_map_count): a process that kept
    all programs of the suite would have gigabytes of them, and could die near its end in whatever test comes then.
    """
    yield
    if MAPPINGS.exists() and MAPPINGS.read_text().count("\n") > MANY:
        jax.clear_caches()


@pytest.fixture
def double():
    """float64 while the test runs: errors of a billionth show."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def rng():
    """The same random numbers for every test."""
    return np.random.default_rng(7)
