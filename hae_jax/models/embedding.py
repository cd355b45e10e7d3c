"""Token embeddings and the softmax over the vocabulary, shared by encoder and decoder."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from hae_jax.batch import PAD
from hae_jax.config import ModelConfig
from hae_jax.layers.losses import Loss, cross_entropy, token_scores
from hae_jax.layers.model_init import model_init
from hae_jax.models.registers import EMBEDDING_STD, word_register


class TokenEmbedding(nn.Module):
    """The embedding table and the output layer.

    The embedding of PAD is zero: it is the decoder's input at the start of a sentence, where the paper has no token
    either. With `tie_embeddings` the kernel of the softmax is the transposed embedding table; if hidden states and
    embeddings differ in size, a linear output projection maps the former to the size of the latter.

    Reference:
        Press & Wolf, 2017, https://arxiv.org/abs/1608.05859

    Attributes:
        config: sizes, and whether the embeddings are tied.
        vocab: number of token ids.
    """

    config: ModelConfig
    vocab: int

    def setup(self) -> None:
        config, init = self.config, model_init(self.config)
        embedding = init.embedding(EMBEDDING_STD, config.embed_dim)
        self.table = self.param("embedding", embedding, (self.vocab, config.embed_dim))
        if not config.tie_embeddings:
            self.kernel = self.param("kernel", nn.initializers.lecun_normal(), (config.hidden_dim, self.vocab))
        elif config.hidden_dim != config.embed_dim:
            self.output_projection = self.param(
                "bridge", init.output_projection(word_register(config)), (config.hidden_dim, config.embed_dim)
            )
        self.bias = self.param("bias", nn.initializers.zeros, (self.vocab,)) if config.use_bias else None

    def __call__(self, tokens: Int[Array, "*batch"]) -> Float[Array, "*batch embed"]:
        """Returns the embeddings of tokens; zeros for PAD."""
        vectors = self.table[tokens].astype(self.config.dtype)
        return jnp.where(tokens[..., None] == PAD, 0, vectors)

    def output(
        self, hidden: Float[Array, "*batch hidden"]
    ) -> tuple[Float[Array, "*batch feat"], Float[Array, "feat vocab"], Float[Array, "vocab"] | None]:
        """Returns input, kernel and bias of the softmax, given the decoder's hidden states; with tied embeddings the
        input is the output projection of the hidden states."""
        if not self.config.tie_embeddings:
            return hidden, self.kernel, self.bias
        if self.config.hidden_dim != self.config.embed_dim:
            hidden = hidden @ self.output_projection.astype(hidden.dtype)
        return hidden, self.table.T, self.bias

    def logits(self, hidden: Float[Array, "*batch hidden"]) -> Float[Array, "*batch vocab"]:
        """Returns the unnormalized log-probabilities of all tokens, in float32 or wider."""
        hidden, kernel, bias = self.output(hidden)
        wide = jnp.promote_types(hidden.dtype, jnp.float32)
        logits = jnp.matmul(hidden, kernel.astype(hidden.dtype), preferred_element_type=wide)
        return logits if bias is None else logits + bias

    def loss(self, hidden: Float[Array, "token hidden"], targets: Int[Array, "token"]) -> Loss:
        """Sums -ln p(target), in nats, over the targets that are not PAD."""
        return cross_entropy(*self.output(hidden), targets, targets != PAD)

    def scores(
        self, hidden: Float[Array, "token hidden"], targets: Int[Array, "token"]
    ) -> tuple[Float[Array, "token"], Bool[Array, "token"]]:
        """Returns -ln p(target) of each target, in nats, and whether it is the most probable token."""
        return token_scores(*self.output(hidden), targets)


def word_dropout(module: nn.Module, vectors: Float[Array, "*batch embed"], train: bool) -> Float[Array, "*batch embed"]:
    """Masks each input token of the decoder with probability `word_dropout`, so that it depends on the code.

    Reference:
        Bowman et al., 2016, https://arxiv.org/abs/1511.06349
    """
    rate = module.config.word_dropout
    if not (train and rate):
        return vectors
    kept = jax.random.bernoulli(module.make_rng("dropout"), 1 - rate, vectors.shape[:-1])
    return jnp.where(kept[..., None], vectors, 0)
