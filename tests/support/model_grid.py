"""Variants of the autoencoders for which every law must hold, with random weights, biases and gains."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from hae_jax.config import ModelConfig
from hae_jax.models import Losses, build
from support.documents import VOCAB, batch

SIZES = {"embed_dim": 5, "hidden_dim": 3, "sentence_dim": 7}
VARIANTS = {
    "none": ModelConfig(**SIZES),
    "sentence, attention": ModelConfig(**SIZES, feedback="sentence", attention=True),
    "word, paper": ModelConfig(
        embed_dim=5,
        hidden_dim=3,
        sentence_dim=3,
        feedback="word",
        bridge="all_states",
        conditioning="initial_state",
        layers=2,
        use_bias=False,
    ),
    "flat": ModelConfig(**SIZES, kind="flat"),
}


@cache
def drawn(config):
    """Returns a model, and random parameters without zeros."""
    model = build(config, VOCAB)
    shapes = jax.eval_shape(model.init, jax.random.key(0), batch())["params"]
    rng = np.random.default_rng(3)
    return model, jax.tree.map(lambda x: jnp.asarray(0.7 * rng.normal(size=x.shape), x.dtype), shapes)


def answers(model, params, batch):
    """Returns all outputs of a model for a batch: losses, codes and scores."""
    variables = {"params": params}
    code = model.apply(variables, batch, method="encode")
    return model.apply(variables, batch), code, model.apply(variables, code, batch, method="score")


@cache
def compiled(config):
    """`answers` under jit; tests that share shapes share the program."""
    model, params = drawn(config)
    return jax.jit(lambda batch: answers(model, params, batch))


@cache
def differentiated(config):
    """`total` and its gradient with respect to all parameters, under jit; tests that share shapes share the program."""
    model, params = drawn(config)
    both = jax.jit(jax.value_and_grad(lambda params, batch: total(model.apply({"params": params}, batch))))
    return lambda batch: both(params, batch)


def by_sentence(scores):
    """Returns the nats of the tokens in order, as {(document, sentence): [nats]}."""
    found = {}
    arrays = (np.asarray(x) for x in (scores.nll, scores.mask, scores.doc, scores.sent))
    for nll, real, doc, sent in zip(*arrays, strict=True):
        if real:
            found.setdefault((int(doc), int(sent)), []).append(nll)
    return {key: np.array(found[key]) for key in sorted(found)}


def total(losses: Losses):
    """Returns a weighted sum of both losses, with different weights."""
    return losses.reconstruction.total + (0 if losses.sentence is None else 0.3 * losses.sentence.total)
