"""Variational autoencoders of sentences and of series."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.doctor.models.seq2seq import VOCAB, signal, text
from benchmarks.doctor.reports.case import HEALTHY, Case
from benchmarks.doctor.reports.layers import affine, dense, lstm, run_lstm

UNITS, CODE = 24, 8
KIND = "VAE"


def kl(mean: Any, log_variance: Any) -> Any:
    """Returns the divergence of each number of a code from the standard normal distribution."""
    return 0.5 * (jnp.exp(log_variance) + mean**2 - 1 - log_variance)


def sentence_vae_15(faulty: bool) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    params = {
        "table": jnp.asarray(rng.normal(size=(VOCAB, UNITS)) * 0.5, jnp.float32),
        "ahead": lstm(rng, UNITS, UNITS), "back": lstm(rng, UNITS, UNITS), "mean": dense(rng, 2 * UNITS, CODE),
        "variance": dense(rng, 2 * UNITS, CODE), "start": dense(rng, CODE, UNITS), "write": lstm(rng, UNITS, UNITS),
        "out": dense(rng, UNITS, VOCAB),
    }  # fmt: skip

    def loss(params: Any, ids: Any, key: Any) -> Any:
        real, x = ids != 0, params["table"][ids]
        (_, ahead), _ = run_lstm(params["ahead"], x, real=real)
        (_, back), _ = run_lstm(params["back"], x, real=real, reverse=True)
        hidden = jnp.stack([ahead, back])
        # States are stacked by direction first; a reshape puts those of different sentences side by side.
        last = hidden if faulty else jnp.swapaxes(hidden, 0, 1)
        last = last.reshape(len(ids), 2 * UNITS)
        mean, log_variance = affine(params["mean"], last), affine(params["variance"], last) - 3
        code = mean + jnp.exp(log_variance / 2) * jax.random.normal(key, mean.shape)
        start = jnp.tanh(affine(params["start"], code))
        _, y = run_lstm(params["write"], jnp.pad(x, ((0, 0), (1, 0), (0, 0)))[:, :-1], (jnp.zeros_like(start), start))
        nll = optax.softmax_cross_entropy_with_integer_labels(affine(params["out"], y), ids)
        return (nll * real).sum() / real.sum() + 0.01 * kl(mean, log_variance).sum(-1).mean()

    return {"loss": loss, "params": params, "batches": text(seed=10), "optimizer": optax.adam(1e-2)}


def of_series(seed: int, features: int = 3) -> dict[str, Any]:
    """Returns the weights of a variational autoencoder that unrolls the code of a series."""
    rng = np.random.default_rng(seed)
    return {
        "read": lstm(rng, features, UNITS), "mean": dense(rng, UNITS, CODE), "variance": dense(rng, UNITS, CODE),
        "write": lstm(rng, CODE, UNITS), "out": dense(rng, UNITS, features),
    }  # fmt: skip


def unrolled(params: Any, code: Any, steps: int) -> Any:
    """Returns the series of a code, which is the input at every step."""
    _, y = run_lstm(params["write"], jnp.broadcast_to(code[:, None], (len(code), steps, CODE)))
    return affine(params["out"], y)


def world_models_12(faulty: bool) -> dict[str, Any]:
    params = of_series(1)

    def loss(params: Any, x: Any, key: Any) -> Any:
        (_, last), _ = run_lstm(params["read"], x)
        mean, log_variance = affine(params["mean"], last), affine(params["variance"], last) - 2
        code = mean + jnp.exp(log_variance / 2) * jax.random.normal(key, mean.shape)
        error = jnp.square(unrolled(params, code, x.shape[1]) - x)
        # The mean over all numbers is far smaller than the sum that belongs to the divergence of a whole series.
        given = error.mean() if faulty else error.sum((1, 2)).mean() / 0.1
        return given + kl(mean, log_variance).sum(-1).mean()

    return {"loss": loss, "params": params, "batches": signal(seed=11), "optimizer": optax.adam(1e-2)}


def synthcity_331(faulty: bool) -> dict[str, Any]:
    rng = np.random.default_rng(2)
    # Rare values far from the others.
    batches = [np.where(rng.random(x.shape) < 0.001, 100 * x, x).astype(np.float32) for x in signal(seed=12)]
    params = of_series(2) | {"mean": dense(rng, 48, CODE), "variance": dense(rng, 48, CODE)}
    params["variance"]["w"] *= 3
    del params["read"]

    def loss(params: Any, x: Any, key: Any) -> Any:
        flat = x.reshape(len(x), -1)
        mean, log_variance = jnp.tanh(affine(params["mean"], flat)), affine(params["variance"], flat) - 3
        log_variance = log_variance if faulty else jnp.clip(log_variance, -8, 2)
        code = mean + jnp.exp(log_variance / 2) * jax.random.normal(key, mean.shape)
        error = jnp.abs(unrolled(params, code, x.shape[1]) - jnp.clip(x, -2, 2))
        return error.mean() + 1e-3 * kl(mean, log_variance).sum(-1).mean()

    return {"loss": loss, "params": params, "batches": batches, "optimizer": optax.adam(1e-2)}


def clustering_vae_3(faulty: bool) -> dict[str, Any]:
    rng = np.random.default_rng(3)
    params = of_series(3) | {"second": lstm(rng, UNITS, UNITS)}

    def loss(params: Any, x: Any, key: Any) -> Any:
        (_, lower), y = run_lstm(params["read"], x)
        (_, upper), _ = run_lstm(params["second"], y)
        # The state of the lower layer; what the upper one computes is used nowhere.
        last = jnp.stack([lower, upper])[0 if faulty else -1]
        mean, log_variance = affine(params["mean"], last), affine(params["variance"], last) - 4
        code = mean + jnp.exp(log_variance / 2) * jax.random.normal(key, mean.shape)
        error = jnp.square(unrolled(params, code, x.shape[1]) - x).mean()
        return error + 1e-3 * kl(mean, log_variance).sum(-1).mean(), {"code": mean}

    return {"loss": loss, "params": params, "batches": signal(seed=13), "optimizer": optax.adam(1e-2)}


def world_models_13(faulty: bool) -> dict[str, Any]:
    params = of_series(4)

    def loss(params: Any, batch: Any, key: Any) -> Any:
        x = batch["frames"]
        (_, last), _ = run_lstm(params["read"], x)
        # The logarithm of the standard deviation instead of that of the variance.
        mean, log_deviation = affine(params["mean"], last), affine(params["variance"], last) - 2
        code = mean + jnp.exp(log_deviation) * jax.random.normal(key, mean.shape)
        error = jnp.square(unrolled(params, code, x.shape[1]) - x).mean()
        return error + 2e-3 * kl(mean, 2 * log_deviation).sum(-1).mean()

    batches = [{"frames": x} for x in signal(seed=14)]
    return {"loss": loss, "params": params, "batches": batches, "optimizer": optax.adam(1e-2)}


CASES = (
    Case("timbmg/Sentence-VAE#15", KIND, "axes-swapped",
         "the code runs without an error, but dimensions of the hidden state are mixed up", sentence_vae_15, 1.6),
    Case("AppliedDataSciencePartners/WorldModels#12", KIND, "kl-dominates",
         "the KL term is 1e-7 and reconstructions are bad, with standard parameters", world_models_12, 150.0),
    Case("vanderschaarlab/synthcity#331", KIND, "exponential-overflow",
         "the loss becomes NaN for some data and hyperparameters only", synthcity_331, 0.6),
    Case("tejaslodaya/timeseries-clustering-vae#3", KIND, "layer-unused",
         "the first of the hidden states of all layers is read, not the last", clustering_vae_3, 0.42),
    Case("ctallec/world-models#13", KIND, HEALTHY,
         "the noise is multiplied by exp(x), and not by exp(x / 2) as elsewhere", world_models_13, 0.45),
)  # fmt: skip
