"""This package's autoencoders as training setups of the doctor, with all of their optional functions."""

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
from hae_jax.models import build, objective
from hae_jax.models.ragged import dense_tokens, from_dense
from hae_jax.training import optim

WARMUP = 10
"""Longest warm-up in steps: a run may take hundreds, but an examination takes 200 steps in all."""


def training_setup(config: Config, model: Any, params: Any, data: Any, batches: int) -> TrainingSetup:
    """Returns the training setup of one of this package's models.

    The topic part of a code is left out: it is trained by itself, and nothing is decoded from it.

    Args:
        config: of the run.
        model: the autoencoder.
        params: its parameters.
        data: the data set.
        batches: number of batches of training documents.
    """

    if config.model.topic_dim:
        config = replace(config, model=replace(config.model, topic_dim=0))
        model = build(config.model, data.tokenizer.vocab_size)
        params = {name: value for name, value in params.items() if name != "topic"}

    def apply(params: Any, method: str, *args: Any) -> Any:
        return model.apply({"params": params}, *args, method=method)

    def loss(params: Any, batch: Any, key: Any, train: bool = True) -> Any:
        losses = model.apply({"params": params}, from_dense(batch["words"]), train=train, rngs={"dropout": key})
        return objective(losses, config.model)

    @jax.jit
    def encode(params: Any, batch: Any, key: Any) -> Any:
        return apply(params, "encode", from_dense(batch["words"]))

    @jax.jit
    def decode_loss(params: Any, code: Any, batch: Any, key: Any) -> Any:
        scores = apply(params, "score", code, from_dense(batch["words"]))
        return jnp.where(scores.mask, scores.nll, 0).sum() / scores.mask.sum()

    @jax.jit
    def teacher_forced(params: Any, words: Any) -> Any:
        recorded = []

        def record_logits(method: Any, args: Any, kwargs: Any, context: Any) -> Any:
            if context.method_name == "scores":
                recorded.append(context.module.logits(args[0]))
            return method(*args, **kwargs)

        batch = from_dense(words)
        with nn.intercept_methods(record_logits):
            scores = apply(params, "score", apply(params, "encode", batch), batch)
        return recorded[0], scores.mask

    def logits(params: Any, batch: Any, key: Any) -> Any:
        words = np.asarray(batch["words"])
        recorded, mask = jax.device_get(teacher_forced(params, words))
        # Models differ in the shape of their positions; real ones are always in the order of the text.
        found = np.zeros((*words.shape, recorded.shape[-1]), recorded.dtype)
        found[words != PAD] = recorded[mask]
        return found

    def free_run(params: Any, batch: Any, key: Any) -> Any:
        shape = np.shape(batch["words"])
        ids = greedy(model, params, encode(params, batch, key), shape[1] * shape[2])
        return as_documents(np.asarray(ids), shape)

    schedule = replace(config.optim, warmup=min(config.optim.warmup, WARMUP))
    batcher, width = Batches(data.train, config.data, config.train.seed), config.data.max_tokens + 1
    dense = [np.asarray(dense_tokens(jax.tree.map(jnp.asarray, batcher.batch(step)))) for step in range(batches)]
    return TrainingSetup(
        loss, params, [{"words": np.pad(x, ((0, 0), (0, 0), (0, width - x.shape[2])))} for x in dense],
        optim.build(schedule, config.train.steps), encode=encode, decode_loss=decode_loss, logits=logits,
        free_run=free_run, vocab=data.tokenizer.vocab_size, pad=PAD, unknown=UNK, module=model, seed=config.train.seed,
    )  # fmt: skip


def as_documents(ids: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Arranges generated ids as documents of sentences; what exceeds the shape is cut off.

    Args:
        ids: [document, token].
        shape: [document, sentence, word] of the result.

    Example:
        >>> as_documents(np.array([[7, EOS, 8, 9, EOD, PAD]]), (1, 2, 4)).tolist()
        [[[7, 2, 0, 0], [8, 9, 3, 0]]]
    """
    documents = np.full(shape, PAD)
    for doc, row in enumerate(ids):
        ends = np.flatnonzero((row == EOS) | (row == EOD)) + 1
        for sent, sentence in enumerate(np.split(row, ends)[: shape[1]]):
            documents[doc, sent, : min(len(sentence), shape[2])] = sentence[: shape[2]]
    return documents
