"""Detectors of anomalies, all of one kind: a clean series and one to be judged go in, scores of every step come out."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from benchmarks.series.detection_metrics import spread, windows
from hae_jax.config import ModelConfig
from hae_jax.config.series import SERIES, SeriesConfig
from hae_jax.estimators import SeriesAutoencoder
from hae_jax.estimators.anomaly_score import MahalanobisScorer
from hae_jax.layers.recurrent import LSTM

WIDTH, CLOSE, FAR = 128, 4, 8
"""Steps of a window, from one window to the next while learning, and while judging."""
CODE = 16
"""Numbers that a window has to pass through, in autoencoders and in principal components."""
HIDDEN = 64
UNREAD = 8
"""Steps at a window's start of which a predictor is not asked."""
OURS = dataclasses.replace(SERIES["series"], sizes=(8, CODE), spans=(16,), memory=64)
FLAT = dataclasses.replace(SERIES["remedy-clipping"], sizes=(HIDDEN, CODE))

One = Float[np.ndarray, "_"]
Windows = Float[np.ndarray, "window width"]
Scores = dict[str, One]
"""Scores of every step by the ways in which errors become scores: `SQUARED` and `SURPRISE`, or `OWN`."""
SQUARED, SURPRISE, OWN = "squared error", "surprise", "its own"
Detector = Callable[[One, One, int, int], Scores]
"""Takes the clean series, the one to be judged, a number of steps of training, and a seed."""


def scored(clean: Windows, seen: Windows, time: int, unread: int = 0) -> Scores:
    """Turns errors of windows into scores of steps, in both ways; a window's first `unread` errors do not count."""
    surprise = MahalanobisScorer.of([one[unread:, None] for one in clean])
    found = {
        SQUARED: np.square(seen[:, unread:]),
        SURPRISE: np.stack([surprise.of_steps(one[unread:, None]) for one in seen]),
    }
    every = {name: np.pad(each, [(0, 0), (unread, 0)], "edge") for name, each in found.items()}
    return {name: spread(each, time, FAR) for name, each in every.items()}


def autoencoder(config: SeriesConfig) -> Detector:
    """Errors of what comes back of windows."""

    def judge(clean: One, judged: One, steps: int, seed: int) -> Scores:
        model = SeriesAutoencoder(config=config, steps=steps, random_state=seed)
        model.fit(windows(clean, WIDTH, CLOSE))
        seen = windows(judged, WIDTH, FAR)
        found = {SQUARED: model.errors(seen), SURPRISE: model.surprise(seen)}
        return {name: spread(np.stack(each), len(judged), FAR) for name, each in found.items()}

    return judge


class Predictor(nn.Module):
    """An LSTM that says the next value."""

    @nn.compact
    def __call__(self, x: Float[Array, "window width"]) -> Float[Array, "window width"]:
        read = jnp.pad(x, ((0, 0), (1, 0)))[:, :-1, None]
        _, hidden = LSTM(ModelConfig(), HIDDEN, 1)(read, jnp.ones(x.shape, bool))
        return nn.Dense(1)(hidden)[..., 0]


def predictor(clean: One, judged: One, steps: int, seed: int) -> Scores:
    """Errors of an LSTM's prediction of the next value.

    Reference:
        Malhotra et al., 2015, "Long Short Term Memory Networks for Anomaly Detection in Time Series"
    """
    centre, deviation = clean.mean(), clean.std()
    learned, seen = (
        jnp.asarray((windows(each, WIDTH, stride) - centre) / deviation, jnp.float32)
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
    run: Any = jax.jit(model.apply)
    clean_errors, errors = (np.asarray(run(params, each), np.float64) - np.asarray(each) for each in (learned, seen))
    return scored(clean_errors, errors, len(judged), UNREAD)


def components(clean: One, judged: One, steps: int, seed: int) -> Scores:
    """Errors of what comes back of windows through principal components: the linear autoencoder."""
    from sklearn.decomposition import PCA

    learned, seen = windows(clean, WIDTH, CLOSE), windows(judged, WIDTH, FAR)
    model = PCA(CODE, random_state=seed).fit(learned)
    clean_errors, errors = (each - model.inverse_transform(model.transform(each)) for each in (learned, seen))
    return scored(clean_errors, errors, len(judged))


def mean(clean: One, judged: One, steps: int, seed: int) -> Scores:
    """Errors of saying the mean: no model at all."""
    centre = clean.mean()
    return scored(windows(clean - centre, WIDTH, CLOSE), windows(judged - centre, WIDTH, FAR), len(judged))


def nearest(clean: One, judged: One, steps: int, seed: int) -> Scores:
    """Distance of each window to the nearest clean one."""
    from sklearn.neighbors import NearestNeighbors

    model = NearestNeighbors(n_neighbors=1).fit(windows(clean, WIDTH, 1))
    distance, _ = model.kneighbors(windows(judged, WIDTH, FAR))
    return {OWN: spread(np.repeat(distance, WIDTH, axis=1), len(judged), FAR)}


def forest(clean: One, judged: One, steps: int, seed: int) -> Scores:
    """An isolation forest's scores of windows."""
    from sklearn.ensemble import IsolationForest

    scores = (
        -IsolationForest(random_state=seed).fit(windows(clean, WIDTH, CLOSE)).score_samples(windows(judged, WIDTH, FAR))
    )
    return {OWN: spread(np.repeat(scores[:, None], WIDTH, axis=1), len(judged), FAR)}


def difference(clean: One, judged: One, steps: int, seed: int) -> Scores:
    """Distance from the value before."""
    return {OWN: np.abs(np.diff(judged, prepend=judged[:1]))}


def chance(clean: One, judged: One, steps: int, seed: int) -> Scores:
    """Random numbers."""
    return {OWN: np.random.default_rng(seed).random(len(judged))}


DETECTORS: dict[str, Detector] = {
    "autoencoder in windows (ours)": autoencoder(OURS),
    "autoencoder as in the article": autoencoder(FLAT),
    "LSTM predictor": predictor,
    "principal components": components,
    "the mean": mean,
    "nearest clean window": nearest,
    "isolation forest": forest,
    "distance from the value before": difference,
    "random numbers": chance,
}
LEARNED = tuple(DETECTORS)[:3]
"""Those that are trained step by step."""
