"""Word vectors and the softmax over words, shared by encoder and decoder."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from hae_jax.batch import PAD
from hae_jax.config import ModelConfig
from hae_jax.layers.losses import Loss, cross_entropy, token_scores
from hae_jax.layers.mirror_init import first_block_readout

EMBEDDING_STD = 0.1
"""Standard deviation of fresh word vectors."""


class TokenEmbedding(nn.Module):
    """The vocabulary: a table of word vectors, and the output layer.

    PAD's vector is zero: it is what the decoder reads at the start of a sentence, where the paper has no token either.
    With `tie_embeddings` the kernel of the softmax is the transposed embedding table; where hidden states and embeddings
    differ in size, a linear map comes between them.

    Reference:
        Press & Wolf, 2017, https://arxiv.org/abs/1608.05859

    Attributes:
        config: sizes, and whether the output layer shares the word vectors.
        vocab: number of word ids.
    """

    config: ModelConfig
    vocab: int

    def setup(self) -> None:
        config = self.config
        self.table = self.param("embedding", nn.initializers.normal(EMBEDDING_STD), (self.vocab, config.embed_dim))
        lecun = nn.initializers.lecun_normal()
        if not config.tie_embeddings:
            self.kernel = self.param("kernel", lecun, (config.hidden_dim, self.vocab))
        elif config.hidden_dim != config.embed_dim:
            bridge = first_block_readout() if config.initializer == "mirror" else lecun
            self.bridge = self.param("bridge", bridge, (config.hidden_dim, config.embed_dim))
        self.bias = self.param("bias", nn.initializers.zeros, (self.vocab,)) if config.use_bias else None

    def __call__(self, words: Int[Array, "*batch"]) -> Float[Array, "*batch embed"]:
        """Looks the words' vectors up."""
        vectors = self.table[words].astype(self.config.dtype)
        return jnp.where(words[..., None] == PAD, 0, vectors)

    def output(
        self, hidden: Float[Array, "*batch hidden"]
    ) -> tuple[Float[Array, "*batch feat"], Float[Array, "feat vocab"], Float[Array, "vocab"] | None]:
        """Returns what the softmax multiplies: the states, brought to the size of the word vectors if they share them;
        the kernel; and the bias."""
        if not self.config.tie_embeddings:
            return hidden, self.kernel, self.bias
        if self.config.hidden_dim != self.config.embed_dim:
            hidden = hidden @ self.bridge.astype(hidden.dtype)
        return hidden, self.table.T, self.bias

    def logits(self, hidden: Float[Array, "*batch hidden"]) -> Float[Array, "*batch vocab"]:
        """Returns the unnormalised log-probabilities of all words, in float32 or wider."""
        hidden, kernel, bias = self.output(hidden)
        wide = jnp.promote_types(hidden.dtype, jnp.float32)
        logits = jnp.matmul(hidden, kernel.astype(hidden.dtype), preferred_element_type=wide)
        return logits if bias is None else logits + bias

    def loss(self, hidden: Float[Array, "token hidden"], targets: Int[Array, "token"]) -> Loss:
        """Sums the nats of the targets that are not PAD."""
        return cross_entropy(*self.output(hidden), targets, targets != PAD)

    def scores(
        self, hidden: Float[Array, "token hidden"], targets: Int[Array, "token"]
    ) -> tuple[Float[Array, "token"], Bool[Array, "token"]]:
        """Returns the nats of each target, and whether it was the likeliest word."""
        return token_scores(*self.output(hidden), targets)


def word_dropout(module: nn.Module, vectors: Float[Array, "*batch embed"], train: bool) -> Float[Array, "*batch embed"]:
    """Hides each word from the decoder with probability `word_dropout`, so that it has to ask the code.

    Reference:
        Bowman et al., 2016, https://arxiv.org/abs/1511.06349
    """
    rate = module.config.word_dropout
    if not (train and rate):
        return vectors
    kept = jax.random.bernoulli(module.make_rng("dropout"), 1 - rate, vectors.shape[:-1])
    return jnp.where(kept[..., None], vectors, 0)
