"""Teacher-forced decoding of the hierarchical model: every token is predicted from the true tokens before it.

Two paths, chosen once by `Hierarchical.setup`. With `feedback` "none" or "sentence" all sentence vectors are decoded
first, and then all sentences of a length bucket in parallel. With `feedback="word"` each sentence vector depends on the
word decoder's last state: sentences are decoded sequentially, in parallel over documents.

All functions take the module whose `apply` they run in.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from hae_jax.batch import PAD, Batch
from hae_jax.layers.losses import Loss
from hae_jax.models.embedding import word_dropout
from hae_jax.models.outputs import Code
from hae_jax.models.ragged import (
    gather_documents,
    gather_rows,
    sentence_mask,
    sentence_of_row,
    shift_right,
    split_buckets,
)
from hae_jax.models.sequential_decoding import Substitution, sequential_outputs


class DecodedLosses(NamedTuple):
    """Sentence vectors of a decoded batch, and its losses.

    Attributes:
        vectors: the decoder's sentence vectors.
        code: negative log-likelihood of the tokens decoded from the code.
        sentence: of those decoded directly from the encoder's sentence vectors; None with `sentence_loss` 0.
    """

    vectors: Float[Array, "doc sent vec"]
    code: Loss
    sentence: Loss | None


class DecodedTokens(NamedTuple):
    """Hidden states of a decoded batch, one entry per position.

    Attributes:
        hidden: the word decoder's output, from which the token is predicted.
        tokens: the true tokens.
        sentence: sentence of each token, as doc * sents + sent.
    """

    hidden: Float[Array, "token hidden"]
    tokens: Int[Array, "token"]
    sentence: Int[Array, "token"]


# Parallel path.


def parallel_losses(
    model: nn.Module, code: Code, encoder_vectors: Float[Array, "row vec"], batch: Batch, train: bool
) -> DecodedLosses:
    """Decodes all sentences of a bucket in parallel, from the decoder's vectors and from the encoder's."""
    vectors = _decode_vectors(model, code, encoder_vectors, batch, train)
    decoder_buckets = split_buckets(gather_rows(vectors, batch), batch)
    losses = [
        _bucket_losses(model, tokens, decoder_vectors, encoder_vectors, train, part)
        for part, (tokens, decoder_vectors, encoder_vectors) in enumerate(
            zip(batch.buckets, decoder_buckets, split_buckets(encoder_vectors, batch), strict=True)
        )
    ]
    return DecodedLosses(vectors, *_sum_losses(losses))


def parallel_tokens(model: nn.Module, code: Code, batch: Batch) -> DecodedTokens:
    """Decodes all sentences of a bucket in parallel from the code, without dropout."""
    encoder_vectors = model.encoder.sentences(model.embedding, batch)
    vectors = gather_rows(_decode_vectors(model, code, encoder_vectors, batch, False), batch)
    owners = split_buckets(sentence_of_row(batch)[:, None], batch)
    return _concatenate(
        [
            (_decode_words(model, vectors, tokens, False, part), tokens, jnp.broadcast_to(owner, tokens.shape))
            for part, (vectors, tokens, owner) in enumerate(
                zip(split_buckets(vectors, batch), batch.buckets, owners, strict=True)
            )
        ]
    )


def _decode_vectors(model, code, encoder_vectors, batch, train) -> Float[Array, "doc sent vec"]:
    """Returns the decoder's sentence vectors."""
    previous = None
    if model.config.feedback == "sentence":
        previous = jnp.pad(gather_documents(encoder_vectors, batch), ((0, 0), (1, 0), (0, 0)))[:, :-1]
    return model.sentence_decoder(code, previous, sentence_mask(batch), train)


def _bucket_losses(model, tokens, decoder_vectors, encoder_vectors, train, part) -> tuple[Loss, Loss | None]:
    """Returns the losses of one bucket.

    In training each sentence is decoded once, from the encoder's vector (a random share of them) or the decoder's;
    otherwise from both.
    """
    if not model.config.sentence_loss:
        return _token_loss(model, _decode_words(model, decoder_vectors, tokens, train, part), tokens), None
    if train:
        order, split = _split_sentences(model, len(tokens))
        tokens = jnp.asarray(tokens)[order]
        vectors = jnp.concatenate([encoder_vectors[order[:split]], decoder_vectors[order[split:]]])
        hidden = _decode_words(model, vectors, tokens, train, part)
        return _token_loss(model, hidden[split:], tokens[split:]), _token_loss(model, hidden[:split], tokens[:split])
    hidden = _decode_words(model, jnp.concatenate([decoder_vectors, encoder_vectors]), tokens, train, part)
    code_hidden, sentence_hidden = jnp.split(hidden, 2)
    return _token_loss(model, code_hidden, tokens), _token_loss(model, sentence_hidden, tokens)


def _decode_words(model, vectors, tokens, train, part) -> Float[Array, "row word hidden"]:
    """Returns the word decoder's outputs for one bucket; the tokens are repeated for several sets of vectors."""
    inputs = word_dropout(model, model.embedding(shift_right(tokens)), train)
    mask = jnp.tile(tokens != PAD, (len(vectors) // len(tokens), 1))
    return model.word_decoder(vectors, inputs, mask, train, part)


# Sequential path.


def sequential_losses(
    model: nn.Module, code: Code, encoder_vectors: Float[Array, "row vec"], batch: Batch, train: bool
) -> DecodedLosses:
    """Decodes the sentences sequentially; in training a random share of them from the encoder's vectors."""
    if not model.config.sentence_loss:
        vectors, hidden, tokens = sequential_outputs(model, code, batch, train)
        return DecodedLosses(vectors, _token_loss(model, hidden, tokens), None)
    if not train:
        vectors, hidden, tokens = sequential_outputs(model, code, batch, train)
        sentence_losses = [
            _token_loss(model, _decode_words(model, encoder_vectors, tokens, False, part), tokens)
            for part, (tokens, encoder_vectors) in enumerate(
                zip(batch.buckets, split_buckets(encoder_vectors, batch), strict=True)
            )
        ]
        return DecodedLosses(vectors, _token_loss(model, hidden, tokens), _sum_losses(sentence_losses))
    order, split = _split_sentences(model, batch.row_index.size)
    chosen = jnp.zeros(batch.row_index.size, bool).at[order[:split]].set(True).reshape(batch.row_index.shape)
    substitution = Substitution(chosen, gather_documents(encoder_vectors, batch))
    vectors, hidden, tokens = sequential_outputs(model, code, batch, train, substitution)
    hidden, tokens = (x.reshape(-1, *x.shape[2:])[order] for x in (hidden, tokens))
    code_loss = _token_loss(model, hidden[split:], tokens[split:])
    return DecodedLosses(vectors, code_loss, _token_loss(model, hidden[:split], tokens[:split]))


def sequential_tokens(model: nn.Module, code: Code, batch: Batch) -> DecodedTokens:
    """Decodes the sentences sequentially from the code, without dropout."""
    _, hidden, tokens = sequential_outputs(model, code, batch, False)
    owner = jnp.arange(batch.row_index.size).reshape(*batch.row_index.shape, 1)
    return _concatenate([(hidden, tokens, jnp.broadcast_to(owner, tokens.shape))])


# Both paths.


def _split_sentences(model, sentences: int) -> tuple[Int[Array, "sentence"], int]:
    """Returns a random order of sentences, and how many of the first ones are decoded from the encoder's vectors."""
    split = min(max(round(model.config.sentence_share * sentences), 1), sentences - 1)
    return jax.random.permutation(model.make_rng("dropout"), sentences), split


def _token_loss(model, hidden: Float[Array, "*batch hidden"], tokens: Int[Array, "*batch"]) -> Loss:
    return model.embedding.loss(hidden.reshape(-1, hidden.shape[-1]), tokens.ravel())


def _sum_losses(losses):
    """Adds the losses of all buckets."""
    return jax.tree.map(lambda *parts: sum(parts), *losses)


def _concatenate(parts) -> DecodedTokens:
    """Flattens and concatenates hidden states, tokens and sentence numbers."""
    hidden, tokens, sentence = zip(*parts, strict=True)
    return DecodedTokens(
        jnp.concatenate([x.reshape(-1, x.shape[-1]) for x in hidden]),
        jnp.concatenate([x.ravel() for x in tokens]),
        jnp.concatenate([x.ravel() for x in sentence]),
    )
