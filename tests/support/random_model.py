"""A model of texts with random parameters."""

from pathlib import Path

import jax
import numpy as np

from hae_jax.config import Config, DataConfig, ModelConfig
from hae_jax.data.batches import sequential_batches
from hae_jax.data.rows import encode_text
from hae_jax.data.tokenizer import Tokenizer
from hae_jax.models import build
from hae_jax.trained import TrainedModel

TEXTS = [
    "The cat sat. The dog ran away from it! It rained.",
    "One fox.",
    "A dog ran. A cat ran away. The fox sat.",
    "It rained on the cat and on the dog and on the fox and on and on.",
    "A fox. A dog. A cat. A gnu. A hen.",
]
"""All but the last one fit into one code of 3 rows; the fourth is a sentence of 18 tokens, which are 3 rows."""
SHORT = TEXTS[:4]
DATA = DataConfig(max_sentences=3, max_tokens=7)
SIZE = 19


def trained(tokenizer="word", **options):
    """A model with parameters so large that every code is decoded to another text."""
    tokenizer = Tokenizer.train(TEXTS, tokenizer, 50 if tokenizer == "word" else 300)
    config = ModelConfig(**{"embed_dim": 11, "hidden_dim": 13, "sentence_dim": SIZE, "sentence_loss": 0.0} | options)
    module = build(config, tokenizer.vocab_size)
    batch = next(sequential_batches(encode_text(TEXTS, tokenizer, DATA)[0], DATA, 5))[0]
    shapes, random = jax.eval_shape(module.init, jax.random.key(0), batch)["params"], np.random.default_rng(0)
    params = jax.tree.map(lambda x: random.normal(0, 0.7, x.shape).astype(np.float32), shapes)
    return TrainedModel(Config(config, DATA), tokenizer, module, params, 0, Path("none"))
