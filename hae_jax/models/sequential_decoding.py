"""Teacher-forced decoding with `feedback="word"`: one sentence after the other, all documents in parallel."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from hae_jax.batch import PAD, Batch
from hae_jax.layers.stack import StackDropout, stack_scan
from hae_jax.models.bridge import final_vector, initial_states, vector_size
from hae_jax.models.decoder import next_sentence, repeat_over_time
from hae_jax.models.embedding import word_dropout
from hae_jax.models.outputs import Code, order_part
from hae_jax.models.ragged import dense_tokens, sentence_mask


class Substitution(NamedTuple):
    """Encoder vectors from which some sentences are decoded instead of the decoder's.

    Attributes:
        is_encoder_vector: True where a sentence is decoded from the encoder's vector.
        encoder_vectors: the encoder's vectors.
    """

    is_encoder_vector: Bool[Array, "*doc sent"]
    encoder_vectors: Float[Array, "*doc sent vec"]


class SentenceInputs(NamedTuple):
    """Inputs of `sequential_outputs` at one sentence of every document.

    Attributes:
        embeddings: inputs of the word decoder, the start of the sentence and all tokens.
        mask: True where they are valid.
        sentence_dropout: masks of the sentence decoder.
        sentence_perturbations: of the sentence decoder.
        word_dropout: masks of the word decoder.
        word_perturbations: of the word decoder.
        substitution: None if all sentences are decoded from the decoder's vectors.
    """

    embeddings: Float[Array, "doc sent word embed"]
    mask: Bool[Array, "doc sent word"]
    sentence_dropout: StackDropout
    sentence_perturbations: tuple[Float[Array, "doc sent hidden"] | None, ...]
    word_dropout: StackDropout
    word_perturbations: tuple[Float[Array, "doc sent word hidden"] | None, ...]
    substitution: Substitution | None


def sequential_outputs(
    model: nn.Module, code: Code, batch: Batch, train: bool, substitution: Substitution | None = None
) -> tuple[Float[Array, "doc sent vec"], Float[Array, "doc sent word hidden"], Int[Array, "doc sent word"]]:
    """Decodes each sentence given the word decoder's last state of the previous one, as in the paper.

    Args:
        model: the hierarchical model.
        code: the documents' codes.
        batch: the documents.
        train: samples dropout.
        substitution: encoder vectors from which some sentences are decoded.

    Returns:
        The decoder's sentence vectors, the word decoder's outputs, and the tokens to be predicted from them.
    """
    config, tokens = model.config, dense_tokens(batch)
    docs, sents, width = tokens.shape
    weights, (layers, bridge) = model.sentence_decoder.weights(), model.word_decoder.weights()
    sentences, words = model.sentence_decoder.recurrent, model.word_decoder.recurrent
    steps = SentenceInputs(
        # One step more than there are tokens: the last state must include the end mark.
        word_dropout(model, model.embedding(jnp.pad(tokens, ((0, 0), (0, 0), (1, 0)))), train),
        jnp.pad(tokens != PAD, ((0, 0), (0, 0), (1, 0)), mode="edge"),
        repeat_over_time(sentences.dropout_masks(docs, sents, train), docs, sents),
        sentences.perturbations(docs, sents),
        _split_rows(words.dropout_masks(docs * sents, width + 1, train), docs, sents),
        words.perturbations(docs, sents, width + 1, part=len(batch.buckets)),
        substitution,
    )

    def decode_sentence(carry, step: SentenceInputs):
        sentence_states, feedback = carry
        sentence_states, decoder_vector, sentence_gates = next_sentence(
            sentence_states, feedback, code, weights, step.sentence_dropout, step.sentence_perturbations, config
        )
        vector = decoder_vector
        if step.substitution is not None:
            replaced, encoder_vector = step.substitution
            vector = jnp.where(replaced[:, None], encoder_vector, decoder_vector)
        word_states, hidden, word_gates = stack_scan(
            initial_states(vector, bridge, config, config.layers),
            step.embeddings,
            step.mask,
            layers,
            step.word_dropout,
            step.word_perturbations,
            model.word_decoder.context(vector),
        )
        carry = sentence_states, final_vector(word_states, layers, config)
        return carry, (decoder_vector, hidden, sentence_gates, word_gates)

    first_states = initial_states(order_part(code, config), weights.bridge, config, config.layers)
    no_feedback = jnp.zeros((docs, vector_size(config, config.hidden_dim)), config.dtype)
    _, outputs = jax.lax.scan(decode_sentence, (first_states, no_feedback), _swap(steps))
    vectors, hidden, sentence_gates, word_gates = _swap(outputs)
    sentences.sow_activations(sentence_gates, sentence_mask(batch))
    words.sow_activations(word_gates, steps.mask, len(batch.buckets))
    return vectors, hidden[:, :, :width], tokens


def _swap(tree):
    """Exchanges the axes of documents and sentences."""
    return jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), tree)


def _split_rows(dropout: StackDropout, docs: int, sents: int) -> StackDropout:
    """Splits the row axis of the word decoder's masks into [doc, sent]."""

    def split(x):
        return jnp.broadcast_to(x, (docs * sents, *x.shape[1:])).reshape(docs, sents, *x.shape[1:])

    return jax.tree.map(split, dropout)
