"""Does initialization matter for the full model? A small hierarchical autoencoder on short real text.

All but the initialization, the size of the code and the weight of the vector loss is the preset `tiny`: paragraphs of
the State of the Union addresses, cut to 3 sentences of 10 words, with the auxiliary losses and reversed input.
"""

import dataclasses
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.gradients import multi_seed
from benchmarks.gradients.schemes import NORMS, SCHEMES
from hae_jax import models
from hae_jax.config import Config, DataConfig, ModelConfig, OptimConfig
from hae_jax.config.presets import preset
from hae_jax.data import Batches, Dataset, prepare, sequential_batches
from hae_jax.inference.teacher_forcing import encode_batches, score_tokens, teacher_forced_scores
from hae_jax.training import optim, step

GAP = 0.5
"""Code gap of a successful run, nats per token: the increase in loss under mismatched codes. It is 0 if the decoder
ignores its code; half a nat is a factor of 1.6 in the probability of every token."""
HELDOUT = 256
"""Held-out documents on which the gap is measured."""


def config(scheme: str, norm: str) -> Config:
    """Returns the preset `tiny` with the named initialization and normalization; its batches have one shape."""
    base = preset("tiny")
    fields: dict[str, Any] = {
        "timescale": 16, "sentence_dim": 48, "vector_loss": 0.3, "layer_norm": "none", "conditioning": "every_step"
    }  # fmt: skip
    model = dataclasses.replace(base.model, **fields | SCHEMES[scheme] | NORMS[norm])
    return dataclasses.replace(
        base,
        model=model,
        data=dataclasses.replace(base.data, buckets=1),
        optim=OptimConfig(learning_rate=6e-3, warmup=20),
    )


def run(config: Config, steps: int, seeds: tuple[int, ...], folder: Path) -> dict[str, Any]:
    """Trains one model per seed and measures the code gap of each on held-out documents; JSON values."""
    dataset = prepare(config.data, folder / "data")
    heldout = list(sequential_batches(dataset.heldout.evenly_spaced(HELDOUT), config.data, 64))
    vocab = dataset.tokenizer.vocab_size
    numbers: dict[str, list[Any]] = {name: [] for name in ("gap", "loss", "norm", "binding", "broken", "curve")}
    for seed in seeds:
        params, infos = train(config, steps, seed, dataset)
        model = _model(multi_seed.structure(config.model), vocab)
        scores = teacher_forced_scores(score_tokens(model, params, encode_batches(model, params, heldout)))
        loss, norm = (np.asarray([getattr(i, name) for i in infos], np.float64) for name in ("loss", "norm"))
        numbers["gap"].append(multi_seed.rounded(scores.code_gap))
        numbers["loss"].append(multi_seed.rounded(scores.loss))
        numbers["norm"].append(multi_seed.rounded(norm[np.isfinite(norm)].max(initial=0)))
        numbers["binding"].append(multi_seed.rounded(np.mean([i.binding for i in infos])))
        numbers["broken"].append(int(np.sum([not i.finite for i in infos])))
        numbers["curve"].append(
            [multi_seed.rounded(x.mean()) for x in np.array_split(loss, max(1, steps // multi_seed.CHUNK))]
        )
    return numbers | {
        "steps": steps,
        "arrival": [steps if gap is not None and gap > GAP else None for gap in numbers["gap"]],
    }


def train(config: Config, steps: int, seed: int, dataset: Dataset) -> tuple[Any, list[step.StepInfo]]:
    """Returns the parameters after the given number of steps, and the info of every step."""
    batches = Batches(dataset.train, config.data, seed)
    first = jax.tree.map(jnp.asarray, batches.batch(0))
    model = models.build(config.model, dataset.tokenizer.vocab_size)
    params = jax.jit(model.init)(jax.random.key(seed), first)["params"]
    advance, optimizer = _step(
        multi_seed.structure(config.model), config.optim, config.data, steps, dataset.tokenizer.vocab_size
    )
    state, key, infos = step.start(params, optimizer), jax.random.key(seed + 1), []
    for at in range(steps):
        state, info = advance(state, batches.batch(at), key)
        infos.append(info)
    return state.params, jax.device_get(infos)


@lru_cache(maxsize=8)
def _model(model: ModelConfig, vocab: int) -> Any:
    return models.build(model, vocab)


@lru_cache(maxsize=8)
def _step(model: ModelConfig, optimizer: OptimConfig, data: DataConfig, steps: int, vocab: int) -> Any:
    built = optim.build(optimizer, steps)
    return step.make_step(_model(model, vocab), built, Config(model, data, optimizer)), built
