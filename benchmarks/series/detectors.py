"""Anomaly detectors with one signature: a clean series and one to be scored in, scores of every step out."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from benchmarks.series.detection_metrics import average_windows, sliding_windows
from hae_jax.config import ModelConfig
from hae_jax.config.series import SERIES, SeriesConfig
from hae_jax.estimators import SeriesAutoencoder
from hae_jax.estimators.anomaly_score import MahalanobisScorer
from hae_jax.layers.recurrent import LSTM

WIDTH, TRAIN_STRIDE, TEST_STRIDE = 128, 4, 8
"""Steps of a window, and from one window to the next in training and in scoring."""
CODE = 16
"""Numbers in the code of a window, for autoencoders and principal components."""
HIDDEN = 64
WARM_UP = 8
"""Steps at a window's start at which a predictor is not evaluated."""
OURS = dataclasses.replace(SERIES["series"], sizes=(8, CODE), spans=(16,), memory=64)
FLAT = dataclasses.replace(SERIES["remedy-clipping"], sizes=(HIDDEN, CODE))

One = Float[np.ndarray, "_"]
Windows = Float[np.ndarray, "window width"]
Scores = dict[str, One]
"""Scores of every step by the kind of score: `SQUARED` and `SURPRISE` of a model's errors, or `OWN`."""
SQUARED, SURPRISE, OWN = "squared error", "surprise", "its own"
Detector = Callable[[One, One, int, int], Scores]
"""Takes the clean series, the one to be scored, a number of training steps, and a seed."""


def scores_of_errors(clean: Windows, test: Windows, time: int, warm_up: int = 0) -> Scores:
    """Returns both kinds of scores of every step from the errors of windows.

    Args:
        clean: errors on the clean series.
        test: errors on the series to be scored.
        time: length of that series.
        warm_up: steps at the start of a window whose errors are ignored.
    """
    scorer = MahalanobisScorer.fit([one[warm_up:, None] for one in clean])
    scores = {
        SQUARED: np.square(test[:, warm_up:]),
        SURPRISE: np.stack([scorer.score(one[warm_up:, None]) for one in test]),
    }
    padded = {name: np.pad(each, [(0, 0), (warm_up, 0)], "edge") for name, each in scores.items()}
    return {name: average_windows(each, time, TEST_STRIDE) for name, each in padded.items()}


def autoencoder(config: SeriesConfig) -> Detector:
    """Returns a detector by the reconstruction errors of windows."""

    def detect(clean: One, series: One, steps: int, seed: int) -> Scores:
        model = SeriesAutoencoder(config=config, steps=steps, random_state=seed)
        model.fit(sliding_windows(clean, WIDTH, TRAIN_STRIDE))
        windows = sliding_windows(series, WIDTH, TEST_STRIDE)
        scores = {SQUARED: model.errors(windows), SURPRISE: model.anomaly_score(windows)}
        return {name: average_windows(np.stack(each), len(series), TEST_STRIDE) for name, each in scores.items()}

    return detect


class Predictor(nn.Module):
    """An LSTM that predicts the next value."""

    @nn.compact
    def __call__(self, x: Float[Array, "window width"]) -> Float[Array, "window width"]:
        previous = jnp.pad(x, ((0, 0), (1, 0)))[:, :-1, None]
        _, hidden = LSTM(ModelConfig(), HIDDEN, 1)(previous, jnp.ones(x.shape, bool))
        return nn.Dense(1)(hidden)[..., 0]


def predictor(clean: One, series: One, steps: int, seed: int) -> Scores:
    """Detects by the errors of an LSTM's prediction of the next value.

    Reference:
        Malhotra et al., 2015, "Long Short Term Memory Networks for Anomaly Detection in Time Series"
    """
    mean, deviation = clean.mean(), clean.std()
    train, test = (
        jnp.asarray((sliding_windows(each, WIDTH, stride) - mean) / deviation, jnp.float32)
        for each, stride in ((clean, TRAIN_STRIDE), (series, TEST_STRIDE))
    )
    model, optimizer = Predictor(), optax.chain(optax.clip_by_global_norm(1.0), optax.adam(2e-3))
    params = jax.jit(model.init)(jax.random.key(seed), train[:1])
    state = optimizer.init(params)

    # Predictions at the first steps of a window have little or no input; they are excluded from the loss.
    def loss(params: Any, x: Float[Array, "window width"]) -> Float[Array, ""]:
        prediction: Any = model.apply(params, x)
        return jnp.square(prediction - x)[:, WARM_UP:].mean()

    @jax.jit
    def step(params: Any, state: Any, x: Float[Array, "window width"]) -> Any:
        updates, state = optimizer.update(jax.grad(loss)(params, x), state)
        return optax.apply_updates(params, updates), state

    rng = np.random.default_rng(seed)
    for _ in range(steps):
        params, state = step(params, state, train[rng.integers(0, len(train), 32)])
    predict: Any = jax.jit(model.apply)
    clean_errors, errors = (np.asarray(predict(params, x), np.float64) - np.asarray(x) for x in (train, test))
    return scores_of_errors(clean_errors, errors, len(series), WARM_UP)


def principal_components(clean: One, series: One, steps: int, seed: int) -> Scores:
    """Detects by the reconstruction errors of windows from principal components: the linear autoencoder."""
    from sklearn.decomposition import PCA

    train, test = sliding_windows(clean, WIDTH, TRAIN_STRIDE), sliding_windows(series, WIDTH, TEST_STRIDE)
    model = PCA(CODE, random_state=seed).fit(train)
    clean_errors, errors = (each - model.inverse_transform(model.transform(each)) for each in (train, test))
    return scores_of_errors(clean_errors, errors, len(series))


def mean(clean: One, series: One, steps: int, seed: int) -> Scores:
    """Detects by the errors of predicting the mean: no model at all."""
    center = clean.mean()
    train, test = (
        sliding_windows(each - center, WIDTH, stride) for each, stride in ((clean, TRAIN_STRIDE), (series, TEST_STRIDE))
    )
    return scores_of_errors(train, test, len(series))


def nearest(clean: One, series: One, steps: int, seed: int) -> Scores:
    """Detects by the distance of each window to the nearest clean one."""
    from sklearn.neighbors import NearestNeighbors

    model = NearestNeighbors(n_neighbors=1).fit(sliding_windows(clean, WIDTH, 1))
    distance, _ = model.kneighbors(sliding_windows(series, WIDTH, TEST_STRIDE))
    return {OWN: average_windows(np.repeat(distance, WIDTH, axis=1), len(series), TEST_STRIDE)}


def forest(clean: One, series: One, steps: int, seed: int) -> Scores:
    """Detects by an isolation forest's scores of windows."""
    from sklearn.ensemble import IsolationForest

    model = IsolationForest(random_state=seed).fit(sliding_windows(clean, WIDTH, TRAIN_STRIDE))
    scores = -model.score_samples(sliding_windows(series, WIDTH, TEST_STRIDE))
    return {OWN: average_windows(np.repeat(scores[:, None], WIDTH, axis=1), len(series), TEST_STRIDE)}


def difference(clean: One, series: One, steps: int, seed: int) -> Scores:
    """Detects by the difference from the previous value."""
    return {OWN: np.abs(np.diff(series, prepend=series[:1]))}


def chance(clean: One, series: One, steps: int, seed: int) -> Scores:
    """Returns random scores."""
    return {OWN: np.random.default_rng(seed).random(len(series))}


DETECTORS: dict[str, Detector] = {
    "autoencoder in windows (ours)": autoencoder(OURS),
    "autoencoder as in the article": autoencoder(FLAT),
    "LSTM predictor": predictor,
    "principal components": principal_components,
    "the mean": mean,
    "nearest clean window": nearest,
    "isolation forest": forest,
    "distance from the value before": difference,
    "random numbers": chance,
}
LEARNED = tuple(DETECTORS)[:3]
"""Detectors trained by gradient descent."""
