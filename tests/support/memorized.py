"""A model of texts that consist of a few sentences in any order, so that what is decoded can be compared with what was
meant."""

from dataclasses import replace

import numpy as np
import pytest

import hae_jax

SENTENCES = [
    "The ferryman mended the old bridge.",
    "A clockmaker counted the swallows.",
    "Our neighbour drew a map of the valley.",
    "The young botanist waited for the train.",
    "It took the whole afternoon.",
    "Nobody had asked for it.",
    "The rain began soon after.",
    "Then a retired pilot came home.",
]
STEPS = 250


def texts(count, seed, lengths=(2, 3)):
    """Texts of different sentences in random order."""
    random = np.random.default_rng(seed)
    return [" ".join(random.permutation(SENTENCES)[: random.choice(lengths)]) for _ in range(count)]


@pytest.fixture(scope="session")
def memorized(tmp_path_factory):
    """A model that reconstructs all such texts; tests must not change its workdir."""
    folder = tmp_path_factory.getbasetemp() / "memorized"
    corpus = folder.with_suffix(".txt")
    corpus.write_text("\n\n".join(texts(400, seed=0)), encoding="utf-8")
    config = hae_jax.preset("tiny")
    data = replace(config.data, corpus=str(corpus), tokenizer="word")
    train = replace(config.train, steps=STEPS, eval_every=STEPS, save_every=STEPS)
    return hae_jax.train(replace(config, data=data, train=train), folder)


def spelled(model, text):
    """A text as the model writes it, in the words of its tokenizer."""
    return model.tokenizer.decode(model.tokenizer.encode(text))
