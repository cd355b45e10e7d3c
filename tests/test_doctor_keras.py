"""Keras models are examined as Keras trains them: its losses, its updates, its batches, the names of its layers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks.doctor.keras_healthy import masked_autoencoder, two_inputs, variational_autoencoder
from benchmarks.doctor.keras_models import (
    STEPS,
    VOCABULARY,
    classifier,
    forecaster,
    language_model,
    series_autoencoder,
    translator,
    waves,
)
from hae_jax.doctor import examine
from hae_jax.doctor.frameworks import to_setup
from hae_jax.doctor.inputs.batches import collect
from hae_jax.doctor.inputs.setup import SetupError

keras = pytest.importorskip("keras", reason="Keras comes with hae_jax[peers]")
layers = keras.layers
pytestmark = pytest.mark.filterwarnings("ignore")
KEY = jax.random.key(3)
SMALL = {"units": 8}


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(4)
    # Keras relies on implicit rank promotion.
    with jax.numpy_rank_promotion("allow"):
        yield


def batches_of(setup):
    arrays, structure = collect(setup.batches, [])
    return [structure.build(leaves) for leaves in arrays]


def tiny(**options):
    """A model without randomness, its inputs and its targets."""
    x = waves()[:64]
    model = keras.Sequential([keras.Input(x.shape[1:]), layers.LSTM(6), layers.Dense(2)])
    model.compile(**({"optimizer": "adam", "loss": "mse"} | options))
    return model, x[:, :-1], x[:, -1]


@pytest.mark.parametrize(
    "build",
    [
        lambda: series_autoencoder(**SMALL),
        lambda: series_autoencoder(**SMALL, norm=True, layer="GRU"),
        lambda: translator(**SMALL, dropout=0.3, weighted=True),
        lambda: language_model(**SMALL, depth=2, dropout=0.5),
        lambda: classifier(**SMALL),
        lambda: forecaster(**SMALL, convolution=True),
        lambda: masked_autoencoder(),
        lambda: two_inputs(),
        lambda: series_autoencoder(**SMALL, unroll=True, kernel_regularizer="l2"),
    ],
    ids=["series", "norm-gru", "translator", "words", "classifier", "convolution", "masking", "two-inputs", "unrolled"],
)
def test_the_loss_of_evaluation_is_that_of_keras(build):
    fitted = build()
    setup = to_setup(*fitted, batch_size=16)
    batch = batches_of(setup)[0]
    expected = fitted.model.test_on_batch(batch["x"], batch["y"], batch.get("sample_weight"))
    found = setup.evaluate(setup.params, batch, KEY)
    np.testing.assert_allclose(found, np.ravel(expected)[0], rtol=2e-5)


def schedule():
    return keras.optimizers.schedules.CosineDecay(0.0, 10, warmup_target=0.01, warmup_steps=3)


OPTIMIZERS = {
    "adam": lambda: keras.optimizers.Adam(0.01),
    "momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "rmsprop": lambda: keras.optimizers.RMSprop(0.01, centered=True),
    "clipnorm": lambda: keras.optimizers.Adam(0.01, clipnorm=0.01),
    "clipvalue": lambda: keras.optimizers.SGD(0.5, clipvalue=0.01),
    "global": lambda: keras.optimizers.SGD(0.5, global_clipnorm=0.02),
    "decay": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.5),
    "schedule": lambda: keras.optimizers.Adam(schedule()),
    "averages": lambda: keras.optimizers.SGD(0.1, use_ema=True, ema_overwrite_frequency=2),
    "accumulated": lambda: keras.optimizers.Adam(0.01, gradient_accumulation_steps=2),
    "lamb": lambda: keras.optimizers.Lamb(0.01),
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01)),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_updates_are_those_of_keras(name):
    model, x, y = tiny(optimizer=OPTIMIZERS[name]())
    setup = to_setup(model, x, y, batch_size=16)
    params, state = setup.params, setup.optimizer.init(setup.params)
    batches = batches_of(setup)

    @jax.jit
    def step(params, state, batch):
        updates, state = setup.optimizer.update(jax.grad(setup.loss)(params, batch, KEY), state, params)
        return optax.apply_updates(params, updates), state

    for batch in [*batches, batches[0]]:
        params, state = step(params, state, batch)
        model.train_on_batch(batch["x"], batch["y"])
    for variable in model.trainable_variables:
        np.testing.assert_allclose(params[variable.path], variable.value, atol=2e-6, err_msg=variable.path)


def test_small_updates_are_not_rounded():
    """In float32 a step of 1e-9 would vanish beside weights of about 0.3."""
    model, x, y = tiny(optimizer=keras.optimizers.Adam(1e-9))
    setup = to_setup(model, x, y)
    gradient = jax.tree.map(jnp.ones_like, setup.params)
    updates, _ = setup.optimizer.update(gradient, setup.optimizer.init(setup.params), setup.params)
    for update in updates.values():
        np.testing.assert_allclose(update, -1e-9, rtol=1e-3)


def test_constraints_are_kept():
    x = waves()[:64]
    model = keras.Sequential(
        [keras.Input(x.shape[1:]), layers.LSTM(6, kernel_constraint=keras.constraints.MaxNorm(0.1))]
    )
    model.compile("sgd", "mse")
    setup = to_setup(model, x, x[:, 0, :1])
    updates, _ = setup.optimizer.update(
        jax.tree.map(jnp.zeros_like, setup.params), setup.optimizer.init(setup.params), setup.params
    )
    new = optax.apply_updates(setup.params, updates)
    (kernel,) = (value for name, value in new.items() if name.endswith("/kernel"))
    assert float(jnp.linalg.norm(kernel, axis=0).max()) < 0.1001


def test_dropout_depends_on_the_key_and_is_off_in_evaluation():
    fitted = language_model(**SMALL, dropout=0.5)
    setup = to_setup(*fitted)
    batch = batches_of(setup)[0]
    losses = [float(setup.loss(setup.params, batch, jax.random.key(seed))) for seed in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]
    assert len({float(setup.evaluate(setup.params, batch, jax.random.key(seed))) for seed in (0, 1)}) == 1


def test_added_losses_count():
    fitted = variational_autoencoder()
    setup = to_setup(*fitted, batch_size=16)
    batch = batches_of(setup)[0]
    with_term = setup.loss(setup.params, batch, KEY)
    code = setup.params | {"mean/bias": setup.params["mean/bias"] + 100.0}
    assert float(setup.loss(code, batch, KEY)) > float(with_term) + 1


def test_steps_of_a_time_distributed_layer_are_computed_at_once():
    fitted = series_autoencoder(**SMALL)
    setup = to_setup(*fitted, batch_size=8)
    batch = batches_of(setup)[0]
    jaxpr = jax.make_jaxpr(setup.loss)(setup.params, batch, KEY)
    products = [e for e in jaxpr.eqns if e.primitive.name == "dot_general"]
    assert len(products) < STEPS
    assert fitted.model.layers[-1].call.__name__ == "call"
    assert "call" not in vars(fitted.model.layers[-1])


def test_padding_marked_by_a_value_stays_padding_whatever_it_holds():
    x, y = waves()[:32], waves()[:32, 0]
    x[:, 7:] = -1.0
    model = keras.Sequential([layers.Masking(-1.0), layers.LSTM(6), layers.Dense(2)])
    model.compile("adam", "mse")
    setup = to_setup(model, x, y)
    batch = batches_of(setup)[0]
    noisy = batch | {"x": np.where(batch["mask"][..., None], batch["x"], 5.0)}
    assert batch["mask"].sum(1).tolist() == [7] * 32
    assert float(setup.loss(setup.params, batch, KEY)) == float(setup.loss(setup.params, noisy, KEY))


class Pages(keras.utils.PyDataset):
    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x) // 16

    def __getitem__(self, at):
        rows = slice(16 * at, 16 * at + 16)
        return self.x[rows], self.y[rows]


def stream(x, y):
    yield from (Pages(x, y)[at] for at in range(4))


@pytest.mark.parametrize(
    "dataset",
    [Pages, stream, lambda x, y: list(stream(x, y)), lambda x, y: lambda: stream(x, y)],
    ids=["PyDataset", "generator", "list", "function"],
)
def test_datasets_of_every_kind_hold_the_same_batches(dataset):
    model, x, y = tiny()
    setup = to_setup(model, dataset(x, y))
    found = batches_of(setup)
    expected = batches_of(to_setup(model, x, y, batch_size=16, shuffle=False))
    assert len(found) == len(expected) == 4
    assert len(list(setup.batches)) == 4
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_arrays_are_shuffled_as_by_fit_and_pairs_stay_together():
    model, x, y = tiny()
    batches = batches_of(to_setup(model, x, y, batch_size=16))
    shuffled = np.concatenate([batch["x"] for batch in batches])
    assert not np.array_equal(shuffled, x)
    rows = [int(np.flatnonzero((x == row).all((1, 2)))[0]) for row in shuffled]
    np.testing.assert_array_equal(y[rows], np.concatenate([batch["y"] for batch in batches]))


def test_ids_given_as_real_numbers_are_ids():
    fitted = language_model(**SMALL)
    batch = batches_of(to_setup(fitted.model, fitted.x.astype(float), fitted.y))[0]
    assert batch["x"].dtype == np.int32


def test_real_numbers_given_as_integers_are_no_ids():
    model, x, y = tiny()
    batch = batches_of(to_setup(model, np.round(5 * x).astype(int), y))[0]
    assert batch["x"].dtype == np.float32


def test_a_frozen_layer_is_a_parameter_without_updates_only_if_it_was_never_trained():
    def setup(trained):
        fitted = translator(**SMALL, frozen=True)
        if trained:
            encoder = fitted.model.get_layer("encoder")
            encoder.set_weights([np.random.default_rng(0).normal(size=w.shape) for w in encoder.get_weights()])
        return to_setup(*fitted)

    fresh, pretrained = setup(False), setup(True)
    names = {name for name in fresh.params if name.startswith("encoder/")}
    assert len(names) == 3
    assert set(fresh.params) - set(pretrained.params) == names
    gradient = jax.tree.map(jnp.ones_like, fresh.params)
    updates, _ = fresh.optimizer.update(gradient, fresh.optimizer.init(fresh.params), fresh.params)
    assert {name for name, update in updates.items() if not update.any()} == names


def test_a_model_that_is_not_compiled_takes_loss_and_optimizer():
    x = waves()[:64]
    model = keras.Sequential([layers.LSTM(6), layers.Dense(2)])
    setup = to_setup(model, x[:, :-1], x[:, -1], loss="mae", optimizer=keras.optimizers.SGD(0.5))
    batch = batches_of(setup)[0]
    output = model(batch["x"])
    np.testing.assert_allclose(setup.loss(setup.params, batch, KEY), np.abs(output - batch["y"]).mean(), rtol=1e-5)


def refused(match, *given, **parts):
    with pytest.raises(SetupError, match=match) as caught:
        to_setup(*given, **parts)
    assert "\n" not in str(caught.value)


def test_what_is_not_supported_gets_one_clear_line(monkeypatch):
    model, x, y = tiny()
    refused(r"must have as many examples, got 32 and 64", model, x, y[:32])
    refused(r"x must be given, got none", model)
    refused(r"y must hold the targets of the loss, got none. Give examine\(model, x, x\)", model, x)
    refused(r"loss must be left out for a compiled model", model, x, y, loss="mse")
    refused(r"arguments must be known, got .*class_weight", model, x, y, class_weight={0: 1.0})
    refused(r"must be a keras.Model, got LSTM", layers.LSTM(3), x, y)
    refused(r"must be compiled, got none. Call model.compile", keras.Sequential([layers.Dense(2)]), x, y)
    stacked = keras.Sequential([layers.LSTM(3), layers.LSTM(3)])
    refused(r"model must take a batch, got ValueError: .*", stacked, x, y, loss="mse")
    refused(r"batches \(x, y\), got none", model, [])
    refused(r"must have a loss, got none", tiny(loss=None)[0], x, y)
    monkeypatch.setattr(keras.config, "backend", lambda: "torch")
    refused(r"must be jax, got torch. Set KERAS_BACKEND=jax before", model, x, y)


def test_an_input_that_nothing_reads_is_an_encoder_without_decoder():
    fitted = translator(**SMALL, wired=False)
    report = examine(*fitted)
    assert [finding.cause for finding in report.findings] == ["code-unwired"]
    assert "initial_state=[h, c]" in report.findings[0].repair["change"]
    assert "source" in report.findings[0].evidence["message"]


def test_an_error_of_keras_is_a_finding():
    model, x, y = tiny()
    report = examine(model, x, y[:5])
    assert [finding.cause for finding in report.findings] == ["no-batches"]


def test_the_names_of_layers_are_in_the_evidence_and_the_repair_is_of_keras():
    x = waves(steps=40)[:256]
    model = keras.Sequential(
        [
            keras.Input(x.shape[1:]), layers.LSTM(8, use_bias=False, name="reader"), layers.RepeatVector(40),
            layers.LSTM(8, return_sequences=True, use_bias=False, name="writer"), layers.Dense(2, name="values"),
        ]
    )  # fmt: skip
    model.compile(keras.optimizers.Adam(1e-3), "mse")
    report = examine(model, x, x)
    assert report.findings[0].cause == "forget-gate-closed"
    assert "unit_forget_bias=True" in report.findings[0].repair["change"]
    assert set(report.evidence["gates_last"]) == {"reader", "writer"}


def test_ids_beyond_the_vocabulary_are_noted():
    fitted = language_model(**SMALL)
    report = examine(fitted.model, fitted.x + VOCABULARY, fitted.y)
    assert any("vocabulary has 24" in note for note in report.notes)
