"""This package's autoencoders as patients: all that a probe may ask for."""

from dataclasses import replace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from hae_jax.batch import EOD, EOS, PAD, UNK
from hae_jax.config import Config
from hae_jax.data.batches import Batches
from hae_jax.doctor.inputs.setup import TrainingSetup
from hae_jax.inference.generate import greedy
from hae_jax.models import objective
from hae_jax.models.ragged import dense_tokens, from_dense
from hae_jax.training import optim

WARMUP = 10
"""Steps that the rate may take to rise: what a run needs hundreds for, an examination has to see at once."""


def training_setup(config: Config, model: Any, params: Any, data: Any, batches: int) -> TrainingSetup:
    """Makes a patient of one of this package's models.

    Args:
        config: of the run.
        model: the autoencoder.
        params: its parameters.
        data: the data set.
        batches: how many batches of training documents it is examined with.
    """

    def ask(params: Any, method: str, *given: Any) -> Any:
        return model.apply({"params": params}, *given, method=method)

    def loss(params: Any, batch: Any, key: Any, train: bool = True) -> Any:
        losses = model.apply({"params": params}, from_dense(batch["words"]), train=train, rngs={"dropout": key})
        return objective(losses, config.model)

    @jax.jit
    def encode(params: Any, batch: Any, key: Any) -> Any:
        return ask(params, "encode", from_dense(batch["words"]))

    @jax.jit
    def decode_loss(params: Any, code: Any, batch: Any, key: Any) -> Any:
        scores = ask(params, "score", code, from_dense(batch["words"]))
        return jnp.where(scores.mask, scores.nll, 0).sum() / scores.mask.sum()

    @jax.jit
    def forced(params: Any, words: Any) -> Any:
        said = []

        def listen(method: Any, args: Any, kwargs: Any, context: Any) -> Any:
            if context.method_name == "scores":
                said.append(context.module.logits(args[0]))
            return method(*args, **kwargs)

        batch = from_dense(words)
        with nn.intercept_methods(listen):
            scores = ask(params, "score", ask(params, "encode", batch), batch)
        return said[0], scores.mask

    def logits(params: Any, batch: Any, key: Any) -> Any:
        words = np.asarray(batch["words"])
        said, real = jax.device_get(forced(params, words))
        # Every model has its own order of positions, but words stand in that of the text.
        found = np.zeros((*words.shape, said.shape[-1]), said.dtype)
        found[words != PAD] = said[real]
        return found

    def free_run(params: Any, batch: Any, key: Any) -> Any:
        shape = np.shape(batch["words"])
        return laid_out(np.asarray(greedy(model, params, encode(params, batch, key), shape[1] * shape[2])), shape)

    rates = replace(config.optim, warmup=min(config.optim.warmup, WARMUP))
    given, width = Batches(data.train, config.data, config.train.seed), config.data.max_tokens + 1
    tables = (jax.tree.map(jnp.asarray, given.batch(step)) for step in range(batches))
    dense = [np.asarray(dense_tokens(batch)) for batch in tables]
    return TrainingSetup(
        loss, params, [{"words": np.pad(x, ((0, 0), (0, 0), (0, width - x.shape[2])))} for x in dense],
        optim.build(rates, config.train.steps), encode=encode, decode_loss=decode_loss, logits=logits,
        free_run=free_run, vocab=data.tokenizer.vocab_size, pad=PAD, unknown=UNK, module=model, seed=config.train.seed,
    )  # fmt: skip


def laid_out(ids: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Lays generated ids out as documents of sentences; what exceeds the table is cut off.

    Example:
        >>> laid_out(np.array([[7, EOS, 8, 9, EOD, PAD]]), (1, 2, 4)).tolist()
        [[[7, 2, 0, 0], [8, 9, 3, 0]]]
    """
    table = np.full(shape, PAD)
    for doc, row in enumerate(ids):
        ends = np.flatnonzero((row == EOS) | (row == EOD)) + 1
        for sent, sentence in enumerate(np.split(row, ends)[: shape[1]]):
            table[doc, sent, : min(len(sentence), shape[2])] = sentence[: shape[2]]
    return table
