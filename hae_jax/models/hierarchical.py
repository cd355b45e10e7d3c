"""The hierarchical autoencoder: words -> sentences -> document -> sentences -> words."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from hae_jax.batch import PAD, Batch
from hae_jax.layers.losses import Loss, squared_error
from hae_jax.layers.stack import stack_scan
from hae_jax.models.autoregressive import AutoregressiveDecoder
from hae_jax.models.bridge import final_vector, initial_states, vector_size
from hae_jax.models.decoder import every_step, next_sentence
from hae_jax.models.embedding import word_dropout
from hae_jax.models.outputs import Code, Losses, Scores
from hae_jax.models.ragged import dense_tokens, gather_documents, gather_rows, sentence_mask, sentence_of_row, shift_right, split_buckets


class Hierarchical(AutoregressiveDecoder):
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

    def __call__(self, batch: Batch, train: bool = False) -> Losses:
        """Sums the losses of a batch: decoded through the codes, sentences from their own vectors, vectors compared.

        While training, a share of the sentences, drawn at random, is decoded from the encoder's vectors instead of
        through the code: both losses for the price of one. Otherwise each sentence is decoded both ways.

        Args:
            batch: the documents.
            train: draws word dropout, dropout and zoneout from the stream `dropout`.
        """
        own = self.encoder.sentences(self.words, batch, train)
        code = self.encoder.documents(own, batch, train)
        if self.config.feedback == "word":
            vectors, words, sentences = self._tell_in_turn(code, own, batch, train)
        else:
            vectors = self._unfold(code, own, batch, train)
            words, sentences = self._tell_side_by_side(gather_rows(vectors, batch), own, batch, train)
        if not self.config.vector_loss:
            return Losses(words, sentences)
        # Drawn to the encoder's vectors, which must not be drawn to it: all vectors being equal would be best.
        target = jax.lax.stop_gradient(gather_documents(own, batch))
        real = sentence_mask(batch)
        distance = squared_error(vectors, target, jnp.broadcast_to(real[..., None], target.shape))
        return Losses(words, sentences, Loss(distance.total, real.sum(dtype=jnp.float32)))

    def encode(self, batch: Batch) -> Code:
        """Returns the documents' codes."""
        return self.encoder.documents(self.encoder.sentences(self.words, batch), batch)

    def embed_sentences(self, batch: Batch) -> Float[Array, "doc sent vec"]:
        """Returns the encoder's vector of each sentence; zeros where there is none."""
        return gather_documents(self.encoder.sentences(self.words, batch), batch)

    def unfold(self, code: Code, sentences: int) -> Float[Array, "doc sent vec"]:
        """Returns the decoder's vectors of the first sentences, from the codes alone; with `feedback="none"`."""
        return self.sentence_decoder(code, None, jnp.ones((len(code.document), sentences), bool))

    def score(self, code: Code, batch: Batch) -> Scores:
        """Scores the words of a batch, teacher forced, decoded through the given codes."""
        sents = batch.row_index.shape[1]
        if self.config.feedback == "word":
            _, hidden, words = self._in_turn(code, batch, False)
            place = jnp.broadcast_to(jnp.arange(batch.row_index.size).reshape(*batch.row_index.shape, 1), words.shape)
            pieces = [(hidden, words, place)]
        else:
            own = self.encoder.sentences(self.words, batch)
            vectors = split_buckets(gather_rows(self._unfold(code, own, batch, False), batch), batch)
            holders = split_buckets(sentence_of_row(batch)[:, None], batch)
            pieces = [
                (self._say(v, table, False, k), table, jnp.broadcast_to(p, table.shape))
                for k, (v, table, p) in enumerate(zip(vectors, batch.buckets, holders, strict=True))
            ]
        hidden = jnp.concatenate([h.reshape(-1, h.shape[-1]) for h, _, _ in pieces])
        words = jnp.concatenate([w.ravel() for _, w, _ in pieces])
        place = jnp.concatenate([p.ravel() for _, _, p in pieces])
        nll, hit = self.words.scores(hidden, words)
        return Scores(nll, hit, words != PAD, place // sents, place % sents)

    def _unfold(self, code: Code, own: Float[Array, "row vec"], batch: Batch, train: bool):
        """Returns the decoder's sentence vectors, for the couplings that do not wait for the words."""
        previous = None
        if self.config.feedback == "sentence":
            previous = jnp.pad(gather_documents(own, batch), ((0, 0), (1, 0), (0, 0)))[:, :-1]
        return self.sentence_decoder(code, previous, sentence_mask(batch), train)

    def _say(self, vectors: Float[Array, "row vec"], words: Int[Array, "part word"], train: bool, part: int):
        """Returns the hidden states for one table, of as many sets of vectors as its rows go into those given."""
        inputs = word_dropout(self, self.words(shift_right(words)), train)
        mask = jnp.tile(words != PAD, (len(vectors) // len(words), 1))
        return self.word_decoder(vectors, inputs, mask, train, part)

    def _tell_side_by_side(
        self, vectors: Float[Array, "row vec"], own: Float[Array, "row vec"], batch: Batch, train: bool
    ) -> tuple[Loss, Loss | None]:
        """Sums the nats of the words decoded from `vectors`, and of those decoded from `own`."""
        losses = []
        for part, (words, given, known) in enumerate(
            zip(batch.buckets, split_buckets(vectors, batch), split_buckets(own, batch), strict=True)
        ):
            if not self.config.sentence_loss:
                losses.append([self._nats(self._say(given, words, train, part), words)])
            elif train:
                order, cut = self._draw(len(words))
                words, mixed = jnp.asarray(words)[order], jnp.concatenate([known[order[:cut]], given[order[cut:]]])
                hidden = self._say(mixed, words, train, part)
                losses.append([self._nats(hidden[cut:], words[cut:]), self._nats(hidden[:cut], words[:cut])])
            else:
                hidden = self._say(jnp.concatenate([given, known]), words, train, part)
                losses.append([self._nats(half, words) for half in jnp.split(hidden, 2)])
        through, *beside = (jax.tree.map(lambda *parts: sum(parts), *tables) for tables in zip(*losses, strict=True))
        return through, beside[0] if beside else None

    def _tell_in_turn(
        self, code: Code, own: Float[Array, "row vec"], batch: Batch, train: bool
    ) -> tuple[Float[Array, "doc sent vec"], Loss, Loss | None]:
        """Does the same for the published coupling; returns the decoder's sentence vectors as well."""
        if not (train and self.config.sentence_loss):
            vectors, hidden, words = self._in_turn(code, batch, train)
            beside = None
            if self.config.sentence_loss:
                beside = self._tell_side_by_side(jnp.zeros_like(own), own, batch, False)[1]
            return vectors, self._nats(hidden, words), beside
        order, cut = self._draw(batch.row_index.size)
        known = jnp.zeros(batch.row_index.size, bool).at[order[:cut]].set(True).reshape(batch.row_index.shape)
        vectors, hidden, words = self._in_turn(code, batch, train, (known, gather_documents(own, batch)))
        hidden, words = (x.reshape(-1, *x.shape[2:])[order] for x in (hidden, words))
        return vectors, self._nats(hidden[cut:], words[cut:]), self._nats(hidden[:cut], words[:cut])

    def _draw(self, sentences: int) -> tuple[Int[Array, "sentence"], int]:
        """Shuffles sentences; returns how many of the first ones are to be decoded from their own vectors, too."""
        cut = min(max(round(self.config.sentence_share * sentences), 1), sentences - 1)
        return jax.random.permutation(self.make_rng("dropout"), sentences), cut

    def _nats(self, hidden: Float[Array, "*batch hidden"], words: Int[Array, "*batch"]) -> Loss:
        return self.words.loss(hidden.reshape(-1, hidden.shape[-1]), words.ravel())

    def _in_turn(
        self,
        code: Code,
        batch: Batch,
        train: bool,
        instead: tuple[Bool[Array, "doc sent"], Float[Array, "doc sent vec"]] | None = None,
    ) -> tuple[Float[Array, "doc sent vec"], Float[Array, "doc sent word hidden"], Int[Array, "doc sent word"]]:
        """Decodes sentence after sentence, each begun from the word decoder's last state, as published.

        Args:
            code: the documents' codes.
            batch: the words.
            train: draws noise.
            instead: which sentences are decoded from other vectors than the decoder's own, and those vectors.

        Returns:
            The decoder's sentence vectors, the hidden states, and the words to be read from them.
        """
        config = self.config
        words = dense_tokens(batch)
        docs, sents, width = words.shape
        # One step more than there are words: the last state must have read the end mark.
        inputs = word_dropout(self, self.words(jnp.pad(words, ((0, 0), (0, 0), (1, 0)))), train)
        mask = jnp.pad(words != PAD, ((0, 0), (0, 0), (1, 0)), mode="edge")
        weights, (layers, opening) = self.sentence_decoder.weights(), self.word_decoder.weights()
        upper, lower = self.sentence_decoder.recurrent, self.word_decoder.recurrent
        steps = (
            inputs,
            mask,
            every_step(upper.noises(docs, sents, train), docs, sents),
            upper.nudges(docs, sents),
            _by_sentence(lower.noises(docs * sents, width + 1, train), docs, sents),
            lower.nudges(docs, sents, width + 1, part=len(batch.buckets)),
            instead,
        )

        def advance(carry, step):
            states, feedback = carry
            inputs, mask, upper_noises, upper_nudges, lower_noises, lower_nudges, instead = step
            states, vector, upper_gates = next_sentence(
                states, feedback, code, weights, upper_noises, upper_nudges, config
            )
            told = vector if instead is None else jnp.where(instead[0][:, None], instead[1], vector)
            begun, context = initial_states(told, opening, config), self.word_decoder.context(told)
            said, hidden, lower_gates = stack_scan(begun, inputs, mask, layers, lower_noises, lower_nudges, context)
            return (states, final_vector(said, layers, config)), (vector, hidden, upper_gates, lower_gates)

        begun = initial_states(code.document, weights.opening, config)
        silence = jnp.zeros((docs, vector_size(config, config.hidden_dim)), config.dtype)
        swap = lambda tree: jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), tree)  # noqa: E731
        _, (vectors, hidden, upper_gates, lower_gates) = jax.lax.scan(advance, (begun, silence), swap(steps))
        upper.show(swap(upper_gates), sentence_mask(batch))
        lower.show(swap(lower_gates), mask, len(batch.buckets))
        return jnp.swapaxes(vectors, 0, 1), jnp.swapaxes(hidden, 0, 1)[:, :, :width], words


def _by_sentence(noises, docs: int, sents: int):
    """Gives the noise of all sentences' words the axes [doc, sent, ...]."""
    spread = lambda x: jnp.broadcast_to(x, (docs * sents, *x.shape[1:])).reshape(docs, sents, *x.shape[1:])  # noqa: E731
    return jax.tree.map(spread, noises)
