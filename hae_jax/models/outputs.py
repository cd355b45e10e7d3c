"""Outputs that all autoencoders have in common, so that training, evaluation and the doctor work with each of them."""

from typing import NamedTuple

from jaxtyping import Array, Bool, Float, Int

from hae_jax.config import ModelConfig
from hae_jax.layers.losses import Loss
from hae_jax.models.bridge import vector_size


class Code(NamedTuple):
    """The decoder's only information about a document or a series.

    Attributes:
        document: one vector per document: the order part, followed by the topic part if the model has one.
        memory: sentence states for attention; None without it. With attention the code has no fixed size.
        memory_mask: True where a memory entry is valid.
    """

    document: Float[Array, "doc code"]
    memory: Float[Array, "doc sent feat"] | None = None
    memory_mask: Bool[Array, "doc sent"] | None = None


def order_part(code: Code, config: ModelConfig) -> Float[Array, "doc order"]:
    """Returns the part of the code that the decoder reads."""
    return code.document[:, : vector_size(config, config.sentence_dim)]


class Losses(NamedTuple):
    """Losses of a batch, summed over unmasked elements.

    Attributes:
        reconstruction: negative log-likelihood, in nats, of the tokens decoded from the document's code; squared error
            of the values of a series.
        sentence: negative log-likelihood, in nats, of the tokens decoded from their own sentence's vector; None if the
            model has no such loss.
        vector: squared distances of the decoder's sentence vectors to the encoder's, counted per sentence; None if the
            model has no such loss.
        topic: negative log-likelihood, in nats, of the words of a document and of the next one given the topic part of
            the code, averaged over words, counted per document; None without that part.
    """

    reconstruction: Loss
    sentence: Loss | None = None
    vector: Loss | None = None
    topic: Loss | None = None


class Scores(NamedTuple):
    """Teacher-forced scores, one entry per position of the batch, in an order of the model's choice.

    Attributes:
        nll: -ln p(token), in nats.
        correct: whether the token is the most probable one.
        mask: True where the position holds a token.
        doc: index of the token's document in the batch.
        sent: index of the token's sentence in its document.
    """

    nll: Float[Array, "token"]
    correct: Bool[Array, "token"]
    mask: Bool[Array, "token"]
    doc: Int[Array, "token"]
    sent: Int[Array, "token"]


def objective(losses: Losses, config: ModelConfig) -> Float[Array, ""]:
    """Returns the training objective: the sum of the losses' means, with the weights of the config."""
    weighted = losses.reconstruction.mean
    if losses.sentence is not None:
        weighted += config.sentence_loss * losses.sentence.mean
    if losses.vector is not None:
        weighted += config.vector_loss * losses.vector.mean
    if losses.topic is not None:
        # No other loss depends on the topic part, so that a weight would have no effect on Adam.
        weighted += losses.topic.mean
    return weighted
