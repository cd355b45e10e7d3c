"""The programs of a step, and their cost."""

import time
from functools import cache
from unittest.mock import Mock

import jax
import jax.numpy as jnp
import numpy as np
from support.stub import Fake, batch

from hae_jax.config import Config, OptimConfig
from hae_jax.training import optim, step
from hae_jax.training.compiled import CompiledStep, reserved_memory

KEY = jax.random.key(7)


@cache
def compiled():
    """Initial parameters, the optimizer, and the jitted step."""
    model, optimizer = Fake(), optim.build(OptimConfig(), steps=101)
    params = jax.jit(model.init)(jax.random.key(1), batch())["params"]
    return jax.device_get(params), optimizer, step.make_step(model, optimizer, Config())


def ready():
    """A fresh state and the jitted step."""
    params, optimizer, jitted = compiled()
    return step.start(jax.tree.map(jnp.array, params), optimizer), jitted


def test_a_shape_is_compiled_and_reported_once():
    state, jitted = ready()
    programs = CompiledStep(jitted)
    assert programs.costs() == {}
    start = time.monotonic()
    for seed in range(3):
        state, _ = programs(state, batch(seed), KEY)
    small = programs.costs()
    assert 0 < small["compile_seconds"] < time.monotonic() - start
    assert programs.costs() == {}
    programs(state, batch(rows=64), KEY)
    assert programs.costs()["memory"] > small["memory"] + batch(rows=64).buckets[0].nbytes


def test_a_step_is_that_of_the_jitted_function():
    (first, jitted), (second, _) = ready(), ready()
    programs = CompiledStep(jitted)
    for seed in range(2):
        first, expected = jitted(first, batch(seed), KEY)
        second, actual = programs(second, batch(seed), KEY)
        jax.tree.map(np.testing.assert_array_equal, (first, expected), (second, actual))


def test_a_compiler_that_reports_no_memory_is_no_error():
    program = Mock(spec=jax.stages.Compiled)
    program.memory_analysis.return_value = None
    assert reserved_memory(program) is None
