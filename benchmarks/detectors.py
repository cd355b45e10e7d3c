"""Detectors of anomalies, all of one kind: a clean series and one to be judged go in, a score a step comes out."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from benchmarks.detection import spread, windows
from hae_jax.config import ModelConfig
from hae_jax.estimators import SeriesAutoencoder
from hae_jax.layers.recurrent import LSTM
from hae_jax.series import SERIES, SeriesConfig

WIDTH, CLOSE, FAR = 128, 4, 8
"""Steps of a window, from one window to the next while learning, and while judging."""
CODE = 16
"""Numbers that a window has to pass through, in autoencoders and in principal components."""
HIDDEN = 64
UNREAD = 8
"""Steps at a window's start of which a predictor is not asked."""
OURS = dataclasses.replace(SERIES["series"], sizes=(HIDDEN, CODE), spans=(16,))
FLAT = dataclasses.replace(SERIES["remedy-clipping"], sizes=(HIDDEN, CODE))

One = Float[np.ndarray, "_"]
Detector = Callable[[One, One, int, int], One]
"""Takes the clean series, the one to be judged, a number of steps of training, and a seed."""


def autoencoder(config: SeriesConfig) -> Detector:
    """Squared error of what comes back of windows."""

    def judge(clean: One, judged: One, steps: int, seed: int) -> One:
        model = SeriesAutoencoder(config=config, steps=steps, random_state=seed)
        model.fit(windows(clean, WIDTH, CLOSE))
        return spread(np.stack(model.errors(windows(judged, WIDTH, FAR))), len(judged), FAR)

    return judge


class Predictor(nn.Module):
    """An LSTM that says the next value."""

    @nn.compact
    def __call__(self, x: Float[Array, "window width"]) -> Float[Array, "window width"]:
        read = jnp.pad(x, ((0, 0), (1, 0)))[:, :-1, None]
        _, hidden = LSTM(ModelConfig(), HIDDEN, 1)(read, jnp.ones(x.shape, bool))
        return nn.Dense(1)(hidden)[..., 0]


def predictor(clean: One, judged: One, steps: int, seed: int) -> One:
    """Squared error of an LSTM's prediction of the next value.

    Reference:
        Malhotra et al., 2015, "Long Short Term Memory Networks for Anomaly Detection in Time Series"
    """
    mean, deviation = clean.mean(), clean.std()
    learned, seen = (
        jnp.asarray((windows(each, WIDTH, stride) - mean) / deviation, jnp.float32)
        for each, stride in ((clean, CLOSE), (judged, FAR))
    )
    model, optimizer = Predictor(), optax.chain(optax.clip_by_global_norm(1.0), optax.adam(2e-3))
    params = jax.jit(model.init)(jax.random.key(seed), learned[:1])
    state = optimizer.init(params)

    # The first steps of a window are said without having read anything: not what is to be learned.
    def loss(params: Any, x: Float[Array, "window width"]) -> Float[Array, ""]:
        said: Any = model.apply(params, x)
        return jnp.square(said - x)[:, UNREAD:].mean()

    @jax.jit
    def step(params: Any, state: Any, x: Float[Array, "window width"]) -> Any:
        updates, state = optimizer.update(jax.grad(loss)(params, x), state)
        return optax.apply_updates(params, updates), state

    rng = np.random.default_rng(seed)
    for _ in range(steps):
        params, state = step(params, state, learned[rng.integers(0, len(learned), 32)])
    said: Any = jax.jit(model.apply)(params, seen)
    errors = np.square(np.asarray(said, np.float64) - np.asarray(seen))
    errors[:, :UNREAD] = errors[:, UNREAD:].mean(axis=1, keepdims=True)
    return spread(errors, len(judged), FAR)


def by_window(make: Callable[[int], Any]) -> Detector:
    """Scores of windows by one of scikit-learn's detectors, each the score of all its steps."""

    def judge(clean: One, judged: One, steps: int, seed: int) -> One:
        model = make(seed).fit(windows(clean, WIDTH, CLOSE))
        scores = -model.score_samples(windows(judged, WIDTH, FAR))
        return spread(np.repeat(scores[:, None], WIDTH, axis=1), len(judged), FAR)

    return judge


def _forest(seed: int) -> Any:
    from sklearn.ensemble import IsolationForest

    return IsolationForest(random_state=seed)


def _neighbourhood(seed: int) -> Any:
    from sklearn.neighbors import LocalOutlierFactor

    return LocalOutlierFactor(novelty=True)


def components(clean: One, judged: One, steps: int, seed: int) -> One:
    """Squared error of what comes back of windows through principal components: the linear autoencoder."""
    from sklearn.decomposition import PCA

    model = PCA(CODE, random_state=seed).fit(windows(clean, WIDTH, CLOSE))
    seen = windows(judged, WIDTH, FAR)
    return spread(np.square(seen - model.inverse_transform(model.transform(seen))), len(judged), FAR)


def nearest(clean: One, judged: One, steps: int, seed: int) -> One:
    """Distance of each window to the nearest clean one."""
    from sklearn.neighbors import NearestNeighbors

    model = NearestNeighbors(n_neighbors=1).fit(windows(clean, WIDTH, 1))
    distance, _ = model.kneighbors(windows(judged, WIDTH, FAR))
    return spread(np.repeat(distance, WIDTH, axis=1), len(judged), FAR)


def deviation(clean: One, judged: One, steps: int, seed: int) -> One:
    """Distance from the clean series' mean."""
    return np.abs(judged - clean.mean())


def difference(clean: One, judged: One, steps: int, seed: int) -> One:
    """Distance from the value before."""
    return np.abs(np.diff(judged, prepend=judged[:1]))


def chance(clean: One, judged: One, steps: int, seed: int) -> One:
    """Random numbers."""
    return np.random.default_rng(seed).random(len(judged))


DETECTORS: dict[str, Detector] = {
    "autoencoder in windows (ours)": autoencoder(OURS),
    "autoencoder as in the article": autoencoder(FLAT),
    "LSTM predictor": predictor,
    "principal components": components,
    "nearest clean window": nearest,
    "isolation forest": by_window(_forest),
    "local outlier factor": by_window(_neighbourhood),
    "distance from the mean": deviation,
    "distance from the value before": difference,
    "random numbers": chance,
}
LEARNED = tuple(DETECTORS)[:3]
"""Those that are trained step by step."""
