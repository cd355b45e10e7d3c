"""The hierarchical autoencoder on real text, small and short: do fresh weights matter where the recipe is there?

Everything but the weights, the size of the code and the weight of the vector loss is the preset `tiny`: paragraphs of
the State of the Union addresses, cut to 3 sentences of 10 words, with the auxiliary losses and the backwards reading.
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
from hae_jax.inference.evaluate import evaluate
from hae_jax.training import optim, step

GAP = 0.5
"""Nats a token that a wrong code has to cost. Where the decoder ignores its code the gap is 0; half a nat, a factor of
1.6 in the probability of every token, is no accident."""
HELDOUT = 256
"""Held-out documents on which the gap is measured."""


def config(scheme: str, norm: str) -> Config:
    """Returns the preset `tiny` with the weights and normalisation of that name; its batches have one shape."""
    base = preset("tiny")
    own: dict[str, Any] = {
        "timescale": 16, "sentence_dim": 48, "vector_loss": 0.3, "layer_norm": "none", "conditioning": "every_step"
    }  # fmt: skip
    model = dataclasses.replace(base.model, **own | SCHEMES[scheme] | NORMS[norm])
    return dataclasses.replace(
        base,
        model=model,
        data=dataclasses.replace(base.data, buckets=1),
        optim=OptimConfig(learning_rate=6e-3, warmup=20),
    )


def run(config: Config, steps: int, seeds: tuple[int, ...], folder: Path) -> dict[str, Any]:
    """Trains one model after the other and measures the code gap of each on held-out documents; JSON values."""
    dataset = prepare(config.data, folder / "data")
    heldout = list(sequential_batches(dataset.heldout.spread(HELDOUT), config.data, 64))
    vocab = dataset.tokenizer.vocab_size
    found: dict[str, list[Any]] = {name: [] for name in ("gap", "loss", "norm", "binding", "broken", "curve")}
    for seed in seeds:
        params, infos = train(config, steps, seed, dataset)
        scores = evaluate(
            _model(multi_seed.structure(config.model), vocab), params, heldout, dataset.tokenizer, free_run=False
        )
        loss, norm = (np.asarray([getattr(i, name) for i in infos], np.float64) for name in ("loss", "norm"))
        found["gap"].append(multi_seed.number(scores.code_gap))
        found["loss"].append(multi_seed.number(scores.loss))
        found["norm"].append(multi_seed.number(norm[np.isfinite(norm)].max(initial=0)))
        found["binding"].append(multi_seed.number(np.mean([i.binding for i in infos])))
        found["broken"].append(int(np.sum([not i.finite for i in infos])))
        found["curve"].append(
            [multi_seed.number(x.mean()) for x in np.array_split(loss, max(1, steps // multi_seed.CHUNK))]
        )
    return found | {
        "steps": steps,
        "arrival": [steps if gap is not None and gap > GAP else None for gap in found["gap"]],
    }


def train(config: Config, steps: int, seed: int, dataset: Dataset) -> tuple[Any, list[step.StepInfo]]:
    """Returns the parameters after so many steps, and what was seen on the way."""
    batches = Batches(dataset.train, config.data, seed)
    first = jax.tree.map(jnp.asarray, batches.at(0))
    fresh = models.build(config.model, dataset.tokenizer.vocab_size)
    params = jax.jit(fresh.init)(jax.random.key(seed), first)["params"]
    advance, optimizer = _step(
        multi_seed.structure(config.model), config.optim, config.data, steps, dataset.tokenizer.vocab_size
    )
    state, key, infos = step.start(params, optimizer), jax.random.key(seed + 1), []
    for at in range(steps):
        state, info = advance(state, batches.at(at), key)
        infos.append(info)
    return state.params, jax.device_get(infos)


@lru_cache(maxsize=8)
def _model(model: ModelConfig, vocab: int) -> Any:
    return models.build(model, vocab)


@lru_cache(maxsize=8)
def _step(model: ModelConfig, optimizer: OptimConfig, data: DataConfig, steps: int, vocab: int) -> Any:
    built = optim.build(optimizer, steps)
    return step.make_step(_model(model, vocab), built, Config(model, data, optimizer)), built
