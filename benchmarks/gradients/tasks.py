"""Tasks that only a memory can solve, as pure functions of a key: every batch is fresh, so nothing can be memorised.

Each knows what a model without memory reaches. Losses of training are therefore losses on new data.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from hae_jax.config import ModelConfig
from hae_jax.layers.recurrent import LSTM

SENTENCES, WORDS, SYMBOLS = 8, 16, 16
"""Size of a document of the recall task, and of its alphabet."""
ORDER = 0.08
"""Nats by which a loss has to lie below that of knowing all but the order, before order counts as known."""
COPIED, LETTERS = 10, 8
"""Symbols to be copied, and the alphabet they are drawn from; a blank and a mark come on top."""


class Sample(NamedTuple):
    """A batch: what is read, and what is to be said."""

    inputs: Array
    targets: Array


class Task(NamedTuple):
    """A task for an LSTM.

    Attributes:
        name: of the row or column.
        model: the module that a config describes; called with `inputs` and `train`, it returns predictions.
        draw: a batch of that many sequences, from a key.
        loss: of predictions against targets, a mean.
        chance: the loss of the best model that remembers nothing.
        threshold: a loss that cannot be reached without memory, under which a run has succeeded.
        timescale: steps over which something has to be remembered.
    """

    name: str
    model: Callable[[ModelConfig], nn.Module]
    draw: Callable[[Key[Array, ""], int], Sample]
    loss: Callable[[Array, Array], Float[Array, ""]]
    chance: float
    threshold: float
    timescale: int


def copy_memory(gap: int) -> Task:
    """Ten symbols of eight, `gap` blanks of which the last is a mark, then the ten symbols have to be said again.

    The baseline says blanks up to the mark and guesses then: 10 ln 8 / (gap + 20) nats a step.

    Reference:
        Hochreiter & Schmidhuber, 1997; in this form Arjovsky et al., 2016, https://arxiv.org/abs/1511.06464
    """
    blank, mark = LETTERS, LETTERS + 1

    def draw(key: Key[Array, ""], batch: int) -> Sample:
        symbols = jax.random.randint(key, (batch, COPIED), 0, LETTERS)
        blanks = jnp.full((batch, gap + COPIED), blank)
        return Sample(
            jnp.concatenate([symbols, blanks.at[:, gap - 1].set(mark)], axis=1),
            jnp.concatenate([blanks, symbols], axis=1),
        )

    chance = COPIED * math.log(LETTERS) / (gap + 2 * COPIED)
    return Task(f"copy {gap}", lambda config: Copy(config), draw, cross_entropy, chance, chance / 2, gap + COPIED)


def adding(length: int) -> Task:
    """The sum of the two numbers, of `length` uniform ones, that a second channel marks, one in each half.

    The baseline says 1 always; its error is the variance of the sum of two uniform numbers, 1/6.

    Reference:
        Hochreiter & Schmidhuber, 1997; Le, Jaitly & Hinton, 2015, https://arxiv.org/abs/1504.00941
    """

    def draw(key: Key[Array, ""], batch: int) -> Sample:
        numbers, first, second = jax.random.split(key, 3)
        x = jax.random.uniform(numbers, (batch, length))
        half = length // 2
        marks = jax.nn.one_hot(jax.random.randint(first, (batch,), 0, half), length)
        marks += jax.nn.one_hot(jax.random.randint(second, (batch,), half, length), length)
        return Sample(jnp.stack([x, marks], axis=-1), (x * marks).sum(axis=1))

    return Task(f"adding {length}", lambda config: Adding(config), draw, squared_error, 1 / 6, 1 / 60, length)


def recall(sentences: int = SENTENCES, words: int = WORDS) -> Task:
    """The first word of each sentence of a document, said in order from the document's code.

    Chance is ln 16. The first words of a document all differ, so that who knows them but not their order is left with a
    choice among eight: no model without order is better than ln 8, and success is clearly less than that.
    """
    name = f"recall of {sentences} x {words}"
    threshold = math.log(sentences) - ORDER

    def draw(key: Key[Array, ""], batch: int) -> Sample:
        first, others = jax.random.split(key)
        targets = jnp.argsort(jax.random.uniform(first, (batch, SYMBOLS)), axis=-1)[:, :sentences]
        documents = jax.random.randint(others, (batch, sentences, words), 0, SYMBOLS)
        return Sample(documents.at[..., 0].set(targets), targets)

    return Task(name, lambda config: Recall(config), draw, cross_entropy, math.log(SYMBOLS), threshold, words)


def cross_entropy(logits: Float[Array, "*batch vocab"], targets: Int[Array, "*batch"]) -> Float[Array, ""]:
    """Returns the mean of -ln p(target)."""
    chosen = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    return (jax.nn.logsumexp(logits, axis=-1) - chosen).mean()


def squared_error(predictions: Float[Array, "batch"], targets: Float[Array, "batch"]) -> Float[Array, ""]:
    """Returns the mean squared difference."""
    return jnp.square(predictions - targets).mean()


class Copy(nn.Module):
    """Symbols to symbols, step by step."""

    config: ModelConfig

    @nn.compact
    def __call__(self, inputs: Int[Array, "batch time"], train: bool = False) -> Float[Array, "batch time letter"]:
        x = jax.nn.one_hot(inputs, LETTERS + 2)
        lstm = LSTM(self.config, self.config.hidden_dim, x.shape[-1], name="lstm")
        _, hidden = lstm(x, jnp.ones(inputs.shape, bool), train=train)
        return nn.Dense(LETTERS + 1, use_bias=self.config.use_bias, name="say")(hidden)


class Adding(nn.Module):
    """A sequence of pairs to one number."""

    config: ModelConfig

    @nn.compact
    def __call__(self, inputs: Float[Array, "batch time two"], train: bool = False) -> Float[Array, "batch"]:
        lstm = LSTM(self.config, self.config.hidden_dim, 2, name="lstm")
        _, hidden = lstm(inputs, jnp.ones(inputs.shape[:2], bool), train=train)
        return nn.Dense(1, use_bias=self.config.use_bias, name="say")(hidden[:, -1])[:, 0]


class Recall(nn.Module):
    """Words to sentence vectors to a code, and from the code one word a sentence.

    The bare hierarchy: without the recipe that makes the whole model train (sentence loss, vector loss, reading
    backwards), so that what is left to decide is how far gradients reach.
    """

    config: ModelConfig

    @nn.compact
    def __call__(self, inputs: Int[Array, "doc sent word"], train: bool = False) -> Float[Array, "doc sent symbol"]:
        config, (docs, sents, _) = self.config, inputs.shape
        x = nn.Embed(SYMBOLS, config.embed_dim, embedding_init=nn.initializers.normal(1.0), name="words")(inputs)
        word = LSTM(config, config.hidden_dim, config.embed_dim, name="word")
        _, hidden = word(x, jnp.ones(inputs.shape, bool), train=train)
        sentence = LSTM(config, config.sentence_dim, config.hidden_dim, name="sentence")
        real = jnp.ones((docs, sents), bool)
        _, sentences = sentence(hidden[:, :, -1], real, train=train)
        teller = LSTM(config, config.sentence_dim, 0, config.sentence_dim, name="teller")
        _, told = teller(None, real, context=sentences[:, -1], train=train)
        return nn.Dense(SYMBOLS, use_bias=config.use_bias, name="say")(told)


TASKS = {
    task.name: task for task in (recall(), recall(4), adding(200), copy_memory(100), copy_memory(200), copy_memory(500))
}
"""The tasks of the tables by name."""
