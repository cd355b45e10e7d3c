"""Setups of Flax NNX and Equinox: modules that are trees, optimizers that hold another one."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from hae_jax.doctor import examine

VOCAB, TIME, ROWS, UNITS = 11, 7, 16, 16
pytestmark = pytest.mark.filterwarnings("ignore")


def batches(count=8):
    """A language in which most words follow from the one before."""
    rng = np.random.default_rng(0)
    words = rng.integers(1, VOCAB, (count, ROWS, TIME), np.int32)
    for at in range(1, TIME):
        follows = words[..., at - 1] * 3 % (VOCAB - 1) + 1
        words[..., at] = np.where(rng.random((count, ROWS)) < 0.8, follows, words[..., at])
    return list(words)


def nats(model, words):
    return optax.softmax_cross_entropy_with_integer_labels(model(words), words).mean()


def flax_model(wired):
    class Autoencoder(nnx.Module):
        def __init__(self, rngs):
            self.table = nnx.Embed(VOCAB, UNITS, rngs=rngs)
            self.encoder = nnx.RNN(nnx.LSTMCell(UNITS, UNITS, rngs=rngs), return_carry=True)
            self.decoder = nnx.RNN(nnx.LSTMCell(UNITS, UNITS, rngs=rngs))
            self.out = nnx.Linear(UNITS, VOCAB, rngs=rngs)

        def __call__(self, words):
            inputs = self.table(words)
            code, _ = self.encoder(inputs)
            before = jnp.pad(inputs, ((0, 0), (1, 0), (0, 0)))[:, :-1]
            return self.out(self.decoder(before, initial_carry=code if wired else None))

    return Autoencoder(nnx.Rngs(0))


def equinox_model(wired):
    eqx = pytest.importorskip("equinox")

    class Autoencoder(eqx.Module):
        table: eqx.nn.Embedding
        encoder: eqx.nn.LSTMCell
        decoder: eqx.nn.LSTMCell
        out: eqx.nn.Linear

        def __init__(self, key):
            keys = jax.random.split(key, 4)
            self.table = eqx.nn.Embedding(VOCAB, UNITS, key=keys[0])
            self.encoder, self.decoder = (eqx.nn.LSTMCell(UNITS, UNITS, key=each) for each in keys[1:3])
            self.out = eqx.nn.Linear(UNITS, VOCAB, key=keys[3])

        def one(self, words):
            def run(cell, state, inputs):
                def step(state, now):
                    state = cell(now, state)
                    return state, state[0]

                return jax.lax.scan(step, state, inputs)

            inputs, zeros = jax.vmap(self.table)(words), (jnp.zeros(UNITS), jnp.zeros(UNITS))
            code, _ = run(self.encoder, zeros, inputs)
            _, hidden = run(self.decoder, code if wired else zeros, jnp.pad(inputs, ((1, 0), (0, 0)))[:-1])
            return jax.vmap(self.out)(hidden)

        def __call__(self, words):
            return jax.vmap(self.one)(words)

    return Autoencoder(jax.random.key(0))


def test_nothing_is_found_on_a_healthy_nnx_model_with_its_optimizer():
    model = flax_model(wired=True)
    optimizer = nnx.Optimizer(model, optax.adam(1e-2), wrt=nnx.Param)
    report = examine({"loss": nats, "model": model, "batches": batches(), "optimizer": optimizer})
    assert report.healthy, str(report)
    assert report.steps == 200


def test_a_fault_of_an_nnx_state_is_named():
    graph, state = nnx.split(flax_model(wired=False))
    setup = {"loss": lambda state, words: nats(nnx.merge(graph, state), words), "params": state}
    report = examine(setup | {"batches": batches(), "optimizer": optax.adam(1e-2)})
    assert report.findings[0].cause == "code-unwired"
    assert any("encoder" in name for name in report.findings[0].evidence["unused_parameters"])


def test_nothing_is_found_on_a_healthy_equinox_module():
    eqx = pytest.importorskip("equinox")
    setup = {"loss": eqx.filter_jit(nats), "model": equinox_model(wired=True), "batches": batches()}
    report = examine(setup | {"optimizer": optax.adam(1e-2)})
    assert report.healthy, str(report)
    assert report.steps == 200


def test_a_fault_of_an_equinox_partition_is_named():
    eqx = pytest.importorskip("equinox")
    arrays, rest = eqx.partition(equinox_model(wired=False), eqx.is_array)
    setup = {"loss": lambda arrays, words: nats(eqx.combine(arrays, rest), words), "params": arrays}
    report = examine(setup | {"batches": batches(), "optimizer": optax.adam(1e-2)})
    assert report.findings[0].cause == "code-unwired"
    assert any("encoder" in name for name in report.findings[0].evidence["unused_parameters"])
