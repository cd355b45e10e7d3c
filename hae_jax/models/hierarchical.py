"""The hierarchical autoencoder: words -> sentences -> document -> sentences -> words."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from hae_jax.batch import EOS, PAD, Batch
from hae_jax.config import ModelConfig
from hae_jax.layers.losses import Loss
from hae_jax.layers.stack import States, stack_scan, stack_step, zero_states
from hae_jax.models.decoder import SentenceDecoder, WordDecoder, every_step, next_sentence
from hae_jax.models.encoder import Encoder
from hae_jax.models.handover import open_states, summarize, vector_size
from hae_jax.models.interface import Code, Losses, Scores
from hae_jax.models.tables import by_document, by_row, dense_words, places, shift, split_rows
from hae_jax.models.words import Words, drop_words


class DecoderState(NamedTuple):
    """What the decoder carries from one word to the next.

    Attributes:
        code: the documents' codes.
        sentence: states of the sentence decoder.
        word: states of the word decoder.
        vector: the vector of the sentence that is being said.
        reader: with `feedback="sentence"` the word encoder's states over what has been said of this sentence.
    """

    code: Code
    sentence: States
    word: States
    vector: Float[Array, "doc vec"]
    reader: States | None


class Hierarchical(nn.Module):
    """Li, Luong & Jurafsky's hierarchical autoencoder, with attention over sentences where the config says so.

    `config.feedback` is the coupling of the decoder's two levels, what the sentence decoder reads between sentences:

    ========  ======================================================================================================
    none      nothing: its state alone carries the document. All sentences are decoded side by side.
    sentence  the previous sentence's vector: the encoder's while training, that of the sentence said afterwards.
    word      the word decoder's last state, as published: a sentence has to be finished before the next begins.
    ========  ======================================================================================================

    Attributes:
        config: sizes and options.
        vocab: number of word ids.

    Reference:
        Li, Luong & Jurafsky, 2015, https://arxiv.org/abs/1506.01057
    """

    config: ModelConfig
    vocab: int

    def setup(self) -> None:
        self.words = Words(self.config, self.vocab)
        self.encoder = Encoder(self.config)
        self.sentence_decoder = SentenceDecoder(self.config)
        self.word_decoder = WordDecoder(self.config)

    def __call__(self, batch: Batch, train: bool = False) -> Losses:
        """Sums the nats of a batch: encoded, decoded through the codes, and each sentence from its own vector.

        Args:
            batch: the documents.
            train: draws word dropout, dropout and zoneout from the stream `dropout`.
        """
        own = self.encoder.sentences(self.words, batch, train)
        code = self.encoder.documents(own, batch, train)
        beside = self.config.sentence_loss > 0
        if self.config.feedback == "word":
            hidden, words = self._in_turn(code, batch, train)
            through = self.words.loss(hidden.reshape(-1, hidden.shape[-1]), words.ravel())
            if not beside:
                return Losses(through)
            return Losses(through, self._side_by_side(own[None], batch, train)[0])
        vectors = by_row(self._unfold(code, own, batch, train), batch)
        losses = self._side_by_side(jnp.stack([vectors, own]) if beside else vectors[None], batch, train)
        return Losses(*losses)

    def encode(self, batch: Batch) -> Code:
        """Returns the documents' codes."""
        return self.encoder.documents(self.encoder.sentences(self.words, batch), batch)

    def embed_sentences(self, batch: Batch) -> Float[Array, "doc sent vec"]:
        """Returns the encoder's vector of each sentence; zeros where there is none."""
        return by_document(self.encoder.sentences(self.words, batch), batch)

    def score(self, code: Code, batch: Batch) -> Scores:
        """Scores the words of a batch, teacher forced, decoded through the given codes."""
        sents = batch.slots.shape[1]
        if self.config.feedback == "word":
            hidden, words = self._in_turn(code, batch, False)
            place = jnp.broadcast_to(jnp.arange(batch.slots.size).reshape(*batch.slots.shape, 1), words.shape)
            pieces = [(hidden, words, place)]
        else:
            own = self.encoder.sentences(self.words, batch)
            vectors = split_rows(by_row(self._unfold(code, own, batch, False), batch), batch)
            holders = split_rows(places(batch)[:, None], batch)
            pieces = [
                (self._say(v, table, False, k), table, jnp.broadcast_to(p, table.shape))
                for k, (v, table, p) in enumerate(zip(vectors, batch.tables, holders, strict=True))
            ]
        hidden = jnp.concatenate([h.reshape(-1, h.shape[-1]) for h, _, _ in pieces])
        words = jnp.concatenate([w.ravel() for _, w, _ in pieces])
        place = jnp.concatenate([p.ravel() for _, _, p in pieces])
        nll, hit = self.words.scores(hidden, words)
        return Scores(nll, hit, words != PAD, place // sents, place % sents)

    def start(self, code: Code) -> DecoderState:
        """Returns the decoder's state before the first word; hand PAD to the first `step`."""
        config, docs = self.config, len(code.document)
        zeros = zero_states(config, docs, config.hidden)
        return DecoderState(
            code,
            open_states(code.document, self.sentence_decoder.weights().opening, config),
            zeros,
            jnp.zeros((docs, vector_size(config, config.hidden)), config.dtype),
            zeros if config.feedback == "sentence" else None,
        )

    def step(self, state: DecoderState, token: Int[Array, "doc"]) -> tuple[DecoderState, Float[Array, "doc vocab"]]:
        """Reads the word that was just said and returns the logits of the next.

        Args:
            state: the state before.
            token: the word; PAD before the first word of a document. After EOS the next sentence is begun.

        Returns:
            The state after, and the logits.
        """
        config, docs = self.config, len(token)
        begins, follows = ((token == PAD) | (token == EOS))[:, None], (token == EOS)[:, None]
        layers, opening = self.word_decoder.weights()
        still = (None,) * config.layers
        upper, lower = (
            jax.tree.map(lambda x: x[:, 0], decoder.recurrent.noises(docs, 1, False))
            for decoder in (self.sentence_decoder, self.word_decoder)
        )
        vectors = self.words(token)

        def choose(new, old):
            return jax.tree.map(lambda n, o: jnp.where(begins, n, o), new, old)

        def say(states, vectors, vector):
            return stack_step(states, vectors, layers, lower, still, self.word_decoder.context(vector))[0]

        reader, feedback = None, None
        if config.feedback == "word":
            feedback = jnp.where(follows, summarize(say(state.word, vectors, state.vector), config), 0)
        if config.feedback == "sentence":
            reader, _ = stack_step(state.reader, vectors, self.encoder.word.weights(), lower, still)
            feedback = jnp.where(follows, summarize(reader, config), 0)
            reader = choose(zero_states(config, docs, config.hidden), reader)
        weights = self.sentence_decoder.weights()
        sentence, vector, _ = next_sentence(state.sentence, feedback, state.code, weights, upper, still, config)
        sentence, vector = choose((sentence, vector), (state.sentence, state.vector))
        word = choose(open_states(vector, opening, config), state.word)
        word = say(word, jnp.where(begins, 0, vectors), vector)
        return DecoderState(state.code, sentence, word, vector, reader), self.words.logits(word[-1].hidden)

    def _unfold(self, code: Code, own: Float[Array, "row vec"], batch: Batch, train: bool):
        """Returns the decoder's sentence vectors, for the couplings that do not wait for the words."""
        previous = None
        if self.config.feedback == "sentence":
            previous = jnp.pad(by_document(own, batch), ((0, 0), (1, 0), (0, 0)))[:, :-1]
        return self.sentence_decoder(code, previous, batch.slots.shape[1], train)

    def _say(self, vectors: Float[Array, "row vec"], words: Int[Array, "part word"], train: bool, part: int):
        """Returns the hidden states for one table, of as many sets of vectors as its rows go into those given."""
        inputs = drop_words(self, self.words(shift(words)), train)
        mask = jnp.tile(words != PAD, (len(vectors) // len(words), 1))
        return self.word_decoder(vectors, inputs, mask, train, part)

    def _side_by_side(self, sets: Float[Array, "set row vec"], batch: Batch, train: bool) -> list[Loss]:
        """Decodes every table from each set of vectors in one go, and sums the nats of each set."""
        losses = []
        for part, (table, vectors) in enumerate(zip(batch.tables, split_rows(sets, batch), strict=True)):
            hidden = self._say(vectors.reshape(-1, vectors.shape[-1]), table, train, part)
            flat = hidden.reshape(len(sets), table.size, -1)
            losses.append([self.words.loss(h, table.ravel()) for h in flat])
        return [jax.tree.map(lambda *parts: sum(parts), *tables) for tables in zip(*losses, strict=True)]

    def _in_turn(
        self, code: Code, batch: Batch, train: bool
    ) -> tuple[Float[Array, "doc sent word hidden"], Int[Array, "doc sent word"]]:
        """Decodes sentence after sentence, each begun from the word decoder's last state, as published.

        Returns:
            The hidden states, and the words to be read from them.
        """
        config = self.config
        words = dense_words(batch)
        docs, sents, width = words.shape
        # One step more than there are words: the last state must have read the end mark.
        inputs = drop_words(self, self.words(jnp.pad(words, ((0, 0), (0, 0), (1, 0)))), train)
        mask = jnp.pad(words != PAD, ((0, 0), (0, 0), (1, 0)), mode="edge")
        weights, (layers, opening) = self.sentence_decoder.weights(), self.word_decoder.weights()
        upper, lower = self.sentence_decoder.recurrent, self.word_decoder.recurrent
        steps = (
            inputs,
            mask,
            every_step(upper.noises(docs, sents, train), docs, sents),
            upper.nudges(docs, sents),
            _by_sentence(lower.noises(docs * sents, width + 1, train), docs, sents),
            lower.nudges(docs, sents, width + 1, part=len(batch.tables)),
        )

        def advance(carry, step):
            states, feedback = carry
            inputs, mask, upper_noises, upper_nudges, lower_noises, lower_nudges = step
            states, vector, upper_gates = next_sentence(
                states, feedback, code, weights, upper_noises, upper_nudges, config
            )
            begun, context = open_states(vector, opening, config), self.word_decoder.context(vector)
            said, hidden, lower_gates = stack_scan(begun, inputs, mask, layers, lower_noises, lower_nudges, context)
            return (states, summarize(said, config)), (hidden, upper_gates, lower_gates)

        begun = open_states(code.document, weights.opening, config)
        silence = jnp.zeros((docs, vector_size(config, config.hidden)), config.dtype)
        swap = lambda tree: jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), tree)  # noqa: E731
        _, (hidden, upper_gates, lower_gates) = jax.lax.scan(advance, (begun, silence), swap(steps))
        upper.show(swap(upper_gates))
        lower.show(swap(lower_gates), len(batch.tables))
        return jnp.swapaxes(hidden, 0, 1)[:, :, :width], words


def _by_sentence(noises, docs: int, sents: int):
    """Gives the noise of all sentences' words the axes [doc, sent, ...]."""
    spread = lambda x: jnp.broadcast_to(x, (docs * sents, *x.shape[1:])).reshape(docs, sents, *x.shape[1:])  # noqa: E731
    return jax.tree.map(spread, noises)
