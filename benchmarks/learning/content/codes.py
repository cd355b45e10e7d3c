"""Documents of token ids to codes, and codes to rows of token ids and to sentence vectors."""

from functools import partial

import flax.linen as nn
import jax
import numpy as np
from jaxtyping import Float, PyTree

from hae_jax.batch import Batch
from hae_jax.config.validate import require
from hae_jax.data import Corpus, sequential_batches
from hae_jax.inference.decode_loop import bind
from hae_jax.inference.generate import greedy, split
from hae_jax.inference.parallel_greedy import sentence_vectors as decoder_vectors
from hae_jax.inference.teacher_forcing import encode
from hae_jax.trained import TrainedModel

BATCH_SIZE = 64
"""Documents that are encoded together."""


@partial(jax.jit, static_argnums=(0, 3, 4))
def _decode_vectors(model: nn.Module, params: PyTree, batch: Batch, sentences: int, max_tokens: int):
    return decoder_vectors(model, params, bind(model, params, "encode")(batch), sentences, max_tokens)


@partial(jax.jit, static_argnums=0)
def _embed(model: nn.Module, params: PyTree, batch: Batch):
    return bind(model, params, "embed_sentences")(batch)


def codes(model: TrainedModel, corpus: Corpus) -> Float[np.ndarray, "doc code"]:
    """Encodes all documents of a corpus."""
    batches = sequential_batches(corpus, model.config.data, BATCH_SIZE)
    parts = [np.asarray(encode(model.module, model.params, batch).document[:count]) for batch, count in batches]
    return np.concatenate(parts).astype(np.float32)


def decoded_rows(model: TrainedModel, corpus: Corpus) -> list[list[list[int]]]:
    """Encodes all documents of a corpus, and decodes their codes greedily to rows of token ids."""
    data, rows = model.config.data, []
    limit = data.max_sentences * (data.max_tokens + 1)
    for batch, count in sequential_batches(corpus, data, BATCH_SIZE):
        code = encode(model.module, model.params, batch)
        rows += split(greedy(model.module, model.params, code, limit))[:count]
    return rows


def decoded_vectors(model: TrainedModel, corpus: Corpus) -> Float[np.ndarray, "doc sent vec"]:
    """Returns the sentence vectors that the model's own decoder produces from the code of each document.

    Args:
        model: a hierarchical autoencoder whose `feedback` is not "word".
        corpus: the documents.

    Returns:
        Vectors of length 1, for as many sentences as a document may have.

    Raises:
        ValueError: if the model's sentence decoder depends on the states of the word decoder.
    """
    require(
        model.config.model.feedback != "word", "model.feedback", "be 'none' or 'sentence' to decode sentence vectors",
        repr(model.config.model.feedback), "Decode texts instead.",
    )  # fmt: skip
    data = model.config.data
    parts = [
        np.asarray(
            _decode_vectors(model.module, model.params, batch, data.max_sentences, data.max_tokens + 1), np.float32
        )[:count]
        for batch, count in sequential_batches(corpus, data, BATCH_SIZE)
    ]
    return _unit(np.concatenate(parts))


def sentence_vectors(model: TrainedModel, corpus: Corpus) -> Float[np.ndarray, "doc vec"]:
    """Returns the encoder's vector, of length 1, of each document of one sentence."""
    parts = [
        np.asarray(_embed(model.module, model.params, batch), np.float32)[:count, 0]
        for batch, count in sequential_batches(corpus, model.config.data, BATCH_SIZE)
    ]
    return _unit(np.concatenate(parts))


def _unit(vectors: Float[np.ndarray, "*any vec"]) -> Float[np.ndarray, "*any vec"]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
