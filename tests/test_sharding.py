"""Data parallelism, on one device here and on eight simulated ones in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from jax.sharding import AxisType
from support.stub import batch
from support.tolerance import assert_close

from hae_jax.training import sharding

TRAIN = """
import jax, numpy as np, sys
from support.stub import VOCAB, batch
from hae_jax.config import Config, ModelConfig
from hae_jax.models import build
from hae_jax.training import optim, sharding, step

config = Config(model=ModelConfig(embed_dim=5, hidden_dim=7, sentence_dim=11))
model, optimizer, mesh = build(config.model, VOCAB), optim.build(config.optim, 7), sharding.local_mesh()
state = jax.jit(lambda: step.start(model.init(jax.random.key(1), batch())["params"], optimizer))()
train_step, state = step.make_step(model, optimizer, config, mesh), sharding.replicate(state, mesh)
for seed in range(3):
    state, info = train_step(state, sharding.shard_batch(batch(seed), mesh), jax.random.key(0))
assert all(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(state))
assert sharding.shard_batch(batch(), mesh).row_index.addressable_shards[0].data.shape[0] == 8 // jax.device_count()
np.savez(sys.argv[1], jax.device_count(), info.loss, info.norm, *jax.tree.leaves(state.params))
"""


LAYER = """
import jax, jax.numpy as jnp
from hae_jax.layers.cell import LSTMState, LSTMWeights
from hae_jax.layers.scan import lstm_scan
from hae_jax.training import sharding

def loss(weights, inputs, mask):
    state = LSTMState(*jnp.zeros((2, len(inputs), 32)))
    return jnp.square(lstm_scan(state, inputs, mask, weights)[1]).sum()

mesh = sharding.local_mesh()
weights = LSTMWeights(jnp.ones((32, 128)), None, jnp.ones((32, 128)), jnp.ones(128))
given = jax.device_put((jnp.ones((64, 16, 32)), jnp.ones((64, 16), bool)), jax.NamedSharding(mesh, jax.P("data")))
text = jax.jit(jax.grad(loss)).lower(sharding.replicate(weights, mesh), *given).compile().as_text()
print("all-reduce" in text, "all-gather" in text)
"""


def test_a_layers_products_stay_divided_among_devices():
    # Values would be right, too, if every device did all the work.
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    ended = subprocess.run([sys.executable, "-c", LAYER], env=os.environ | flags, check=True, capture_output=True)
    assert ended.stdout.split() == [b"True", b"False"]


def train_on(devices, folder):
    """Five steps on so many simulated devices."""
    path = folder / f"{devices}.npz"
    env = os.environ | {
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(Path(__file__).parent),
    }
    subprocess.run([sys.executable, "-c", TRAIN, str(path)], env=env, check=True)
    with np.load(path) as arrays:
        return list(arrays.values())


def test_one_device_equals_eight(tmp_path):
    (one, *expected), (eight, *actual) = train_on(1, tmp_path), train_on(8, tmp_path)
    assert (one, eight) == (1, 8)
    assert_close(actual, expected)


def test_the_mesh_leaves_placement_to_the_compiler():
    assert sharding.local_mesh().axis_types == (AxisType.Auto,)


@pytest.mark.parametrize(
    ("docs", "rows", "message"),
    [
        (12, 32, r"data.batch_size must be divisible by the number of devices \(8\), got 12. Use 16."),
        (8, 36, r"rows of a bucket must be divisible by the number of devices \(8\), got 36. Use 4 of the devices."),
    ],
)
def test_a_batch_that_cannot_be_cut_evenly_is_refused(docs, rows, message):
    with pytest.raises(ValueError, match=message):
        sharding.check(batch(docs=docs, sentences=2, rows=rows), devices=8)
