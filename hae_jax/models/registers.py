"""The registers of a mirrored autoencoder of texts: what its word level and its sentence level store."""

from hae_jax.config import ModelConfig
from hae_jax.layers.mirror_init import Register
from hae_jax.layers.model_init import model_init
from hae_jax.models.bridge import vector_size

EMBEDDING_STD = 0.1
"""Standard deviation of initial token embeddings."""
GAINS = {"hierarchical": 0.92, "flat": 0.98}
"""The usual `word_gain` by kind of model: a register of a row of some 16 tokens, or of a whole text of some 64. The
decoder amplifies the earliest inputs by gain^-length, which is about 4 in both."""


def word_register(config: ModelConfig) -> Register:
    """Returns the register of the word level, which stores token embeddings."""
    normalized = config.layer_norm == "output"
    gain = GAINS[config.kind] if config.word_gain is None else config.word_gain
    return Register(config.embed_dim, EMBEDDING_STD, gain, normalized=normalized)


def sentence_register(config: ModelConfig) -> Register:
    """Returns the register of the sentence level, which stores sentence vectors."""
    normalized = config.layer_norm == "output"
    return Register(
        vector_size(config, config.hidden_dim), model_init(config).vector_std, config.sentence_gain,
        normalized=normalized, seed=0,
    )  # fmt: skip
