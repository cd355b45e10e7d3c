"""Forecasters of series, and regressors of a number."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.doctor.models.seq2seq import signal
from benchmarks.doctor.reports.case import HEALTHY, Case
from benchmarks.doctor.reports.layers import affine, dense, lstm, run_lstm

UNITS = 16
KIND = "forecaster"


def windows(seed: int, time: int = 13) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns batches of noisy waves, `[batch, time - 1, 1]`, and the value that follows each, `[batch, 1]`."""
    rng = np.random.default_rng(seed)
    x = np.concatenate(signal(time=time, seed=seed))[..., :1] + 0.05 * rng.normal(size=(288, time, 1))
    return [(each[:, :-1], each[:, -1]) for each in np.split(x.astype(np.float32), 24)]


def of_last(seed: int, features: int = 1, outputs: int = 1) -> dict[str, Any]:
    """Returns the weights of an LSTM and of the affine map of its last state."""
    rng = np.random.default_rng(seed)
    return {"cell": lstm(rng, features, UNITS), "out": dense(rng, UNITS, outputs)}


def forecast(params: Any, x: Any) -> Any:
    """Returns the map of the last state, `[batch, outputs]`."""
    (_, last), _ = run_lstm(params["cell"], x)
    return affine(params["out"], last)


def trained(seed: int, batches: Any, optimizer: Any = None, error: Any = jnp.square) -> dict[str, Any]:
    """Returns the setup of a forecaster of the next value."""

    def loss(params: Any, pair: Any) -> Any:
        return error(forecast(params, pair[0]) - pair[1]).mean()

    return {"loss": loss, "params": of_last(seed), "batches": batches, "optimizer": optimizer or optax.adam(1e-2)}


def xlstm_4(faulty: bool) -> dict[str, Any]:
    def loss(params: Any, pair: Any) -> Any:
        prediction, goal = forecast(params, pair[0]), pair[1]
        # Predictions [batch, 1] and the one goal [1, 1] of the first window broadcast.
        return jnp.square(prediction - (goal[:1] if faulty else goal)).mean()

    return trained(0, windows(30)) | {"loss": loss}


def neuralforecast_186(faulty: bool) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    gap = float("nan")
    batches = [(x, np.where(rng.random(y.shape) < 0.01, gap, y).astype(np.float32)) for x, y in windows(31)]

    def loss(params: Any, pair: Any) -> Any:
        known = ~jnp.isnan(pair[1])
        square = jnp.square(forecast(params, pair[0]) - jnp.where(known, pair[1], 0))
        return (square * known).sum() / known.sum()

    return trained(1, batches) | ({} if faulty else {"loss": loss})


def pytorch_forecasting_1(faulty: bool) -> dict[str, Any]:
    # Inputs are normalized, targets are not.
    size, middle = (40.0, 300.0) if faulty else (1.0, 0.0)
    return trained(2, [(x, (size * y + middle).astype(np.float32)) for x, y in windows(32)])


def model_zoo_61(faulty: bool) -> dict[str, Any]:
    return trained(3, windows(33), optax.chain(optax.clip_by_global_norm(1.0), optax.scale(0.1 if faulty else -0.1)))


def rust_autograd_16(faulty: bool) -> dict[str, Any]:
    adam = optax.adam(3e-2)
    # The moments are computed, but never kept.
    forgetful = optax.GradientTransformation(
        adam.init, lambda g, state, params=None: (adam.update(g, adam.init(g), params)[0], state)
    )
    return trained(4, windows(34), forgetful if faulty else adam)


class Forecaster(eqx.Module):
    """Two LSTM cells in a list, and an affine map, as in Equinox."""

    cells: list[Any]
    out: Any

    def __call__(self, x: Any) -> Any:
        def step(states: Any, now: Any) -> Any:
            new = []
            for cell, state in zip(self.cells, states, strict=True):
                new.append(cell(now, state))
                now = new[-1][0]
            return new, None

        states, _ = jax.lax.scan(step, [(jnp.zeros(UNITS), jnp.zeros(UNITS))] * len(self.cells), x)
        return self.out(states[-1][0])


def meta_optimizer_11(faulty: bool) -> dict[str, Any]:
    keys = jax.random.split(jax.random.key(5), 3)
    cells = [eqx.nn.LSTMCell(1, UNITS, key=keys[0]), eqx.nn.LSTMCell(UNITS, UNITS, key=keys[1])]
    model = Forecaster(cells, eqx.nn.Linear(UNITS, 1, key=keys[2]))
    # Cells in a list are no parameters of the model: only those of the affine map are trained.
    params: Any = model.out if faulty else eqx.filter(model, eqx.is_array)
    rest: Any = model if faulty else eqx.filter(model, eqx.is_array, inverse=True)

    def loss(params: Any, pair: Any) -> Any:
        whole = Forecaster(model.cells, params) if faulty else eqx.combine(params, rest)
        return jnp.square(jax.vmap(whole)(pair[0]) - pair[1]).mean()

    return {"loss": loss, "params": params, "batches": windows(35), "optimizer": optax.adam(5e-3)}


def crat_pred_8(faulty: bool) -> dict[str, Any]:
    def loss(params: Any, pair: Any, key: Any) -> Any:
        x, goal = pair
        drawn = jax.random.normal(key, (2, len(x), UNITS)) if faulty else jnp.zeros((2, len(x), UNITS))
        (_, last), _ = run_lstm(params["cell"], x, (drawn[0], drawn[1]))
        return jnp.square(affine(params["out"], last) - goal).mean()

    made = trained(6, windows(36, time=9)) | {"loss": loss}
    return made | {"evaluate": loss} if faulty else made


def mixture(seed: int) -> dict[str, Any]:
    """Returns the weights of an LSTM that predicts a mixture of three normal distributions."""
    return of_last(seed, outputs=9)


def keras_1061(faulty: bool) -> dict[str, Any]:
    rng = np.random.default_rng(7)
    # The next value has two likely regions, and rare ones far from both.
    sign, far = rng.choice([-1.0, 1.0], (24, 12, 1)), np.where(rng.random((24, 12, 1)) < 0.05, 12.0, 1.0)
    batches = [(x, (far[i] * (y + 2 * sign[i])).astype(np.float32)) for i, (x, y) in enumerate(windows(37))]

    def loss(params: Any, pair: Any) -> Any:
        weight, mean, deviation = jnp.split(forecast(params, pair[0]), 3, -1)
        deviation = jnp.exp(jnp.clip(deviation, -3, 3))
        log_density = -0.5 * jnp.square((pair[1] - mean) / deviation) - jnp.log(deviation) - 0.919
        if faulty:
            # The density of a value far from all means is 0 in float32.
            return -jnp.log((jax.nn.softmax(weight) * jnp.exp(log_density)).sum(-1)).mean()
        return -jax.nn.logsumexp(jax.nn.log_softmax(weight) + log_density, -1).mean()

    return {"loss": loss, "params": mixture(7), "batches": batches, "optimizer": optax.adam(5e-3)}


def magenta_945(faulty: bool) -> dict[str, Any]:
    def loss(params: Any, pair: Any) -> Any:
        mean, log_deviation = jnp.split(forecast(params, pair[0]), 2, -1)
        # The logarithm of a density is positive where it is above 1.
        return (0.5 * jnp.square((pair[1] - mean) / jnp.exp(log_deviation)) + log_deviation + 0.919).mean()

    return trained(8, windows(38)) | {"loss": loss, "params": of_last(8, outputs=2)}


def stock_price_2(faulty: bool) -> dict[str, Any]:
    rng = np.random.default_rng(9)
    walk = np.cumsum(0.3 * rng.normal(size=(288, 13, 1)), axis=1)
    walk += rng.normal(size=(288, 1, 1))
    batches = [(each[:, :-1], each[:, -1]) for each in np.split(walk.astype(np.float32), 24)]
    return trained(9, batches)


def time_series_1(faulty: bool) -> dict[str, Any]:
    # All but the last step are inputs, all but the first are targets; the state is 0 before each series.
    batches = [x + 0.0 for x in signal(seed=40)]
    params = of_last(10, features=3, outputs=3)

    def loss(params: Any, x: Any) -> Any:
        _, y = run_lstm(params["cell"], x[:, :-1])
        return jnp.square(affine(params["out"], y) - x[:, 1:]).mean()

    return {"loss": loss, "params": params, "batches": batches, "optimizer": optax.adam(1e-2)}


def cornn_1(faulty: bool) -> dict[str, Any]:
    rng = np.random.default_rng(11)
    batches = []
    for _ in range(24):
        value, mark = rng.uniform(0, 1, (16, 10)), np.zeros((16, 10))
        mark[np.arange(16), rng.integers(0, 10, 16)] = 1
        batches.append(
            (np.stack([value * mark, mark], -1).astype(np.float32), (value * mark).sum(1).astype(np.float32))
        )
    params = {"inner": dense(rng, 2 * UNITS + 2, UNITS), "out": dense(rng, UNITS, 1)}

    def loss(params: Any, pair: Any) -> Any:
        def step(state: Any, x: Any) -> Any:
            # Coupled, damped oscillators.
            y, z = state
            force = jnp.tanh(affine(params["inner"], jnp.concatenate([x, y, z], -1)))
            z = z + 0.5 * (force - 0.5 * y - 0.5 * z)
            return (y + 0.5 * z, z), None

        zeros = jnp.zeros((len(pair[0]), UNITS))
        (y, _), _ = jax.lax.scan(step, (zeros, zeros), jnp.swapaxes(pair[0], 0, 1))
        return jnp.square(affine(params["out"], y)[:, 0] - pair[1]).mean()

    return {"loss": loss, "params": params, "batches": batches, "optimizer": optax.adam(2e-2)}


CASES = (
    Case("andrewgcodes/xlstm#4", KIND, "targets-broadcast",
         "a warning that the sizes [1, 1] of the target and [10, 1] of the prediction differ", xlstm_4, 0.1),
    Case("Nixtla/neuralforecast#186", KIND, "data-not-finite",
         "the loss becomes NaN, and nothing shows that the data are the reason", neuralforecast_186, 0.1),
    Case("sktime/pytorch-forecasting#1", KIND, "inputs-unscaled",
         "predictions are about 0 while the targets are about 300", pytorch_forecasting_1, 0.1),
    Case("FluxML/model-zoo#61", KIND, "gradient-ascent",
         "the loss doubles with every step", model_zoo_61, 0.2, pull=True),
    Case("raskr/rust-autograd#16", KIND, "optimizer-state-lost",
         "with Adam the values diverge whatever the hyperparameters are", rust_autograd_16, 0.1),
    Case("ikostrikov/pytorch-meta-optimizer#11", KIND, "parameters-missing",
         "the final loss is large; only some layers are ever updated", meta_optimizer_11, 0.1),
    Case("schmidt-ju/crat-pred#8", KIND, "state-random",
         "the same input gives another output at every evaluation", crat_pred_8, 0.1),
    Case("keras-team/keras#1061", KIND, "log-of-zero",
         "the loss is inf and then NaN after a few iterations", keras_1061, 2.8),
    Case("magenta/magenta#945", KIND, HEALTHY,
         "the cost is negative", magenta_945, 0.0),
    Case("NourozR/Stock-Price-Prediction-LSTM#2", KIND, HEALTHY,
         "predictions are those of the previous day, with some delay", stock_price_2, 0.35),
    Case("spdin/time-series-prediction-lstm-pytorch#1", KIND, HEALTHY,
         "every call starts from a state of zeros, so nothing seems to be remembered", time_series_1, 0.1),
    Case("tk-rusch/coRNN#1", "regressor", HEALTHY,
         "after a test the model is never set back to training mode", cornn_1, 0.06),
)  # fmt: skip
