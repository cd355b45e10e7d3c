"""The hierarchical autoencoder: words -> sentences -> document -> sentences -> words."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hae_jax.batch import PAD, Batch
from hae_jax.config import ModelConfig
from hae_jax.layers.losses import Loss, squared_error
from hae_jax.models.autoregressive import AutoregressiveDecoder
from hae_jax.models.decoder import SentenceDecoder, WordDecoder
from hae_jax.models.embedding import TokenEmbedding
from hae_jax.models.encoder import Encoder
from hae_jax.models.outputs import Code, Losses, Scores
from hae_jax.models.ragged import gather_documents, sentence_mask
from hae_jax.models.teacher_forcing import parallel_losses, parallel_tokens, sequential_losses, sequential_tokens
from hae_jax.models.topic import TopicEncoder


class Hierarchical(AutoregressiveDecoder, nn.Module):
    """Li, Luong & Jurafsky's hierarchical autoencoder, with attention over sentences if `config.attention`.

    `config.feedback` is the input of the sentence decoder, which represents the previous sentence:

    ========  ======================================================================================================
    none      no input: its state alone represents the document. All sentences are decoded in parallel.
    sentence  the encoder's vector of the previous sentence: the true one in training, else the generated one.
    word      the word decoder's last state, as in the paper: sentences are decoded sequentially.
    ========  ======================================================================================================

    Attributes:
        config: sizes and options.
        vocab: number of token ids.

    Reference:
        Li, Luong & Jurafsky, 2015, https://arxiv.org/abs/1506.01057
    """

    config: ModelConfig
    vocab: int

    def setup(self) -> None:
        # Flax folds names of submodules into random keys and parameter paths: "words" is that of all checkpoints.
        self.embedding = TokenEmbedding(self.config, self.vocab, name="words")
        self.encoder = Encoder(self.config)
        self.sentence_decoder = SentenceDecoder(self.config)
        self.word_decoder = WordDecoder(self.config)
        self.topic = TopicEncoder(self.config, self.vocab) if self.config.topic_dim else None
        sequential = self.config.feedback == "word"
        self.decode_losses = sequential_losses if sequential else parallel_losses
        self.decode_tokens = sequential_tokens if sequential else parallel_tokens

    def __call__(self, batch: Batch, train: bool = False) -> Losses:
        """Sums the losses of a batch: tokens decoded from the code and from sentence vectors, and vector distances.

        In training a random share of the sentences is decoded from the encoder's vectors instead of the code: both
        losses at the cost of one. Otherwise each sentence is decoded from both.

        Args:
            batch: the documents.
            train: samples word dropout, dropout and zoneout from the stream `dropout`.
        """
        encoder_vectors = self.encoder.sentences(self.embedding, batch, train)
        code = self.encoder.documents(encoder_vectors, batch, train)
        decoder_vectors, code_loss, sentence_loss = self.decode_losses(self, code, encoder_vectors, batch, train)
        vector_loss = self._vector_loss(decoder_vectors, encoder_vectors, batch)
        topic_loss = None if self.topic is None else self.topic.loss(self.topic(batch, train), batch)
        return Losses(code_loss, sentence_loss, vector_loss, topic_loss)

    def encode(self, batch: Batch) -> Code:
        """Returns the documents' codes."""
        code = self.encoder.documents(self.encoder.sentences(self.embedding, batch), batch)
        if self.topic is None:
            return code
        return code._replace(document=jnp.concatenate([code.document, self.topic(batch)], axis=-1))

    def embed_sentences(self, batch: Batch) -> Float[Array, "doc sent vec"]:
        """Returns the encoder's vector of each sentence; zeros where there is none."""
        return gather_documents(self.encoder.sentences(self.embedding, batch), batch)

    def score(self, code: Code, batch: Batch) -> Scores:
        """Scores the tokens of a batch, teacher-forced, decoded from the given codes."""
        decoded, sents = self.decode_tokens(self, code, batch), batch.row_index.shape[1]
        nll, correct = self.embedding.scores(decoded.hidden, decoded.tokens)
        return Scores(nll, correct, decoded.tokens != PAD, decoded.sentence // sents, decoded.sentence % sents)

    def _vector_loss(
        self, decoder_vectors: Float[Array, "doc sent vec"], encoder_vectors: Float[Array, "row vec"], batch: Batch
    ) -> Loss | None:
        """Sums the squared distances of the decoder's sentence vectors to the encoder's; None with `vector_loss` 0."""
        if not self.config.vector_loss:
            return None
        # The encoder's vectors get no gradient of this loss: its minimum would be that all vectors are equal.
        target = jax.lax.stop_gradient(gather_documents(encoder_vectors, batch))
        mask = sentence_mask(batch)
        distance = squared_error(decoder_vectors, target, jnp.broadcast_to(mask[..., None], target.shape))
        return Loss(distance.total, mask.sum(dtype=jnp.float32))
