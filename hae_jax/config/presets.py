"""Configs by name."""

import difflib
from dataclasses import replace
from typing import Any

from hae_jax.config.model import ModelConfig
from hae_jax.config.run import Config, DataConfig, OptimConfig, TrainConfig

MIRROR: dict[str, Any] = {
    "initializer": "mirror",
    "layer_norm": "output",
    "conditioning": "initial_state",
    "vector_loss": 0.02,
}
"""The options that make the model train, beside the defaults. `sentence_dim` should be `max_sentences` times
`hidden_dim`, so that every sentence vector has its own units; a smaller code needs the options `PACKED`."""

PACKED: dict[str, Any] = {"layer_norm": "none", "vector_loss": 0.0, "word_gain": 1.0, "feedback": "sentence"}
"""The options of a code that is narrower than its sentence vectors together. Each of the `max_tokens` tokens of a row,
and its end mark, has `embed_dim` units of its own in a sentence vector. Sentences share the units of the code: those
that come around to the same units have `sentence_gain` of the amplitude of the one before, and the decoder subtracts
each once it is decoded. Normalization would make amplitudes depend on the numbers of tokens and sentences. Small
amplitudes need precise weights: these models are nearly exact before training, and have a small learning rate."""

PRESETS: dict[str, Config] = {
    "tiny": Config(
        ModelConfig(embed_dim=64, hidden_dim=64, sentence_dim=192, topic_dim=64, **MIRROR),
        DataConfig(tokenizer="bpe", vocab_size=1000, max_sentences=3, max_tokens=10, batch_size=8),
        OptimConfig(learning_rate=3e-4, warmup=20, sentence_lr_scale=0.3, clip_norm=200),
        TrainConfig(steps=200, eval_every=100, eval_documents=64, save_every=100),
    ),
    "small": Config(
        ModelConfig(embed_dim=192, hidden_dim=192, sentence_dim=768, topic_dim=256, **MIRROR),
        DataConfig(tokenizer="bpe", min_sentences=1, batch_size=16),
        OptimConfig(learning_rate=3e-4, sentence_lr_scale=0.1, clip_norm=200),
        TrainConfig(steps=2400, minutes=15, eval_every=600, save_every=600),
    ),
    "reviews": Config(
        ModelConfig(embed_dim=512, hidden_dim=512, sentence_dim=4096, **MIRROR),
        DataConfig(corpus="reviews", vocab_size=25_000, max_sentences=16, max_tokens=32, buckets=4),
        OptimConfig(learning_rate=5e-4, warmup=500, sentence_lr_scale=0.1, clip_norm=80),
        TrainConfig(steps=50_000, eval_every=2000, save_every=2000),
    ),
    "paper": Config(
        ModelConfig(
            embed_dim=1000, hidden_dim=1000, sentence_dim=1000, layers=4, bridge="all_states", feedback="word",
            conditioning="initial_state", reverse=False, initializer="uniform", use_bias=False,
            input_dropout=0.2, sentence_loss=0.0, vector_loss=0.0, tie_embeddings=False,
        ),
        DataConfig(corpus="reviews", vocab_size=25_000, max_sentences=16, max_tokens=50, buckets=4),
        OptimConfig(learning_rate=1e-3, warmup=500),
        TrainConfig(steps=50_000, eval_every=2000, save_every=2000),
    ),
}  # fmt: skip
"""Configs by name: `tiny` is a functional check of one minute, `small` trains on a laptop, also with a code of 512 or
256 numbers instead of 1,024 (`small-512`, `small-256`), `reviews` needs a GPU, `paper` has the sizes of Li, Luong &
Jurafsky (2015)."""

NARROW: dict[str, dict[str, Any]] = {
    "small-512": {"embed_dim": 15, "hidden_dim": 255, "sentence_dim": 256, "topic_dim": 256, "sentence_gain": 0.3},
    "small-256": {"embed_dim": 5, "hidden_dim": 85, "sentence_dim": 170, "topic_dim": 86, "sentence_gain": 0.1},
}
"""Changed fields of the model of `small` by preset."""
RATES = {"small-512": 3e-5, "small-256": 1e-6}
"""Learning rates of these presets."""

for name, sizes in NARROW.items():
    small, rate = PRESETS["small"], RATES[name]
    optim = replace(small.optim, learning_rate=rate, topic_lr_scale=small.optim.learning_rate / rate, clip="none")
    PRESETS[name] = replace(small, model=replace(small.model, **PACKED | sizes), optim=replace(optim, clip_norm=None))


def preset(name: str) -> Config:
    """Returns the preset with the given name.

    Raises:
        ValueError: if there is none; the most similar name is suggested.

    Example:
        >>> preset("tiny").train.steps
        200
    """
    if name not in PRESETS:
        near = difflib.get_close_matches(str(name), PRESETS, 1)
        hint = f"Did you mean {near[0]!r}?" if near else "Choose one of them."
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {name!r}. {hint}")
    return PRESETS[name]
