"""Models of Flax NNX and of Equinox as input of the doctor."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from hae_jax.doctor.frameworks import to_setup
from hae_jax.doctor.inputs.setup import SetupError

eqx = pytest.importorskip("equinox", reason="Equinox is not installed: pip install equinox")

KEY = jax.random.key(0)
X = jnp.asarray(np.random.default_rng(0).normal(size=(4, 6, 3)), jnp.float32)


class Nnx(nnx.Module):
    def __init__(self, rngs):
        self.rnn = nnx.RNN(nnx.LSTMCell(3, 5, rngs=rngs))
        self.norm = nnx.BatchNorm(5, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.out = nnx.Linear(5, 3, rngs=rngs)

    def __call__(self, x):
        return self.out(self.drop(self.norm(self.rnn(x))))


class Equinox(eqx.Module):
    cell: eqx.nn.LSTMCell
    drop: eqx.nn.Dropout
    out: eqx.nn.Linear
    activation: object

    def __init__(self, key):
        first, second = jax.random.split(key)
        self.cell, self.drop = eqx.nn.LSTMCell(3, 5, key=first), eqx.nn.Dropout(0.5)
        self.out, self.activation = eqx.nn.Linear(5, 3, key=second), jax.nn.tanh

    def __call__(self, x, key):
        state, outputs = (jnp.zeros(5), jnp.zeros(5)), []
        for step in x:
            state = self.cell(step, state)
            outputs.append(self.out(state[0]))
        return self.drop(self.activation(jnp.stack(outputs)), key=key)


def nnx_loss(model, batch):
    return jnp.square(model(batch) - batch).mean()


def equinox_loss(model, x, y, key):
    return jnp.square(jax.vmap(model)(x, jax.random.split(key, len(x))) - y).mean()


def test_an_nnx_model_is_evaluated_as_its_users_do_and_stays_as_it_is():
    model = Nnx(nnx.Rngs(0))
    before = [np.asarray(jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x)
              for x in jax.tree.leaves(nnx.state(model))]  # fmt: skip
    optimizer = nnx.Optimizer(model, optax.adam(1e-3), wrt=nnx.Param)
    setup = to_setup(model, nnx_loss, [X], optimizer)
    loss, gradient = jax.jit(jax.value_and_grad(setup.loss))(setup.params, X, KEY)
    assert (setup.framework, setup.optimizer) == ("nnx", optimizer.tx)
    assert {"rnn/cell/hf/kernel", "out/bias", "norm/scale"} <= set(setup.params)
    assert np.isfinite(loss)
    assert all(np.any(each) for name, each in gradient.items() if name.endswith("kernel"))
    after = [np.asarray(jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x)
             for x in jax.tree.leaves(nnx.state(model))]  # fmt: skip
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)
    # In an evaluation nothing is random, and batches are normalized by themselves.
    model.eval()
    model.set_attributes(nnx.BatchNorm, use_running_average=False)
    evaluated = [setup.loss(setup.params, X, jax.random.key(seed), train=False) for seed in (0, 1)]
    np.testing.assert_allclose(evaluated, nnx_loss(model, X), rtol=1e-5)


def test_dropout_of_nnx_differs_with_the_key():
    setup = to_setup(Nnx(nnx.Rngs(0)), nnx_loss, [X])
    assert setup.loss(setup.params, X, KEY) != setup.loss(setup.params, X, jax.random.key(1))


def test_an_equinox_model_is_evaluated_as_its_users_do_and_its_loop_is_a_scan():
    model = Equinox(KEY)
    setup = to_setup(model, equinox_loss, [(X, X)], optax.sgd(0.1))
    assert setup.framework == "equinox"
    assert sorted(setup.params) == ["cell.bias", "cell.weight_hh", "cell.weight_ih", "out.bias", "out.weight"]
    loss, gradient = jax.jit(jax.value_and_grad(setup.loss))(setup.params, (X, X), KEY)
    theirs, their_gradient = eqx.filter_value_and_grad(equinox_loss)(model, X, X, KEY)
    np.testing.assert_allclose(loss, theirs, rtol=1e-5)
    np.testing.assert_allclose(gradient["cell.weight_hh"], their_gradient.cell.weight_hh, atol=1e-6)
    jaxpr = jax.make_jaxpr(setup.loss)(setup.params, (X, X), KEY)
    # The first step is mapped over no batch yet, since its state is the same for all examples.
    assert [each.params["length"] for each in jaxpr.eqns if each.primitive.name == "scan"] == [5]
    evaluated = setup.loss(setup.params, (X, X), KEY, train=False)
    np.testing.assert_allclose(evaluated, equinox_loss(eqx.nn.inference_mode(model), X, X, KEY), rtol=1e-5)


def test_an_equinox_model_with_a_state_may_return_it_beside_the_loss():
    class Normalized(eqx.Module):
        norm: eqx.nn.BatchNorm

        def __init__(self):
            self.norm = eqx.nn.BatchNorm(3, axis_name="batch", mode="batch")

        def __call__(self, x, state):
            return self.norm(x, state)

    def loss(model, state, batch):
        output, state = jax.vmap(model, axis_name="batch", in_axes=(0, None), out_axes=(0, None))(batch, state)
        return jnp.square(output - 1).mean(), state

    model, state = eqx.nn.make_with_state(Normalized)()
    setup = to_setup(model, loss, [X[:, 0]], state=state)
    np.testing.assert_allclose(setup.loss(setup.params, X[:, 0], KEY), loss(model, state, X[:, 0])[0], rtol=1e-5)


@pytest.mark.parametrize("model", [nnx.Linear(2, 2, rngs=nnx.Rngs(0)), eqx.nn.Linear(2, 2, key=KEY)])
def test_a_missing_loss_gets_one_line(model):
    with pytest.raises(SetupError, match=r"loss_fn must be a function, got NoneType. Give loss_fn\(model, batch\)."):
        to_setup(model)
