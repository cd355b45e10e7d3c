"""What every autoencoder answers with, whatever its inside: training, evaluation and the doctor are written once."""

from typing import NamedTuple

from jaxtyping import Array, Bool, Float, Int

from hae_jax.config import ModelConfig
from hae_jax.layers.losses import Loss


class Code(NamedTuple):
    """All that the decoder learns of a document, or of a series.

    Attributes:
        document: one vector a document.
        memory: sentence states for attention; None without it. With it the code has no fixed size.
        memory_mask: True where a memory entry is real.
    """

    document: Float[Array, "doc code"]
    memory: Float[Array, "doc sent feat"] | None = None
    memory_mask: Bool[Array, "doc sent"] | None = None


class Losses(NamedTuple):
    """Sums over what a batch really holds.

    Attributes:
        reconstruction: nats of words decoded through the document's code; squared errors of values, where series are decoded.
        sentence: nats of words decoded from their own sentence's vector; None where the model has no such loss.
        vector: squared distances from the sentence vectors that the decoder finds to those that the encoder found, one
            a sentence; None where the model has no such loss.
    """

    reconstruction: Loss
    sentence: Loss | None = None
    vector: Loss | None = None


class Scores(NamedTuple):
    """Teacher-forced results, one entry a position of the batch; order is the model's own.

    Attributes:
        nll: -ln p(word), in nats.
        correct: whether the word was the likeliest.
        mask: True where the position holds a real token.
        doc: index of the token's document in the batch.
        sent: index of the token's sentence in its document.
    """

    nll: Float[Array, "token"]
    correct: Bool[Array, "token"]
    mask: Bool[Array, "token"]
    doc: Int[Array, "token"]
    sent: Int[Array, "token"]


def objective(losses: Losses, config: ModelConfig) -> Float[Array, ""]:
    """Returns what training minimises: the mean of each loss, weighted as the config says."""
    weighted = losses.reconstruction.mean
    if losses.sentence is not None:
        weighted += config.sentence_loss * losses.sentence.mean
    if losses.vector is not None:
        weighted += config.vector_loss * losses.vector.mean
    return weighted
