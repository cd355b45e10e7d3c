"""A mirrored model at initialization, which stores its inputs without training, for documents of random words."""

from pathlib import Path

import jax
import numpy as np

from hae_jax.batch import SPECIALS
from hae_jax.config import Config, DataConfig, ModelConfig
from hae_jax.data import Corpus, Tokenizer, sequential_batches
from hae_jax.models import build
from hae_jax.trained import TrainedModel
from support.random_corpus import WORDS

DATA = DataConfig(max_sentences=4, max_tokens=8, buckets=1)


def mirrored(**options):
    """A model whose tokens are the words w0 to w35."""
    tokenizer = Tokenizer.train([f"w{number}" for number in range(WORDS - len(SPECIALS))], "word", WORDS)
    fields = {"initializer": "mirror", "layer_norm": "output", "embed_dim": 8, "hidden_dim": 64, "sentence_dim": 512}
    config = ModelConfig(**fields | options)
    module = build(config, tokenizer.vocab_size)
    batch, _ = next(sequential_batches(Corpus.from_documents([[np.array([4, 5])]]), DATA, 1))
    params = jax.jit(module.init)(jax.random.key(0), batch)["params"]
    return TrainedModel(Config(config, DATA), tokenizer, module, params, 0, Path("none"))
